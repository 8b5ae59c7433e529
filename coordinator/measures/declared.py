"""Every measure of the peers' consensus, collapse and similarity, declared once.

To add a measure, write a function (in `consensus`), a declaration here, and a test. Tables, `summary.json`, MLflow,
ablations, the progress line, the report and the figures all read these declarations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float, Int

from coordinator.measures import consensus
from coordinator.measures.units import ANY, DIMENSIONS, FRACTION, NATS, NOT_NEGATIVE, RATIO, SHARE, Range, Unit
from peers.probing.observing import MAX_PAIRED, Observation

PerPeer = Float[np.ndarray, " peers"]
Value = TypeVar("Value", float, PerPeer)


class Cost(Enum):
    """A measure's time complexity in the number of peers."""

    PEERS = "O(peers)"
    PAIRS = "O(peers^2)"

    @property
    def most_peers(self) -> int | None:
        """The largest number of peers for which such a measure is computed; None: no limit."""
        return MAX_PAIRED if self is Cost.PAIRS else None

    def allows(self, num_peers: int) -> bool:
        return self.most_peers is None or num_peers <= self.most_peers


class Agreement(Enum):
    """Which values of a measure mean that the peers agree."""

    LOW = "low"
    HIGH = "high"


class Shown(Flag):
    """Where a measure is displayed, in addition to tables, `summary.json` and MLflow, which contain all measures."""

    NOWHERE = 0
    PROGRESS = auto()  # the progress line or bar of a running run
    REPORT = auto()  # the report's sentence on consensus: first and last value
    CURVE = auto()  # a panel in the figures of runs and ablations
    EVERYWHERE = PROGRESS | REPORT | CURVE


@dataclass(frozen=True)
class Observed:
    """The input of measures: outputs and observations on the probe batch of the peers that have not dropped out."""

    outputs: Float[np.ndarray, "peers examples dim"]
    probs: Float[np.ndarray, "peers examples dim"]
    observations: Sequence[Observation]
    cka: Float[np.ndarray, "peers peers"] | None  # None for more than MAX_PAIRED peers: then only the mean is known
    mean_cka: float

    def of_each(self, name: str) -> PerPeer:
        """A field of every peer's observation, as an array."""
        return np.array([getattr(observation, name) for observation in self.observations], dtype=np.float64)


@dataclass(frozen=True)
class Measure(Generic[Value]):
    """A measure of the whole group, or one of each peer, whose mean is reported for the group.

    name: the name in tables, `summary.json` and MLflow; scripts rely on it. title: a readable name. detail: shown in
    brackets after the title if there is room. range: its possible values. collapse_below: a peer counts as collapsed if
    its value is below this and below half of its initial value.
    """

    name: str
    title: str
    unit: Unit
    compute: Callable[[Observed], Value]
    cost: Cost = Cost.PEERS
    agreement: Agreement | None = None
    shown: Shown = Shown.NOWHERE
    detail: str = ""
    range: Range = ANY
    collapse_below: float | None = None

    @property
    def heading(self) -> str:
        """The title, followed by the detail or else the unit in brackets."""
        addition = self.detail or self.unit.name
        return f"{self.title} ({addition})" if addition else self.title

    def written(self, value: float | None) -> str:
        return f"{self.title} {self.unit.written(value)}"


@dataclass(frozen=True)
class PairMeasure:
    """A measure of two peers; `compute` takes the indices of (first, second) into the arrays of `Observed`.

    formula, question, scale: captions for a map of all pairs: what it shows, which question it answers, and what one
    end of its scale means. cost: for all pairs; along links the measure is computed for any number of peers.
    """

    name: str
    title: str
    unit: Unit
    compute: Callable[[Observed, Int[np.ndarray, "pairs 2"]], Float[np.ndarray, " pairs"]]
    agreement: Agreement
    detail: str = ""
    formula: str = ""
    question: str = ""
    scale: str = ""
    range: Range = NOT_NEGATIVE
    cost: Cost = Cost.PAIRS


