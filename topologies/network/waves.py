"""Which acts of a round can be computed side by side."""

from collections.abc import Iterable

from topologies.network.trace import Publication, Step, Wave


def waves_of(acts: Iterable[Step | Publication]) -> tuple[Wave, ...]:
    """The waves of acts that are given in an order in which they can be computed one by one.

    Each act is in the first wave in which all that it needs is there: what it has heard, its peer's last act, and the
    state that it copies. A neighbour that is copied acts again in a later wave only.
    """
    found: list[tuple[list[Step], list[Publication]]] = []
    levels = _Levels()
    for act in acts:
        level = levels.of_step(act) if isinstance(act, Step) else levels.of_return(act)
        while len(found) <= level:
            found.append(([], []))
        if isinstance(act, Step):
            found[level][0].append(act)
        else:
            found[level][1].append(act)
    return tuple(Wave(tuple(steps), tuple(returns)) for steps, returns in found)


class _Levels:
    """The first waves for the next step and the next publication of each peer, and in which a message can be used."""

    def __init__(self) -> None:
        self._steps: dict[int, int] = {}
        self._returns: dict[int, int] = {}
        self._messages: dict[tuple[int, int], int] = {}

    def of_step(self, step: Step) -> int:
        """The wave of a step."""
        peer, version, messages = step.peer, step.version, self._messages
        level = self._steps.get(peer, 0)
        for teacher, _, age in step.heard:
            needed = messages.get((teacher, version - age), 0)
            if needed > level and teacher != peer:
                level = needed
        self._steps[peer] = self._returns[peer] = level + 1
        following = step.following
        if following is not None and following.useful:
            messages[peer, following.version] = level + 1
        return level

    def of_return(self, message: Publication) -> int:
        """The wave of a publication between steps."""
        peer = message.peer
        level = self._returns.get(peer, 0)
        source = -1 if message.back is None else message.back.source
        if source >= 0:
            level = max(level, self._returns.get(source, 0))
            for later in (self._steps, self._returns):
                later[source] = max(later.get(source, 0), level + 1)
        self._steps[peer], self._returns[peer] = level, level + 1
        self._messages[peer, message.version] = level + 1
        return level
