"""Which peers take part in a round, and in which rounds a peer takes part."""

from topologies.schedule import Round, Schedule


def participants(round_: Round) -> list[int]:
    """The peers that compute on a round's batch, as teachers, students or `unheard` peers; others get no call."""
    teaching = round_.teaching
    return [peer for peer, edges in enumerate(round_.incoming) if edges or peer in teaching or peer in round_.unheard]


def last_rounds(schedule: Schedule, num_rounds: int, most: int) -> list[list[int]]:
    """The last rounds (at most `most`) in which each peer takes part, ascending."""
    found: list[list[int]] = [[] for _ in range(schedule.num_peers)]
    for round_index in reversed(range(num_rounds)):
        for peer in participants(schedule(round_index)):
            if len(found[peer]) < most:
                found[peer].insert(0, round_index)
        if all(len(rounds) == most for rounds in found):
            break
    return found
