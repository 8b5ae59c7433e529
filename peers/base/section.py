"""The base of every section of an experiment file, and of the variants that a section chooses from by `kind`."""

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Temperature = Annotated[float, Field(ge=1e-6, le=1e6)]
"""What outputs are divided by, so that float32 still tells what is left of them: from one class to none at all."""

Weight = Annotated[float, Field(ge=0, le=1e6)]
"""What a part of a loss is multiplied by."""

Factor = Annotated[float, Field(ge=1.2e-38, le=1e38)]
"""A length or factor that float32 holds as a normal number."""


class Section(BaseModel):
    """A frozen piece of a configuration that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _default_kinds(cls, values: object) -> object:
        """A table without `kind` is of the default kind, and has the default's values for its missing keys."""
        if not isinstance(values, dict):
            return values
        defaults = {name: field.default for name, field in cls.model_fields.items() if name in values}
        return values | {
            name: default.model_dump() | values[name]
            for name, default in defaults.items()
            if isinstance(default, BaseModel) and hasattr(default, "kind") and leaves_out_kind(values[name])
        }


def leaves_out_kind(value: object) -> bool:
    """Whether the value is a table without the key `kind`."""
    return isinstance(value, dict) and "kind" not in value


class Variant(Section):
    """One alternative of a union that is tagged by `kind`; it builds or computes the thing it names."""

    @classmethod
    def example(cls) -> "Variant":
        """A small valid instance for tests of all kinds: the defaults, unless a variant overrides it.

        Override it where a field has no default, where the default is large, or where it switches off what a test
        should see, such as a momentum of 0.
        """
        return cls()


def variants(union: Any) -> tuple[type[Variant], ...]:
    """The members of `Annotated[A | B | ..., Field(discriminator="kind")]`, in order."""
    return get_args(get_args(union)[0])


def kinds(variant: type[Variant]) -> tuple[str, ...]:
    """The values of `kind` that select the variant, usually one."""
    return get_args(variant.model_fields["kind"].annotation)


def examples(union: Any) -> list[Any]:
    """An example of every kind of the union, so that tests over all kinds cover new ones automatically."""
    found: list[Any] = []
    for variant in variants(union):
        example, of_variant = variant.example(), kinds(variant)
        several = (variant.model_validate(example.model_dump() | {"kind": kind}) for kind in of_variant)
        found += [example] if len(of_variant) == 1 else several  # an example may hold what no table says
    return found
