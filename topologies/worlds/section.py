"""The base of the settings of the simulated network, and rules for values that look like another unit."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

LONGEST_LATENCY = 10.0  # seconds, of one message: more looks like milliseconds
LONGEST_STEP = 3600.0  # seconds, of one computation or wait: more looks like milliseconds
LONGEST_ABSENCE = 1e9  # seconds, 32 years: no run lasts as long, and sums of nanoseconds stay exact
SHORTEST_STAY = 1e-3  # seconds, of a peer's mean time online or offline
SLOWEST_LINK = 1000.0  # bytes a second: less looks like Mbit/s
FASTEST_LINK = 1e15  # bytes a second: faster than any

KIND_LEFT_OUT = {
    "compute": "constant",
    "latency": "constant",
    "bandwidth": "caps",
    "loss": "bernoulli",
    "churn": "exponential",
}
"""The kind of a table that names none, by its key."""


class Section(BaseModel):
    """A frozen table of settings that refuses keys it does not know; a table in it may leave out its `kind`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _kinds_left_out(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        filled = {
            key: {"kind": KIND_LEFT_OUT[key]} | value
            for key, value in values.items()
            if key in KIND_LEFT_OUT and key in cls.model_fields and isinstance(value, dict) and "kind" not in value
        }
        return values | filled


class Variant(Section):
    """One alternative of a union that is tagged by `kind`. constant: whether it draws nothing."""

    constant: ClassVar[bool] = False

    @classmethod
    def example(cls) -> "Variant":
        """A small valid instance for tests of all kinds; overridden where a field has no default."""
        return cls()


def refused(rule: str, advice: str) -> PydanticCustomError:
    """What a check of one value raises. rule: begins with `must`. advice: what to do."""
    return PydanticCustomError("network_value", f"{rule} ({advice})")


def shortened(value: object) -> str:
    """What a user wrote, quoted, on one line and of a bearable length, as errors tell it."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}...{text[-20:]}"


def _latency(seconds: float) -> float:
    if seconds < 0:
        raise refused("must be at least 0 seconds", "no message arrives before it is sent; correct it")
    if seconds > LONGEST_LATENCY:
        raise refused("must be at most 10 seconds", f"it looks like milliseconds; write {seconds / 1000:g}")
    return seconds


def _step(seconds: float) -> float:
    if seconds < 0:
        raise refused("must be at least 0 seconds", "a computation takes time; correct it")
    return _wait(seconds)


def _wait(seconds: float) -> float:
    if seconds > LONGEST_STEP:
        raise refused("must be at most an hour", f"it looks like milliseconds; write {seconds / 1000:g}")
    return seconds


def _moment(seconds: float) -> float:
    if seconds > LONGEST_ABSENCE:
        raise refused("must be at most 1e9 seconds", "no run lasts as long; lower it")
    return seconds


def _span(seconds: float) -> float:
    if 0 < seconds < 1e-6:
        raise refused("must be at least a microsecond", "virtual time has whole nanoseconds; raise it")
    return _moment(seconds)


def _stay(seconds: float) -> float:
    if 0 < seconds < SHORTEST_STAY:
        raise refused("must be at least a millisecond", "nobody gets anything done in less; raise it")
    return _moment(seconds)


def _rate(rate: float) -> float:
    if rate <= 0:
        raise refused("must be above 0 bytes a second", "nothing would ever arrive; raise it, or leave the limit out")
    if rate < SLOWEST_LINK:
        raise refused("must be at least 1,000 bytes a second", f"as Mbit/s it is {rate * 125_000:g}; write bytes")
    if rate > FASTEST_LINK:
        raise refused("must be at most 1e15 bytes a second", "no link is as fast; leave the limit out")
    return rate


Latency = Annotated[float, AfterValidator(_latency)]
StepSeconds = Annotated[float, AfterValidator(_step)]
Wait = Annotated[float, Field(gt=0), AfterValidator(_wait)]
Moment = Annotated[float, Field(ge=0), AfterValidator(_moment)]
Stay = Annotated[float, AfterValidator(_stay)]
Span = Annotated[float, Field(gt=0), AfterValidator(_span)]
Rate = Annotated[float, AfterValidator(_rate)]
Probability = Annotated[float, Field(ge=0, le=1)]
Sigma = Annotated[float, Field(ge=0, le=5)]
