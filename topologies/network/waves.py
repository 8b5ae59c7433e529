"""Which acts of a round can be computed side by side."""

from collections.abc import Iterable

from topologies.network.trace import Publication, Step, Wave


def waves_of(acts: Iterable[Step | Publication]) -> tuple[Wave, ...]:
    """The waves of acts that are given in an order in which they can be computed one by one.

    Each act is in the first wave in which all that it needs is there: what it has heard, its peer's last act, and the
    state that it copies. A neighbour that is copied acts again in a later wave only.
    """
    steps: list[list[Step]] = []
    returns: list[list[Publication]] = []
    next_step: dict[int, int] = {}  # by peer, the first wave for its next step
    next_return: dict[int, int] = {}
    there: dict[tuple[int, int], int] = {}  # by message of this round, the first wave in which it can be used

    def at(level: int) -> int:
        while len(steps) <= level:
            steps.append([])
            returns.append([])
        return level

    for act in acts:
        peer = act.peer
        if isinstance(act, Step):
            level = next_step.get(peer, 0)
            for teacher, _, age in act.heard:
                needed = there.get((teacher, act.version - age), 0)
                if needed > level and teacher != peer:
                    level = needed
            steps[at(level)].append(act)
            next_step[peer] = next_return[peer] = level + 1
            if act.following is not None and act.following.useful:
                there[peer, act.following.version] = level + 1
        else:
            level = next_return.get(peer, 0)
            source = act.back.source if act.back is not None else -1
            if source >= 0:
                level = max(level, next_return.get(source, 0))
                next_step[source] = max(next_step.get(source, 0), level + 1)
                next_return[source] = max(next_return.get(source, 0), level + 1)
            returns[at(level)].append(act)
            next_step[peer], next_return[peer] = level, level + 1
            there[peer, act.version] = level + 1
    return tuple(Wave(tuple(some), tuple(before)) for some, before in zip(steps, returns, strict=True))
