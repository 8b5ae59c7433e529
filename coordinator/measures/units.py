"""The units of measures, with the format of their values, and the ranges in which their values are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Unit:
    """A unit and the format of its values. name: "" for a dimensionless number. spec: format specification."""

    name: str
    spec: str

    def written(self, value: float | None) -> str:
        """The value as text; None, as which JSON stores values that are not finite, becomes nan."""
        return format(float("nan") if value is None else value, self.spec)


RATIO, FRACTION, NATS, DIMENSIONS = Unit("", ".3f"), Unit("fraction", ".1%"), Unit("nats", ".3f"), Unit("", ".1f")


@dataclass(frozen=True)
class Range:
    """The values that a measure can take, such that bands are not drawn beyond them; None: no bound."""

    low: float | None = None
    high: float | None = None

    def clip(self, values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The values, those beyond a bound set to it."""
        return values if self == ANY else np.clip(values, self.low, self.high)


ANY, NOT_NEGATIVE, SHARE = Range(), Range(0.0), Range(0.0, 1.0)
