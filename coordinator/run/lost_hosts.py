"""Restart lost hosts with exponential backoff, up to a maximum number of losses."""

import time
from collections.abc import Sequence

from coordinator.pools.base import HostLost, Pool, RecoveryFailed, SameLoss
from coordinator.records.events import FaultKind, Note
from coordinator.records.recorder import Recorder

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before lost hosts are restarted; doubled after each loss


class LostHosts:
    """Counts how often a run has lost hosts; after more than `most` losses the run stops."""

    def __init__(self, pools: Sequence[Pool], recorder: Recorder, most: int) -> None:
        self._pools, self._recorder, self._most = pools, recorder, most
        self._failures, self._lost = 0, False

    def revive(self) -> None:
        """Restart lost hosts, if there are any. Raises: HostLost, if that fails."""
        if self._lost:
            time.sleep(min(FIRST_PAUSE * 2 ** (self._failures - 1), LONGEST_PAUSE))
            for pool in self._pools:
                pool.revive()
            self._lost = False

    def note(self, error: HostLost) -> None:
        """Record a loss. Raises: HostLost, if the run has now lost hosts more than `most` times."""
        if isinstance(error, RecoveryFailed):
            raise error
        self._failures, self._lost = self._failures + (not isinstance(error, SameLoss)), True
        if self._failures > self._most:
            raise HostLost(f"{error}; hosting.max_failures is {self._most}") from None
        if isinstance(error, SameLoss):
            self._recorder.publish(Note(f"{error}; part of the same loss"))
        else:
            description = f"{error}; started anew, {self._failures} of at most {self._most} times"
            self._recorder.fault(FaultKind.HOST_LOST, description)
