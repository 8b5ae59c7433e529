"""Whom the probes look at: a stratified sample, by the seed."""

import numpy as np
import pytest

from coordinator.experiment.config import load_config
from coordinator.planning.probe_sample import probed_peers, sample, shares
from coordinator.planning.schedules import build_schedule


def sampled(seed: int = 0, **sections: dict) -> tuple[int, ...] | None:
    config = load_config(
        {
            "run": {"seed": seed, "rounds": 4},
            "data": {"kind": "digits"},
            "peers": {"count": 200, **sections.get("peers", {})},
            "topology": sections.get("topology", {"kind": "ring"}),
            "exchange": sections.get("exchange", {}),
            "evaluation": {"probe_peers": 20},
        }
    )
    return probed_peers(config, build_schedule(config))


def groups(*counts: int) -> list[dict]:
    return [{"count": count, "name": f"g{place}"} for place, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("sizes", "places", "found"),
    [
        ([100], 20, [20]),
        ([60, 40], 10, [6, 4]),
        ([97, 3], 10, [8, 2]),  # in proportion 9.7 and 0.3, but two of each
        ([97, 1], 10, [9, 1]),
        ([5, 3], 10, [5, 3]),
        ([0, 100], 10, [0, 10]),
        ([50, 50, 50], 4, [2, 2, 2]),  # more than places
        ([1, 1, 98], 5, [1, 1, 3]),
    ],
)
def test_shares__in_proportion_and_two_of_each(sizes: list[int], places: int, found: list[int]) -> None:
    assert shares(sizes, places) == found


def test_probed_peers__all_where_there_are_no_more() -> None:
    assert sampled(peers={"count": 20}) is None
    assert len(sampled(peers={"count": 21}) or ()) == 20


def test_probed_peers__a_function_of_the_seed() -> None:
    first = sampled()
    assert first is not None and len(set(first)) == 20 and list(first) == sorted(first)
    assert sampled() == first != sampled(seed=1)


def test_probed_peers__every_group_has_students_in_proportion() -> None:
    found = np.array(sampled(peers={"count": 200, "groups": groups(150, 44, 6)}))
    counts = np.histogram(found, [0, 150, 194, 200])[0].tolist()
    assert counts == [14, 4, 2]


def test_probed_peers__liars_and_frozen_peers_come_after_honest_students() -> None:
    lying = {"adversaries": [{"peers": list(range(190)), "attack": {"kind": "sign-flip"}}], "frozen": [195, 196]}
    found = set(sampled(peers=lying) or ())
    assert found >= {190, 191, 192, 193, 194, 197, 198, 199}  # all honest students
    assert len(found) == 20 and not found & {195, 196}  # the others lie


def test_probed_peers__those_that_study_come_first() -> None:
    """One student a round: after four rounds there are at most four."""
    schedule_of = {"exchange": {"roles": "one-student"}}
    config = load_config(
        {"run": {"rounds": 4}, "data": {"kind": "digits"}, "peers": {"count": 200}, "topology": {"kind": "ring"}}
        | schedule_of
    )
    students = {peer for index in range(4) for peer in build_schedule(config)(index).students}
    found = sampled(**schedule_of)
    assert students <= set(found or ()) and len(found or ()) == 20


def test_sample__idle_peers_fill_what_is_left() -> None:
    found = sample(6, {"": range(9)}, {1, 2}, [[5], [7]], 9, np.random.default_rng(0))
    assert {1, 2, 5, 7} <= set(found) and len(found) == 6
