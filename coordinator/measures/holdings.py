"""Who holds how much of which class, and how well peers do on their own classes and on those of others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from coordinator.measures.gains import Condition, Gain
from coordinator.measures.probe_table import ProbeTable
from peers.data.holdings import Holdings
from peers.probing.config import TOP1, ProbeName

Counts = Int[np.ndarray, "peers classes"]
Labels = Int[np.ndarray, " examples"]
SCOPES = {
    "held": "classes that some peer holds",
    "own": "a peer's own classes",
    "others": "classes that others hold and it does not",
}
PARTS = ("mean", "least", "most")  # over peers
NUMBERS = {  # on who holds what, by their names in a summary
    "holdings.public": "public examples",
    "holdings.private": "private examples",
    "holdings.nobodys": "examples that nobody holds",
    "holdings.classes": "classes of the data set",
    "holdings.classes_held": "classes that some peer holds",
    **{f"holdings.examples.{part}": f"private examples of a peer, {part}" for part in PARTS},
    **{f"holdings.effective_classes.{part}": f"effective classes of a peer, {part}" for part in PARTS},
    **{f"holdings.total_variation.{part}": f"total variation of a peer's classes, {part}" for part in PARTS},
}
FOLLOWED = ("own", "others")  # scopes whose accuracy is known over the rounds, too, where probes are taken under way
ENSEMBLE = "ensemble"  # of all peers, on the classes that some peer holds


@dataclass(frozen=True)
class ClassTable:
    """Examples of each class that each peer holds, and that are public (zeros where another data set is)."""

    private: Counts
    public: Int[np.ndarray, " classes"]

    @classmethod
    def of(cls, found: Holdings, labels: Labels, num_classes: int) -> "ClassTable":
        """The counts of these holdings. labels: of all training examples."""

        def counted(part: Int[np.ndarray, " chosen"]) -> Int[np.ndarray, " classes"]:
            return np.bincount(labels[part], minlength=num_classes)

        return cls(np.stack([counted(part) for part in found.private]), counted(found.public))

    @property
    def effective_classes(self) -> Float[np.ndarray, " peers"]:
        """exp of the entropy of each peer's classes: k for k classes in equal numbers. Source: Hill 1973, order 1."""
        shares = self._shares
        logarithms = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
        effective: Float[np.ndarray, " peers"] = np.exp(-(shares * logarithms).sum(axis=1))
        return effective

    @property
    def total_variation(self) -> Float[np.ndarray, " peers"]:
        """Half the absolute differences of a peer's shares of classes from those of all private examples: 0 to 1."""
        whole = self.private.sum(axis=0) / self.private.sum()
        distances: Float[np.ndarray, " peers"] = np.abs(self._shares - whole).sum(axis=1) / 2
        return distances

    @property
    def _shares(self) -> Float[np.ndarray, "peers classes"]:
        sums = self.private.sum(axis=1, keepdims=True)
        shares: Float[np.ndarray, "peers classes"] = self.private / np.maximum(sums, 1)
        return shares

    def images_of(self, scope: str, labels: Labels) -> Bool[np.ndarray, "peers examples"]:
        """Which of these images are, for each peer, of the classes of a scope (a key of `SCOPES`)."""
        own = self.private > 0
        held = np.broadcast_to(own.any(axis=0), own.shape)
        chosen = {"held": held, "own": own, "others": held & ~own}[scope]
        return chosen[:, labels]


def accuracy_of(correct: Bool[np.ndarray, "peers test"], images: Bool[np.ndarray, "peers test"]) -> list[float | None]:
    """Each peer's accuracy on images of its own; None where it has none."""
    counts, right = images.sum(axis=1), (correct & images).sum(axis=1)
    return [float(hit / count) if count else None for hit, count in zip(right, counts, strict=True)]


@dataclass(frozen=True, eq=False)
class ClassImages:
    """Which of the probed test images are, for each peer, of the classes of each followed scope."""

    chosen: Mapping[str, Bool[np.ndarray, "peers test"]]

    @classmethod
    def of(cls, table: ClassTable, labels: Labels) -> "ClassImages":
        """labels: of the probed test images."""
        return cls({scope: table.images_of(scope, labels) for scope in FOLLOWED})

    def accuracies(
        self, correct: Bool[np.ndarray, "probed test"], peers: Sequence[int]
    ) -> dict[str, list[float | None]]:
        """By scope, the accuracy of each of these peers; None where it has no such images."""
        return {scope: accuracy_of(correct, images[list(peers)]) for scope, images in self.chosen.items()}


def class_accuracy(
    table: ClassTable, probes: ProbeTable, labels: Labels, students: Sequence[int]
) -> dict[str, dict[str, dict[str, float]]]:
    """By probe and scope, the probed students' mean accuracy in each condition, and the run's gains over control runs.

    labels: of the probed test images. The scope `ensemble` of top1: the mean of the students' distributions on the
    classes that some peer holds. A scope without images of any student is left out.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    probed = probes.probed(students)
    if not probed:
        return found
    chosen = {scope: table.images_of(scope, labels) for scope in SCOPES}
    rows = probes.rows(probed)
    for name, condition in probes.correct:
        for scope, images in chosen.items():
            values = accuracy_of(probes.correct[name, condition][rows], images[probed])
            _note(found, name, scope, condition, values)
        if name == TOP1:
            right = probes.probabilities[condition].ensemble(rows).correct
            _note(found, name, ENSEMBLE, condition, accuracy_of(right[None], chosen["held"][:1]))
    for scopes in found.values():
        for of_scope in scopes.values():
            of_scope |= _gains(of_scope)
    return found


def accuracy_rows(
    table: ClassTable, probes: ProbeTable, labels: Labels, conditions: Sequence[Condition]
) -> list[dict[str, str | int | float | None]]:
    """Every probed peer's accuracies by scope, a row for each probe, condition and peer."""
    peers = probes.probed(range(len(table.private)))
    chosen = {scope: table.images_of(scope, labels)[peers] for scope in SCOPES}
    rows: list[dict[str, str | int | float | None]] = []
    for (name, condition), correct in probes.correct.items():
        if condition in conditions:
            columns = {scope: accuracy_of(correct, images) for scope, images in chosen.items()}
            for row, peer in enumerate(peers):
                of_peer = {scope: values[row] for scope, values in columns.items()}
                rows.append({"probe": name, "condition": condition.value, "peer": peer, **of_peer})
    return rows


def names_of(probe: ProbeName, conditions: Sequence[Condition]) -> list[str]:
    """The numbers of a probe in `class_accuracy`, if peers were probed in these conditions."""
    probed = [condition.value for condition in conditions if condition.has(probe)]
    gains = [gain.key for gain in Gain if gain.needs <= set(conditions) and gain.is_of_training]
    scopes = [*SCOPES, *([ENSEMBLE] if probe == TOP1 else [])]
    return [f"class_accuracy.{probe}.{scope}.{key}" for scope in scopes for key in (*probed, *gains)]


def _note(
    found: dict[str, dict[str, dict[str, float]]],
    name: str,
    scope: str,
    condition: Condition,
    values: Sequence[float | None],
) -> None:
    known = [value for value in values if value is not None]
    if known:
        found.setdefault(name, {}).setdefault(scope, {})[condition.value] = float(np.mean(known))


def _gains(accuracies: Mapping[str, float]) -> dict[str, float]:
    """Of the accuracies by condition: the run less calibrated peers (`gain`), and less each control run."""
    return {
        gain.key: accuracies[gain.treated] - accuracies[gain.control]
        for gain in Gain
        if gain.is_of_training and gain.treated in accuracies and gain.control in accuracies
    }
