"""The last outcomes of a peer's probes, so that networks that are equal are probed once."""

from collections import OrderedDict
from collections.abc import Callable

from peers.probing.measuring import ProbeOutcome

MOST = 2  # conditions that can be equal are probed one after another


class Remembered:
    """Outcomes by what was probed: without BatchNorm calibrated, reset and recalibrated peers are those before it."""

    def __init__(self) -> None:
        self._outcomes: OrderedDict[bytes, ProbeOutcome] = OrderedDict()

    def outcome(self, digest: bytes, found: Callable[[], ProbeOutcome]) -> ProbeOutcome:
        """The outcome for a network with this digest of weights and buffers, computed if none is remembered."""
        if digest not in self._outcomes:
            self._outcomes[digest] = found()
            if len(self._outcomes) > MOST:
                self._outcomes.popitem(last=False)
        self._outcomes.move_to_end(digest)
        return self._outcomes[digest]
