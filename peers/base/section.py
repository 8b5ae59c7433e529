"""The base of every section of an experiment file."""

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A frozen piece of a configuration that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _default_kinds(cls, values: object) -> object:
        """A table that leaves out its `kind` is of the default one, and what else it leaves out is as by default."""
        if not isinstance(values, dict):
            return values
        defaults = {name: field.default for name, field in cls.model_fields.items() if name in values}
        return values | {
            name: default.model_dump() | values[name]
            for name, default in defaults.items()
            if isinstance(default, BaseModel) and hasattr(default, "kind") and leaves_out_kind(values[name])
        }


def leaves_out_kind(value: object) -> bool:
    """Whether the value is a table that does not say of which kind it is."""
    return isinstance(value, dict) and "kind" not in value
