"""Verdicts, flags, probes, conditions and the summary's dotted names, worded for people."""

from collections.abc import Mapping
from typing import Any

from coordinator.measures import declared
from coordinator.measures.distance import Arrival
from coordinator.measures.gains import FOR_COMPARISON, Condition, Gain, GainMeasure
from coordinator.measures.holdings import ENSEMBLE, NUMBERS
from coordinator.measures.network import NETWORK
from coordinator.measures.pooling import POOLING
from coordinator.measures.statistics import detectable
from coordinator.measures.targets import Paid, Target
from coordinator.measures.verdict import Flag
from coordinator.reports.formatting import count_of, points
from peers.data.formats.shapes import noun
from peers.learning.control import Control

PROBES = {"knn": "kNN", "linear": "linear", "sgd": "SGD", "top1": "top-1"}
CONDITIONS = {condition: str(condition.control_run or condition) for condition in Condition} | {
    Condition.RAW_PIXELS: "pixels"
}
CONTROLS = {  # by kind of gain: the name of the control, and its explanation
    Gain.OVER_CALIBRATED: ("calibrated networks", "untrained weights, forward passes only"),
    Gain.OVER_ALONE: (
        "peers alone",
        "the same rounds, every peer its own teacher",
    ),
    Gain.OVER_ALONE_MATCHED: ("peers alone with matched gradients", "as alone, gradients scaled to the run's norms"),
    Gain.OVER_SHUFFLED: ("shuffled teachers", "their messages permuted over the samples of the batch"),
    Gain.OVER_STRANGER: ("strangers", "teachers' messages from random networks that nobody trains"),
    Gain.OVER_IRRELEVANT: (
        "teachers with other experience",
        "teachers' messages from networks that learn by themselves, from other data",
    ),
    Gain.OVER_PRIVATE_ONLY: ("peers on private data only", "each learns from its own examples, without exchange"),
    Gain.OVER_TRUTHFUL: ("truthful peers", "the same run without lies"),
    Gain.OVER_POOLED: ("pooled training", "as private-only, from the private examples of all peers together"),
    Gain.OVER_SINGLE_TEACHER: ("a single teacher", "one of the student's teachers in each round, not their average"),
    Gain.OVER_SUPERVISED: ("supervised peers", "labels instead of teachers"),
    Gain.OVER_UNTRAINED: ("untrained networks", "as they were drawn"),
    Gain.OVER_RESET: ("its reset networks", "the trained weights with BatchNorm's buffers as at the start"),
    Gain.RECALIBRATED_OVER_CALIBRATED: (
        "calibrated networks",
        "both with BatchNorm's buffers estimated by the same forward passes",
    ),
    Gain.RESET_OVER_UNTRAINED: (
        "untrained networks",
        "as they were drawn; reset: the trained weights with BatchNorm's buffers as at the start",
    ),
}
MORE_THAN = {  # what a gain over a control rules out as its only cause
    Gain.OVER_ALONE: "more steps on one's own answers",
    Gain.OVER_ALONE_MATCHED: "steps of the same size on one's own answers",
    Gain.OVER_SHUFFLED: "what messages have in common, such as balance and sharpness",
    Gain.OVER_STRANGER: "any fixed random function as the teacher",
    Gain.OVER_IRRELEVANT: "any trained network as the teacher, whatever it has seen",
    Gain.OVER_PRIVATE_ONLY: "the private data alone",
    Gain.OVER_SINGLE_TEACHER: "one teacher at a time",
}
FLAGS = {
    Flag.COLLAPSED: "the outputs or features lost most of what told images apart",
    Flag.ARTEFACT: "a gain over untrained that is none over calibrated networks",
    Flag.DROPPED_PEERS: "values that are not finite in some peers",
    Flag.CONTROL_NOT_FINITE: "a control run diverged; no verdict from it",
    Flag.ALONE_IDLE: "the first gradient of peers alone was rounding, so that nothing is shown by being above them",
}
SCOPE_WORDS = {
    "held": "all held classes",
    "own": "own classes",
    "others": "others' classes",
    ENSEMBLE: "all held classes, ensemble",
}
TITLES = {measure.name: measure.title for measure in declared.SCALARS}
PAID = {Paid.TIME: "virtual time", Paid.BYTES: "bytes", Paid.ROUNDS: "rounds"}
PAID_UNITS = {Paid.TIME: "s", Paid.BYTES: "MiB", Paid.ROUNDS: ""}  # in which `number` writes them
MIB = 2**20
NOTED_POWER = 3.0  # standard deviations: a detectable gain above this is mentioned


