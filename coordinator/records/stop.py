"""How observers end a run before its last round: `Stop`, a rule among the observers, and `StopRun`, raised by one."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.errors import explain
from coordinator.experiment.sections import StopRule


@dataclass(frozen=True)
class Stop:
    """Early stopping as an observer: `simulate(config, observers=[Stop(patience=5)])` sets `run.stop`, and is it.

    The fields are those of `run.stop`, which `peer-consensus config run.stop` explains. The rule stands in the run's
    config.toml, so `resume` goes by it without being told.

    Raises: ConfigError.
    """

    measure: str | None = None
    below: float | None = None
    above: float | None = None
    patience: int | None = None
    min_delta: float = 0.0
    mode: Literal["min", "max"] | None = None

    def __post_init__(self) -> None:
        self.rule()

    def rule(self) -> StopRule:
        """The rule as a section of a config. Raises: ConfigError, one line per mistake."""
        given: dict[str, Any] = {name: value for name, value in vars(self).items() if value is not None}
        try:
            return StopRule.model_validate(given)
        except ValidationError as error:
            lines = explain(error, given, StopRule)
            raise ConfigError("\n".join(line.replace("run.stop", "Stop") for line in _of_stop(lines))) from None


def _of_stop(lines: list[str]) -> list[str]:
    return [line if line.startswith("run.stop") else f"Stop.{line}" for line in lines]


def without_rule(config: RunConfig) -> RunConfig:
    """The config without `run.stop`."""
    return config.model_copy(update={"run": config.run.model_copy(update={"stop": None})})


def with_rule(config: RunConfig, rule: StopRule | None) -> RunConfig:
    """The config with a rule as its `run.stop`; None: as it is. Raises: ConfigError, if it has another one."""
    if rule is None or rule == config.run.stop:
        return config
    if config.run.stop is not None:
        raise ConfigError("observers: Stop is another rule than the config's run.stop: leave one of them out")
    return config.model_copy(update={"run": config.run.model_copy(update={"stop": rule})})


class StopRun(Exception):
    """Raised by an observer to end the run cleanly: `raise StopRun("the teachers agree")`.

    The rounds in flight end first (`hosting.lookahead`), so the last round is a later one than that of the event, and
    depends on how many were in flight. With the attribute `holds_rounds = True` the observer is waited for at each
    round that is measured or probed: the run then ends at the very round of that `Measured`, `Probed` or
    `RoundCompleted`, in every pool. At least one round is run; after the last one, `StopRun` has no effect.

    Final probes, control runs and verdicts follow, as if the run had been planned with so many rounds. The status is
    `finished`, and `summary.json` has the reason under `ended`. The observer is told on.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = str(reason)
