"""An ablation's measures, numbers and cells as people read them."""

from coordinator.learned import FOR_COMPARISON
from coordinator.report import PROBES

CLAIMS = {  # a probe's gain: what it shows if above 0, not told apart from 0, below 0
    "gain": ("learned", "not distinguishable", "degraded"),
    "over_alone.mean": ("exchange helps", "no effect found", "hurts"),
    "over_untrained.mean": ("above untrained", "not distinguishable", "below untrained"),
}


def is_gain(measure: str) -> bool:
    """Whether the measure is a probe's gain over a control: a difference of fractions, shown in points."""
    section, _, rest = measure.partition(".")
    return section == "probes" and rest.partition(".")[2] in CLAIMS


def is_claim(measure: str) -> bool:
    """Whether the measure is a gain that a verdict may rest on."""
    return is_gain(measure) and measure.split(".")[1] not in FOR_COMPARISON


def control_of(measure: str) -> str:
    """Which of `CLAIMS` a gain is."""
    return measure.split(".", 2)[2]


def probe_name(probe: str) -> str:
    return PROBES.get(probe, probe).rstrip("*")


def measure_name(measure: str) -> str:
    """`probes.knn.over_alone.mean` is kNN over alone, `consensus.agreement.last` is agreement at the end."""
    section, _, rest = measure.partition(".")
    name, _, last = rest.partition(".")
    if section == "probes" and last:
        return f"{probe_name(name)} {last.removesuffix('.mean').replace('_', ' ')}"
    if section == "consensus" and last in ("first", "last"):
        return f"{name.replace('_', ' ')} at the {'start' if last == 'first' else 'end'}"
    return (rest if section == "topology" else measure).replace("_", " ")


def number(value: float, measure: str) -> str:
    """A value of the measure without its unit: gains in points with their sign, others to three digits."""
    if is_gain(measure):
        return f"{100 * value:+.1f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def amount(value: float, measure: str) -> str:
    """The size of a value, with its unit if it has one."""
    size = number(abs(value), measure).removeprefix("+")
    return f"{size} points" if is_gain(measure) else size


def interval(low: float, high: float, measure: str) -> str:
    return f"{number(low, measure)} to {number(high, measure)}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def quoted(cell: str) -> str:
    """A cell's label within a sentence."""
    return f"'{cell}'" if ", " in cell else cell
