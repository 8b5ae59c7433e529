"""Waves of acts by hand."""

from topologies.network.trace import Publication, Return, Step, Weights
from topologies.network.waves import waves_of
from topologies.round import Edge


def step(peer: int, version: int, *heard: Edge) -> Step:
    following = Publication(peer, version + 1, version + 1, 0, (), True)
    return Step(peer, version, version, heard, 0, 0, 0, peer, following)


def back(peer: int, version: int, source: int = -1) -> Publication:
    weights = Weights.OWN if source < 0 else Weights.NEIGHBOUR
    return Publication(peer, version, version, 0, (), True, Return(weights, 1, source))


def test_waves__a_message_is_used_in_a_later_wave_than_it_is_published_in() -> None:
    first, second = step(0, 4), step(1, 4)
    third = step(2, 5, Edge(0, 0.5), Edge(1, 0.5, 1))  # of version 5 of peer 0 and version 4 of peer 1
    fourth = step(3, 6, Edge(1, 1.0, 2))
    assert [wave.steps for wave in waves_of([first, second, third, fourth])] == [(first, second, fourth), (third,)]


def test_waves__no_peer_steps_twice_in_one() -> None:
    steps = [step(0, 1), step(0, 2), step(1, 1), step(0, 3)]
    assert [wave.steps for wave in waves_of(steps)] == [(steps[0], steps[2]), (steps[1],), (steps[3],)]


def test_waves__a_return_comes_before_its_peers_step_and_after_what_it_copies() -> None:
    before, returned, after = step(1, 3), back(0, 4, source=1), step(1, 4)
    own = step(0, 4)
    user = step(2, 4, Edge(0, 1.0))
    waves = waves_of([before, returned, own, after, user])
    assert [wave.steps for wave in waves] == [(before,), (own,), (after, user)]
    assert [wave.returns for wave in waves] == [(), (returned,), ()]


def test_waves__of_nothing() -> None:
    assert waves_of([]) == ()
