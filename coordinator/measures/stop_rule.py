"""The rule of `run.stop`: which measures it may look at, when they are taken, and what it decides from their values."""

import difflib
import math
from collections.abc import Sequence
from typing import Literal

from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.sections import StopRule
from coordinator.measures.declared import SCALARS, Agreement, scalar_names

LOSS = "loss"
TRAINED, GAIN = "trained", "gain"  # of a probe, by the names in `summary.json`
Mode = Literal["min", "max"]


def known_measures(config: RunConfig) -> list[str]:
    """The names of the measures that a run with this config takes during its rounds."""
    names = scalar_names(config.peers.count)
    probes = [f"probes.{probe}.{number}" for probe in config.probe_names for number in (TRAINED, GAIN)]
    return [*(f"consensus.{name}" for name in names), LOSS, *(probes if config.evaluation.probe_every else [])]


def is_probe(measure: str) -> bool:
    """Whether a measure is of the probes, which have a cadence of their own."""
    return measure.startswith("probes.")


def due(config: RunConfig, completed: int) -> bool:
    """Whether the rule of `run.stop` looks at its measure after this round; there must be a rule.

    Never before the first round, and after the last one only if that is a multiple of the cadence: so a longer run
    decides the same.
    """
    every = _every(config, config.run.stop.measure) if config.run.stop else 0
    return every > 0 and completed > 0 and completed % every == 0


def reason(rule: StopRule, values: Sequence[float]) -> str:
    """Which condition of the rule the latest value fulfils, as text; empty if none.

    values: in the order of the rounds, not empty. NaN is neither below nor above anything, and no improvement.
    """
    latest = values[-1]
    if rule.below is not None and latest < rule.below:
        return f"{rule.measure} is below {rule.below:g}"
    if rule.above is not None and latest > rule.above:
        return f"{rule.measure} is above {rule.above:g}"
    if rule.patience is not None and _since_best(values, mode_of(rule) or "min", rule.min_delta) >= rule.patience:
        return f"{rule.measure} has not improved in {rule.patience} measurements"
    return ""


def _since_best(values: Sequence[float], mode: Mode, min_delta: float) -> int:
    """The number of values after the best one, where a better one has to be better by more than `min_delta`."""
    best, since = math.inf, 0
    for value in values:
        signed = value if mode == "min" else -value
        if signed < best - min_delta:
            best, since = signed, 0
        else:
            since += 1
    return since


def mode_of(rule: StopRule) -> Mode | None:
    """Whether lower or higher values are an improvement; None if neither the rule nor the measure says."""
    if rule.mode is not None:
        return rule.mode
    if rule.measure == LOSS:
        return "min"
    if is_probe(rule.measure):
        return "max"
    declared = next((measure for measure in SCALARS if f"consensus.{measure.name}" == rule.measure), None)
    if declared is None:
        return None
    if declared.agreement is not None:
        return "min" if declared.agreement is Agreement.LOW else "max"
    return "max" if declared.collapse_below is not None else None  # low values mean that peers have collapsed


def check_stop(config: RunConfig) -> None:
    """Refuse a rule that looks at what is never measured, or that can never hold. Raises: ConfigError."""
    rule = config.run.stop
    if rule is None:
        return
    known = known_measures(config)
    if rule.measure not in known:
        raise ConfigError(f"run.stop.measure: {_unknown(rule.measure, known, config)}")
    if rule.patience is not None and mode_of(rule) is None:
        raise ConfigError(
            f"run.stop.mode: missing, and neither low nor high values of '{rule.measure}' are better by themselves: "
            "set it to min or max"
        )
    setting = "evaluation.probe_every" if is_probe(rule.measure) else "evaluation.every"
    every, rounds = _every(config, rule.measure), config.run.rounds
    times = (rounds - 1) // every
    if times == 0:
        raise ConfigError(
            f"run.stop.measure: '{rule.measure}' is not measured before the last of {rounds} rounds ({setting} is "
            f"{every}): lower {setting}"
        )
    if rule.patience is not None and rule.below is None and rule.above is None and times <= rule.patience:
        raise ConfigError(
            f"run.stop.patience must be below the {times} measurements before the last of {rounds} rounds ({setting} "
            f"is {every}), got {rule.patience}: lower it, or {setting}"
        )


def _every(config: RunConfig, measure: str) -> int:
    """The number of rounds between two measurements; 0: never."""
    return config.evaluation.probe_every if is_probe(measure) else config.evaluation.every


def _unknown(name: str, known: Sequence[str], config: RunConfig) -> str:
    """Why a measure is unknown: it needs a setting, or it is misspelt; with the nearest names, or else all."""
    section, _, rest = name.partition(".")
    probe, _, number = rest.partition(".")
    if section == "probes" and number in (TRAINED, GAIN) and probe in config.probe_names:
        return f"'{name}' is known at the end only: set evaluation.probe_every"
    if section == "probes" and number in (TRAINED, GAIN) and probe in ("knn", "linear", "sgd"):
        return f"'{name}' needs the probe {probe}: add it to evaluation.probes"
    unmeasured = [measure for measure in SCALARS if f"consensus.{measure.name}" == name]
    if unmeasured:
        return f"'{name}' is not measured of {config.peers.count} peers: choose another, such as {LOSS}"
    by_last = {full.rpartition(".")[2]: full for full in known if not is_probe(full)}
    plain = name.removesuffix(".last").rpartition(".")[2]
    near = [by_last[plain]] if plain in by_last else difflib.get_close_matches(name, known, n=3)
    near = near or [by_last[match] for match in difflib.get_close_matches(plain, by_last, n=3)]
    if near:
        return f"'{name}' is not measured during a run; did you mean {' or '.join(map(repr, near))}?"
    return f"'{name}' is not measured during a run; there are {', '.join(known)}"
