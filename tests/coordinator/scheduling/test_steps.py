"""The last round of a run on a simulated network."""

from coordinator.scheduling.steps import without_next
from topologies.network.trace import Publication, Step, TimedRound, Wave


def test_without_next__messages_given_up_or_replaced_in_the_round_stay() -> None:
    """Peer 0 gives its message 1 up, peer 1 replaces its own by message 2, and peer 2's is for the next round."""
    after = [Publication(peer, 1, 1, 10, (3,), False, None) for peer in range(3)]
    steps = tuple(Step(peer, 0, 0, (), 0, 0, 10, peer, after[peer]) for peer in range(3))
    waves = (Wave(steps), Wave((), (Publication(1, 2, 2, 20, (3,), False, None),)))
    timed = TimedRound(4, 30, waves, {}, (), (), 4, ((0, 1),))
    found = [step.following for wave in without_next(timed) for step in wave.steps]
    assert found == [after[0], after[1], None]
