"""The base of every section of an experiment file."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen piece of a configuration that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
