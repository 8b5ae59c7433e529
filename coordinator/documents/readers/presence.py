"""When peers were online so far, while a run goes on: by its settings alone, as a simulated network has it."""

from contextlib import suppress

from coordinator.experiment.config import RunConfig
from coordinator.planning.network import world_of
from topologies.network.trace import SECOND
from topologies.worlds.world import World

Change = tuple[float, int, bool]  # virtual second, peer, whether it is online from then on


class PresenceSoFar:
    """The changes of a run's peers, in order of time, up to a second that grows."""

    def __init__(self, config: RunConfig | None) -> None:
        self._world = _world(config)
        self._until = -1.0
        self._changes: list[Change] = []
        self._next: dict[int, tuple[int, bool] | None] = {}
        if self._world is not None:
            peers = range(self._world.num_peers)
            self._changes = [(0.0, peer, False) for peer in peers if not self._world.is_online(peer, 0)]
            self._next = {peer: self._world.change_after(peer, 0) for peer in peers}

    def until(self, seconds: float) -> list[Change]:
        """The changes until then; peers that are offline from the start are so at second 0."""
        if self._world is not None and seconds > self._until:
            self._until, end = seconds, int(seconds * SECOND)
            new: list[Change] = []
            for peer, change in self._next.items():
                while change is not None and change[0] <= end:
                    new.append((change[0] / SECOND, peer, change[1]))
                    change = self._world.change_after(peer, change[0])
                self._next[peer] = change
            self._changes = [*self._changes, *sorted(new)]
        return self._changes


def _world(config: RunConfig | None) -> World | None:
    """The world of a run whose peers come and go; None for others, and if a file that it names is not to be had."""
    if config is None or config.network is None:
        return None
    with suppress(ValueError, OSError):
        world = world_of(config, [1] * config.peers.count)  # presence does not depend on sizes
        return world if world is not None and world.has_churn else None
    return None