RELATIVE_DISTANCE: Measure[float] = Measure(
    "relative_distance",
    "disagreement",
    RATIO,
    lambda seen: consensus.relative_consensus_distance(seen.outputs),
    agreement=Agreement.LOW,
    shown=Shown.EVERYWHERE,
    detail="relative distance",
    range=SHARE,
)
GROUP: tuple[Measure[float], ...] = (
    RELATIVE_DISTANCE,
    Measure(
        "consensus_distance",
        "consensus distance",
        RATIO,
        lambda seen: consensus.consensus_distance(seen.outputs),
        agreement=Agreement.LOW,
        range=NOT_NEGATIVE,
    ),
    Measure(
        "js",
        "generalised Jensen-Shannon divergence",
        NATS,
        lambda seen: consensus.generalised_js(seen.probs),
        agreement=Agreement.LOW,
        range=NOT_NEGATIVE,
    ),
    Measure(
        "agreement",
        "agreement",
        FRACTION,
        lambda seen: consensus.argmax_agreement(seen.outputs),
        agreement=Agreement.HIGH,
        shown=Shown.EVERYWHERE,
        detail="same largest output",
        range=SHARE,
    ),
    Measure(
        "fleiss_kappa",
        "Fleiss' kappa",
        RATIO,
        lambda seen: consensus.fleiss_kappa(seen.outputs),
        agreement=Agreement.HIGH,
        range=Range(-1.0, 1.0),
    ),
    Measure("cka", "mean CKA of all pairs", RATIO, lambda seen: seen.mean_cka, agreement=Agreement.HIGH, range=SHARE),
)
WEIGHT_CHANGE: Measure[PerPeer] = Measure(
    "weight_change", "relative weight change", RATIO, lambda seen: seen.of_each("weight_change"), range=NOT_NEGATIVE
)
PEER: tuple[Measure[PerPeer], ...] = (
    Measure(
        "marginal_entropy",
        "marginal entropy",
        NATS,
        lambda seen: consensus.marginal_entropy(seen.probs),
        range=NOT_NEGATIVE,
    ),
    Measure("mean_entropy", "mean entropy", NATS, lambda seen: consensus.mean_entropy(seen.probs), range=NOT_NEGATIVE),
    Measure(
        "mutual_information",
        "mutual information",
        NATS,
        lambda seen: consensus.mutual_information(seen.probs),
        range=NOT_NEGATIVE,
    ),
    Measure(
        "scaled_information",
        "mutual information at the outputs' own scale",
        NATS,
        lambda seen: consensus.scaled_information(seen.outputs),
        range=NOT_NEGATIVE,
        collapse_below=0.01,  # all inputs have the same output
    ),
    Measure(
        "feature_std",
        "spread of the features' directions",
        RATIO,
        lambda seen: seen.of_each("feature_std"),
        range=NOT_NEGATIVE,
        collapse_below=0.1,  # all inputs have the same direction
    ),
    Measure(
        "rankme",
        "effective rank",
        DIMENSIONS,
        lambda seen: seen.of_each("rankme"),
        shown=Shown.REPORT,
        range=NOT_NEGATIVE,
        collapse_below=float("inf"),  # no threshold: every network that halved its rank lost accuracy
    ),
    Measure(
        "participation_ratio",
        "participation ratio",
        DIMENSIONS,
        lambda seen: seen.of_each("participation_ratio"),
        range=NOT_NEGATIVE,
    ),
    WEIGHT_CHANGE,
)
SCALARS: tuple[Measure[Any], ...] = (*GROUP, *PEER)  # the order in tables and `summary.json`

TOTAL_VARIATION = PairMeasure(
    "total_variation",
    "disagreement of every two peers",
    FRACTION,
    lambda seen, places: consensus.edge_disagreement(seen.probs, places),
    Agreement.LOW,
    detail="total variation",
    formula="the total variation between every two peers' outputs",
    question="Who disagrees with whom",
    scale="0 is agreement",
    range=SHARE,
)
SQUARED_DISTANCE = PairMeasure(
    "squared_distance",
    "squared distance",
    RATIO,
    lambda seen, places: consensus.edge_squared_distance(seen.outputs, places),
    Agreement.LOW,
)


def _cka_of_pairs(seen: Observed, places: Int[np.ndarray, "pairs 2"]) -> Float[np.ndarray, " pairs"]:
    assert seen.cka is not None, "pairs are compared where Gram matrices are there"
    similarity: Float[np.ndarray, " pairs"] = seen.cka[places[:, 0], places[:, 1]]
    return similarity


CKA = PairMeasure(
    "cka",
    "similarity of every two peers' features",
    RATIO,
    _cka_of_pairs,
    Agreement.HIGH,
    detail="CKA",
    formula="the linear CKA of every two peers' features",
    question="Whose features are alike",
    scale="1 is the same representation",
    range=SHARE,
)
LINKS = (TOTAL_VARIATION, SQUARED_DISTANCE)  # of the two ends of every link, for any number of peers
PAIRS = (TOTAL_VARIATION, CKA)  # of all pairs, at the last measured round only


def shown_in(place: Shown) -> tuple[Measure[Any], ...]:
    """The measures displayed in a place, those of the whole group first."""
    return tuple(measure for measure in SCALARS if place in measure.shown)


def scalar_names(num_peers: int) -> list[str]:
    """The names of the measures in `summary.json`, for a run with this number of peers."""
    return [measure.name for measure in SCALARS if measure.cost.allows(num_peers)]


def not_taken(num_peers: int) -> list[Measure[Any] | PairMeasure]:
    """The measures that are skipped for this number of peers, because their cost is quadratic."""
    declared: list[Measure[Any] | PairMeasure] = [*SCALARS, *PAIRS]
    return [measure for measure in declared if not measure.cost.allows(num_peers)]