def untrained(config: Mapping[str, Any]) -> str:
    """What the weights of untrained and calibrated networks are: drawn, or given by the user."""
    peers = config["peers"]
    kinds = [peers, *peers.get("groups", ())]
    given = any(kind.get("initial") == "given" or kind.get("weights") for kind in kinds)
    return "untrained (weights as given)" if given else "untrained"


def buffers(config: Mapping[str, Any]) -> str:
    """What to say of the probed peers' BatchNorm buffers, as part of a sentence; empty if they are as they are."""
    anew = config.get("evaluation", {}).get("buffers") == "recalibrated"
    return "BatchNorm's buffers estimated anew in every arm, by the same forward passes" if anew else ""


def examples(summary: Mapping[str, Any]) -> str:
    """What the run's examples are called, such as images or vectors."""
    data = summary.get("data")
    return noun(tuple(data["shape"])) if data else "images"  # summaries of older versions are of images


def is_gain(measure: str) -> bool:
    """Whether the measure is a probe's mean gain over a control: a difference of fractions, shown in points."""
    gain = GainMeasure.parse(measure)
    return gain is not None and gain.part == "mean"


def probe_name(probe: str, marked: bool = False) -> str:
    """The probe's name; `marked` adds an asterisk to probes that are for comparison only."""
    return PROBES.get(probe, probe) + ("*" if marked and probe in FOR_COMPARISON else "")


def scope_name(scope: str) -> str:
    """Whose gain it is, by `Scope.name`: `poor.hops.2` becomes "poor, 2 links away"."""
    name, _, steps = scope.partition(".hops.")
    return f"{name}, {count_of(int(steps), 'link')} away" if steps else name


def gain_of(measure: GainMeasure) -> str:
    """The probe, and whose gain it is if not that of all: "kNN", "kNN (chroma)"."""
    return probe_name(measure.probe) + (f" ({scope_name(measure.scope)})" if measure.scope else "")


def measure_name(measure: str) -> str:
    """A name for people: `probes.knn.over_alone.mean` becomes "kNN over alone"; of a group, its name follows."""
    scope, _, inner = measure.removeprefix("groups.").partition(".probes.")
    if measure.startswith("groups.") and inner:
        return f"{measure_name(f'probes.{inner}')} ({scope_name(scope)})"
    target, arrival = Target.parse(measure), Arrival.parse(measure)
    if target is not None:
        return _target_name(target)
    if arrival is not None:
        over = measure_name(GainMeasure(arrival.probe, arrival.gain).name)
        return f"round of arrival of {over} ({scope_name(arrival.scope)})"
    section, _, rest = measure.partition(".")
    name, _, last = rest.partition(".")
    if section == "probes" and last:
        gain = GainMeasure.parse(measure)
        trained = "trained " if gain is not None and gain.gain is Gain.OVER_RESET else ""
        for control in Control:
            last = last.replace(Condition.of(control), control)
        return f"{probe_name(name)} {trained}{last.removesuffix('.mean').replace('_', ' ').replace('.', ' ')}"
    if section == "consensus" and last in ("first", "last"):
        return f"{TITLES.get(name, name.replace('_', ' '))} at the {'start' if last == 'first' else 'end'}"
    if section == "network" and rest in NETWORK:
        return NETWORK[rest][0]
    if measure in NUMBERS:
        return NUMBERS[measure]
    if section == "class_accuracy":
        scope, _, key = last.partition(".")
        return f"{probe_name(name)} on {SCOPE_WORDS.get(scope, scope)}, {key.replace('_', ' ')}"
    if section == "pooling" and rest in POOLING:
        return POOLING[rest][0]
    return (rest if section == "topology" else measure).replace("_", " ")


