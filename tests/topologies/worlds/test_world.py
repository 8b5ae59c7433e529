"""The world is a pure function of settings, seed and numbers: any order, any copy, any number of times."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies.worlds.caps import BandwidthConfig
from topologies.worlds.churn import ChurnConfig
from topologies.worlds.compute import ComputeConfig
from topologies.worlds.config import NetworkConfig
from topologies.worlds.latency import LatencyConfig
from topologies.worlds.loss import LossConfig
from topologies.worlds.presets import PRESETS
from topologies.worlds.world import World

Told = Callable[..., str]
PEERS = 5
UNIONS = {
    "compute": ComputeConfig,
    "latency": LatencyConfig,
    "bandwidth": BandwidthConfig,
    "loss": LossConfig,
    "churn": ChurnConfig,
}
PLACES = {"kind": "regions", "regions": ["us-east-1", "eu-west-1"]}
FILES = {
    "devices.csv": "seconds,up,down\n0.5,1e6,2e6\n0.7,2e6,3e6\n",
    "latencies.csv": "a,b,c\n0,10,20\n10,0,30\n20,30,0\n",
    "presence.csv": "peer,start,end\n0,0,5\n1,3,900\n",
}


def worlds() -> list[dict[str, Any]]:
    """The settings of an example of every kind, and of every preset."""
    found: list[dict[str, Any]] = [{"preset": preset} for preset in PRESETS]
    for key, union in UNIONS.items():
        for variant in get_args(get_args(union)[0]):
            law = variant.example().model_dump(mode="json", exclude_none=True)
            found.append({key: law} if key == "latency" else {"latency": PLACES, key: law})
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        (made / name).write_text(text)
    return made


def world_of(table: dict[str, Any], folder: Path, seed: int = 3) -> World:
    table = {
        key: value | {"path": str(folder / value["path"])} if isinstance(value, dict) and "path" in value else value
        for key, value in table.items()
    }
    return World.of(NetworkConfig.model_validate(table), PEERS, seed, 100)


def answers(world: World, questions: list[tuple[int, int, int]]) -> list[tuple[object, ...]]:
    """What the world says about (peer, other, number)."""
    return [
        (
            world.step_ns(first, number),
            world.transmission(first, second, number),
            world.wake_ns(first, number),
            world.is_online(first, number * 10**8),
            world.change_after(second, number * 10**9),
            world.choice(first, number, 7),
        )
        for first, second, number in questions
    ]


@pytest.mark.parametrize("table", worlds(), ids=str)
def test_world__any_order_and_any_copy_gives_the_same(table: dict[str, Any], folder: Path) -> None:
    questions = [(number % PEERS, number * 3 % PEERS, number * 37 % 900) for number in range(120)]
    world = world_of(table, folder)
    found = answers(world, questions)
    assert list(reversed(answers(world, questions[::-1]))) == found
    assert answers(world_of(table, folder), sorted(questions)) == [
        found[questions.index(question)] for question in sorted(questions)
    ]
    for copied in (copy.deepcopy(world), pickle.loads(pickle.dumps(world))):
        assert answers(copied, questions) == found


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2000)), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_world__of_phones_with_bursts_in_any_order(questions: list[tuple[int, int, int]]) -> None:
    network = NetworkConfig.model_validate(
        {"preset": "phones", "loss": {"kind": "gilbert-elliott", "p": 0.1, "r": 0.2, "retries": 1}}
    )
    world = World.of(network, PEERS, 0, 1)
    found = answers(world, questions)
    assert found == [answers(World.of(network, PEERS, 0, 1), [question])[0] for question in questions]


def test_world__other_seeds_are_other_worlds() -> None:
    network = NetworkConfig.model_validate({"preset": "phones"})
    first, second = (answers(World.of(network, PEERS, seed, 1), [(0, 1, 3), (4, 2, 9)]) for seed in (0, 1))
    assert all(one[:3] != other[:3] for one, other in zip(first, second, strict=True))


def test_world__ideal_one_has_no_delays_losses_or_absences() -> None:
    world = World.of(NetworkConfig(), PEERS, 0, [1, 2, 3, 4, 5])
    assert not (world.has_loss or world.has_churn)
    assert world.up is None and world.down is None and world.table is None and world.places == (None,) * PEERS
    assert world.latency_ns == world.transmission(0, 1, 5) == 0 and world.step_ns(0, 9) == 10**9
    assert [world.message_bytes(peer) for peer in range(PEERS)] == [1, 2, 3, 4, 5]
    assert world.is_online(0, 10**15) and world.change_after(0, 0) is None
    assert world.loss_share == (0.0,) * PEERS and world.availability == (1.0,) * PEERS


def test_world__wakes_with_its_mean_and_chooses_evenly() -> None:
    from scipy import stats

    world = World.of(NetworkConfig.model_validate({"clock": "gossip", "wake_every": 0.2}), 2, 0, 1)
    waits = [world.wake_ns(1, number) / 1e9 for number in range(4000)]
    assert stats.kstest(waits, stats.expon(scale=0.2).cdf).pvalue > 0.01
    counts = [0] * 5
    for number in range(4000):
        counts[world.choice(0, number, 5)] += 1
    assert stats.chisquare(counts).pvalue > 0.01


def test_world__groups_name_peers_that_exist(told: Told) -> None:
    network = NetworkConfig.model_validate({"groups": [{"peers": [0]}, {"peers": [9], "slowdown": 2}]})
    assert "network.groups[1].peers: must be from 0 to peers.count - 1 = 4, got 9" in told(World.of, network, 5, 0, 1)


def test_world__groups_have_losses_and_absences_of_their_own() -> None:
    groups = [{"peers": [1], "loss": {"probability": 0.5}, "churn": {"up": 1, "down": 1, "on_return": "neighbour"}}]
    world = World.of(NetworkConfig.model_validate({"groups": groups}), 3, 0, 1)
    assert world.loss_share == (0.0, 0.5, 0.0) and world.availability == (1.0, 0.5, 1.0)
    lost = [[world.transmission(sender, 0, number) < 0 for number in range(100)] for sender in (1, 2)]
    assert 20 < sum(lost[0]) < 80 and sum(lost[1]) == 0 and world.has_loss
    assert [known is None for known in world.presence] == [True, False, True]


def test_world__bandwidth_of_devices_in_turn(folder: Path) -> None:
    world = world_of({"bandwidth": {"kind": "file", "path": "devices.csv"}}, folder)
    assert world.up is not None and world.up.tolist() == [1e6, 2e6, 1e6, 2e6, 1e6]
    assert world.down is not None and world.down.tolist() == [2e6, 3e6, 2e6, 3e6, 2e6]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("communication\n0\n", "row 1: communication must be above 0, got 0"),
        ("communication\n4\n", "row 1: communication must be at least 8 kbit/s, got 4"),
        ("up,down\n5e6,20\n", "row 1: down must be at least 1,000 bytes a second (it looks like Mbit/s), got 20"),
        ("up\n5e6\n", "must have the column up and down, or communication, got up"),
    ],
)
def test_world__says_what_is_wrong_with_devices(text: str, expected: str, tmp_path: Path, told: Told) -> None:
    (tmp_path / "devices.csv").write_text(text)
    network = NetworkConfig.model_validate({"bandwidth": {"kind": "file", "path": str(tmp_path / "devices.csv")}})
    assert expected in told(World.of, network, 3, 0, 1)
    fedscale = tmp_path / "fedscale.csv"
    fedscale.write_text("communication,computation\n1000,20\n")
    network = NetworkConfig.model_validate({"bandwidth": {"kind": "file", "path": str(fedscale)}})
    assert World.of(network, 2, 0, 1).up.tolist() == [125_000.0] * 2  # type: ignore[union-attr]
