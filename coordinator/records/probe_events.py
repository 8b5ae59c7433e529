"""The events of a run that are about its probes."""

from dataclasses import dataclass

from coordinator.measures.gains import Condition
from peers.probing.measuring import ProbeOutcome


@dataclass(frozen=True)
class Probed:
    """Probe outcomes: after `completed` rounds, as a `condition` for verdicts, or both.

    outcomes: of the probed peers, in peer order; for RAW_PIXELS one for each different sensor, and for each peer whose
    sensor draws noise of its own. peers: whose they are; None: of all.
    """

    outcomes: list[ProbeOutcome]
    completed: int | None = None
    condition: Condition | None = None
    peers: tuple[int, ...] | None = None

    @property
    def probed(self) -> tuple[int, ...]:
        return tuple(range(len(self.outcomes))) if self.peers is None else self.peers

    @property
    def accuracies(self) -> dict[str, list[float]]:
        """The accuracies of each probe in the order of `probed`, by the names used in tables and MLflow."""
        names = self.outcomes[0].correct
        return {
            f"{name}_accuracy": [float(outcome.correct[name].mean()) for outcome in self.outcomes] for name in names
        }


@dataclass(frozen=True)
class ProbesDone:
    """In a stage of probes, so many of its `total` probes of single peers are done."""

    done: int
    total: int