def _target_name(target: Target) -> str:
    """A target as `virtual time to 10% of the initial disagreement`, or `bytes to a linear gain of 2 points`."""
    share = f"{100 * target.share:.10g}"
    if target.probe is not None:
        return f"{PAID[target.paid]} to a {probe_name(target.probe)} gain of {share} points"
    title = TITLES.get(target.subject, target.subject.replace("_", " "))
    return f"{PAID[target.paid]} to {share}% of the initial {title}"


def unit_of(measure: str) -> str:
    """The unit in which `number` writes a measure; empty if it has none."""
    target, (section, _, rest) = Target.parse(measure), measure.partition(".")
    if section == "network" and rest in NETWORK:
        return NETWORK[rest][1]
    if section == "pooling" and rest in POOLING:
        return POOLING[rest][1]
    return "points" if is_gain(measure) else PAID_UNITS[target.paid] if target is not None else ""


def factor_of(measure: str) -> float:
    """By what a value is multiplied to be in the unit of the measure."""
    target = Target.parse(measure)
    return 100.0 if is_gain(measure) else 1 / MIB if target is not None and target.paid is Paid.BYTES else 1.0


def heading(measure: str) -> str:
    """A measure's name with its unit, if it has one."""
    unit, name = unit_of(measure), measure_name(measure)
    if unit and name.endswith(")"):  # of a group, whose name stands there
        return f"{name.removesuffix(')')}, {unit})"
    return name + (f" ({unit})" if unit else "")


def number(value: float, measure: str) -> str:
    """A value of the measure without its unit: gains in points with their sign, others to three digits."""
    if is_gain(measure):
        return points(value)
    value *= factor_of(measure)
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def amount(value: float, measure: str) -> str:
    """The size of a value, with its unit if it has one."""
    size, unit = number(abs(value), measure).removeprefix("+"), unit_of(measure)
    return f"{size} {unit}" if unit else size


def interval(low: float, high: float, measure: str) -> str:
    return f"{number(low, measure)} to {number(high, measure)}"


def power_note(num_tests: int, num_seeds: int, what: str = "gain") -> str:
    """A note on the smallest detectable gain, if few seeds and many tests put it above 3 standard deviations.

    Empty if it is smaller, or if there is nothing to test.
    """
    if num_tests < 1 or num_seeds < 2:
        return ""
    ratio = detectable(num_tests, num_seeds)
    if ratio <= NOTED_POWER:
        return ""
    return (
        f"With {count_of(num_tests, 'test')} and {num_seeds} seeds a {what} is told from 0 only if its mean is "
        f"{ratio:.1f} standard deviations over the seeds; more seeds lower that."
    )


def not_taken(num_peers: int) -> str:
    """Which measures are skipped for this number of peers, and why; empty if none is."""
    absent = declared.not_taken(num_peers)
    if not absent:
        return ""
    limit = min(measure.cost.most_peers or 0 for measure in absent)
    return (
        f"not measured of more than {limit} peers, as the time grows with the square of their number: "
        f"{', '.join(measure.title for measure in absent)}"
    )


def probed_in_words(count: int, of: int) -> str:
    """Whom the probes look at, where they do not look at all peers."""
    return (
        f"probed: {count:,} of {of:,} peers, drawn by the seed (evaluation.probe_peers); accuracies, gains and "
        "verdicts are of these"
    )
