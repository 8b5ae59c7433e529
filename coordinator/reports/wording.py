"""Measures, numbers, probes and cells as people read them."""

from pathlib import Path

from coordinator.measures.probe_table import FOR_COMPARISON
from coordinator.measures.statistics import detectable

PROBES = {"knn": "kNN", "linear": "linear", "sgd": "SGD"}
CLAIMS = {  # a probe's gain: what it shows if above 0, not told apart from 0, below 0
    "gain": ("learned", "not distinguishable", "degraded"),
    "over_alone.mean": ("exchange helps", "no effect found", "hurts"),
    "over_untrained.mean": ("above untrained", "not distinguishable", "below untrained"),
    "over_reset.mean": ("above reset", "no difference found", "below reset"),
    "reset_over_untrained.mean": ("above untrained", "not distinguishable", "below untrained"),
}
HURTS_LESS = "hurts less than alone"  # above peers alone, but below calibrated networks
CONTROLS = {  # by kind of gain: what the peers are compared with, and what that is
    "gain": ("calibrated networks", "untrained weights, forward passes only"),
    "over_alone.mean": (
        "peers alone",
        "the same rounds, every peer its own teacher (by its own snapshot or average, where refresh_every or "
        "teacher_ema say so)",
    ),
    "over_untrained.mean": ("untrained networks", "as they were drawn"),
    "over_reset.mean": ("its reset networks", "the trained weights with BatchNorm's buffers as at the start"),
    "reset_over_untrained.mean": (
        "untrained networks",
        "as they were drawn; reset: the trained weights with BatchNorm's buffers as at the start",
    ),
}
SAID = {  # verdicts within a sentence, where their short names would not do
    "exchange helps": "the exchange helps",
    "no effect found": "no effect of the exchange found",
    "hurts": "the exchange hurts",
    HURTS_LESS: "the exchange hurts less than learning alone",
}
FLAGS = {
    "collapsed": "the outputs or features lost most of what told images apart",
    "artefact": "a gain over untrained that is none over calibrated networks",
    "dropped-peers": "values that are not finite in some peers",
    "alone-not-finite": "the control alone diverged; no verdict on the exchange",
}
NOTED_POWER = 3.0  # standard deviations that the clearest gain needs, from which on readers are told


def is_gain(measure: str) -> bool:
    """Whether the measure is a probe's gain over a control: a difference of fractions, shown in points."""
    section, _, rest = measure.partition(".")
    return section == "probes" and rest.partition(".")[2] in CLAIMS


def is_claim(measure: str) -> bool:
    """Whether the measure is a gain that a verdict may rest on."""
    return is_gain(measure) and measure.split(".")[1] not in FOR_COMPARISON


def is_over(measure: str) -> bool:
    """Whether the measure sets the trained peers against another control than the calibrated ones."""
    section, _, rest = measure.partition(".")
    return section == "probes" and rest.partition(".")[2].startswith("over_")


def control_of(measure: str) -> str:
    """Which of `CLAIMS` a gain is."""
    return measure.split(".", 2)[2]


def probe_name(probe: str, marked: bool = False) -> str:
    """`marked` adds an asterisk to those that are for comparison only."""
    return PROBES.get(probe, probe) + ("*" if marked and probe in FOR_COMPARISON else "")


def measure_name(measure: str) -> str:
    """`probes.knn.over_alone.mean` is kNN over alone, `consensus.agreement.last` is agreement at the end."""
    section, _, rest = measure.partition(".")
    name, _, last = rest.partition(".")
    if section == "probes" and last:
        trained = "trained " if last.startswith("over_reset") else ""
        return f"{probe_name(name)} {trained}{last.removesuffix('.mean').replace('_', ' ')}"
    if section == "consensus" and last in ("first", "last"):
        return f"{name.replace('_', ' ')} at the {'start' if last == 'first' else 'end'}"
    return (rest if section == "topology" else measure).replace("_", " ")


def heading(measure: str) -> str:
    """A measure's name with its unit, if it has one."""
    return measure_name(measure) + (" (points)" if is_gain(measure) else "")


def points(value: float) -> str:
    """A gain, given as a fraction, with its sign; with more digits where one would leave nothing of it."""
    return f"{100 * value:+.1f}" if not value or abs(value) >= 0.0005 else f"{100 * value:+.1g}"


def points_between(low: float, high: float) -> str:
    return f"{points(low)} to {points(high)}"


def number(value: float, measure: str) -> str:
    """A value of the measure without its unit: gains in points with their sign, others to three digits."""
    if is_gain(measure):
        return points(value)
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def amount(value: float, measure: str) -> str:
    """The size of a value, with its unit if it has one."""
    size = number(abs(value), measure).removeprefix("+")
    return f"{size} points" if is_gain(measure) else size


def interval(low: float, high: float, measure: str) -> str:
    return f"{number(low, measure)} to {number(high, measure)}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def quoted(cell: str) -> str:
    """A cell's label within a sentence: in quotes unless it is a plain word."""
    return cell if cell.replace("-", "").isalpha() else f"'{cell}'"


def listed(names: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def power_note(num_tests: int, num_seeds: int, what: str = "gain") -> str:
    """How clear a gain must be to be found, where few seeds and many tests ask for more than 3 standard deviations.

    Empty where they ask for less, and where there is nothing to test.
    """
    if num_tests < 1 or num_seeds < 2:
        return ""
    ratio = detectable(num_tests, num_seeds)
    if ratio <= NOTED_POWER:
        return ""
    tests = "1 test" if num_tests == 1 else f"{num_tests} tests"
    return (
        f"With {tests} and {num_seeds} seeds a {what} is told from 0 only if its mean is {ratio:.1f} standard "
        "deviations over the seeds; more seeds lower that."
    )


def size(num_bytes: float | int) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024 or unit == "GiB":
            break
        num_bytes /= 1024
    return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"


def short(path: Path) -> str:
    """A path as it is shown: relative where it lies in the current folder."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
