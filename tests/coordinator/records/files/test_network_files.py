import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coordinator.records.files import network_files
from coordinator.records.files.network_files import asked_of, write_network
from tests.topologies.network.hand_made import neighbours, schedule_of, start_of
from topologies.network.trace import SECOND, Presence, TimedRound, Trace
from topologies.schedule import Schedule, complete
from topologies.worlds.config import NetworkConfig
from topologies.worlds.world import World


def traced(schedule: Schedule, *arguments: Any) -> Trace:
    """A trace whose rounds are those of `neighbours`."""

    def rounds_from(start: int) -> Iterator[TimedRound]:
        return itertools.islice(neighbours(schedule, *arguments), start, None)

    return Trace(schedule.num_peers, True, False, rounds_from, lambda start: start_of(schedule))


def world_of(network: NetworkConfig, num_peers: int) -> World:
    return World.of(network, num_peers, 0, 100)


def test_write_network__tables_and_summary(tmp_path: Path) -> None:
    """Two peers that hear each other: 2 s on the way and 1 s of computing, so 3 s a round."""
    schedule = schedule_of({0: [1], 1: [0]}, 2)
    network = NetworkConfig.model_validate({"latency": {"kind": "constant", "seconds": 2}})
    summary = write_network(
        tmp_path, traced(schedule, [1.0, 1.0], 2.0), schedule, network, world_of(network, schedule.num_peers), 4
    )
    assert (summary["clock"], summary["message"], summary["changes_numbers"]) == ("neighbours", "outputs", False)
    assert summary["virtual_seconds"] == 12 and summary["loss"] == {"asked": 0.0, "seen": 0.0}
    assert summary["age_bins"] == {"rounds": [[0.0, 8.0]], "seconds": [[2.0, 8.0]]}
    assert {path.name for path in (tmp_path / "metrics").iterdir()} == {
        "events.parquet",
        "network_edges.parquet",
        "network_intervals.parquet",
        "network_peers.parquet",
    }
    events = pq.read_table(tmp_path / "metrics" / "events.parquet")
    assert events.schema.equals(network_files.SCHEMAS["events"])
    rows = events.to_pylist()
    kinds = [row["kind"] for row in rows]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "publish": 2 + 8,
        "send": 2 + 8,
        "arrive": 8,
        "study": 8,
        "wait": 8,
    }
    assert [row["round"] for row in rows if row["kind"] == "study"] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [row["round"] for row in rows[:4]] == [0, 0, 0, 0]
    first = next(row for row in rows if row["kind"] == "study")
    assert (first["seconds"], first["until"], first["age"], first["age_seconds"]) == (2.0, 3.0, 0, 2.0)
    edges = pq.read_table(tmp_path / "metrics" / "network_edges.parquet").to_pylist()
    assert [(row["student"], row["teacher"], row["heard"], row["mean_age_seconds"]) for row in edges] == [
        (0, 1, 4, 2.0),
        (1, 0, 4, 2.0),
    ]
    intervals = pq.read_table(tmp_path / "metrics" / "network_intervals.parquet").to_pylist()
    assert [row for row in intervals if row["peer"] == 0][:3] == [
        {"peer": 0, "doing": "waiting", "start": 0.0, "end": 2.0},
        {"peer": 0, "doing": "computing", "start": 2.0, "end": 3.0},
        {"peer": 0, "doing": "waiting", "start": 3.0, "end": 5.0},
    ]
    peers = pq.read_table(tmp_path / "metrics" / "network_peers.parquet").to_pylist()
    assert [(row["compute_seconds"], row["wait_seconds"]) for row in peers] == [(4.0, 8.0)] * 2


def test_write_network__without_events(tmp_path: Path) -> None:
    schedule = schedule_of({0: [1], 1: [0]}, 2)
    write_network(
        tmp_path,
        traced(schedule, [1.0, 1.0], 0.0),
        schedule,
        NetworkConfig(events=False),
        world_of(NetworkConfig(events=False), schedule.num_peers),
        3,
    )
    assert not (tmp_path / "metrics" / "events.parquet").exists()
    assert (tmp_path / "metrics" / "network_peers.parquet").exists()


def test_write_network__fewer_rounds_are_a_part_of_more(tmp_path: Path) -> None:
    """As of a run that was interrupted: what is written is what the whole run says of these rounds."""
    schedule, network = complete(3), NetworkConfig()
    tables = {}
    for rounds in (2, 5):
        write_network(
            tmp_path / str(rounds),
            traced(schedule, [1.0, 2.0, 3.0], 0.5),
            schedule,
            network,
            world_of(network, schedule.num_peers),
            rounds,
        )
        tables[rounds] = pq.read_table(tmp_path / str(rounds) / "metrics" / "events.parquet").to_pylist()
    assert tables[2] == [row for row in tables[5] if row["round"] <= 2]


def test_write_network__rows_are_written_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = complete(3)
    trace = traced(schedule, [1.0, 2.0, 3.0], 0.5)
    write_network(
        tmp_path / "whole", trace, schedule, NetworkConfig(), world_of(NetworkConfig(), schedule.num_peers), 20
    )
    monkeypatch.setattr(network_files, "ROWS", 50)
    write_network(
        tmp_path / "parts", trace, schedule, NetworkConfig(), world_of(NetworkConfig(), schedule.num_peers), 20
    )
    whole, parts = (pq.ParquetFile(tmp_path / name / "metrics" / "events.parquet") for name in ("whole", "parts"))
    assert whole.num_row_groups == 1 and parts.num_row_groups > 5
    assert whole.read().equals(parts.read())


def test_write_network__presence(tmp_path: Path) -> None:
    schedule = schedule_of({0: [1]}, 2)
    away = (Presence(1, 2 * SECOND, True), Presence(0, 3 * SECOND, False))
    rounds = [TimedRound(0, 5 * SECOND, (), {}, (), away, 1)]
    trace = Trace(2, False, False, lambda start: iter(rounds[start:]), lambda start: start_of(schedule, {1}))
    network = NetworkConfig.model_validate({"churn": {"kind": "exponential", "up": 6, "down": 2}, "events": False})
    summary = write_network(tmp_path, trace, schedule, network, world_of(network, schedule.num_peers), 1)
    assert summary["availability"] == {"asked": 0.75, "seen": 1 - 4 / 10}
    rows = pq.read_table(tmp_path / "metrics" / "network_presence.parquet").to_pylist()
    assert rows == [
        {"round": 0, "seconds": 0.0, "peer": 1, "online": False},
        {"round": 1, "seconds": 2.0, "peer": 1, "online": True},
        {"round": 1, "seconds": 3.0, "peer": 0, "online": False},
    ]


def test_write_network__nothing_is_left_of_a_file_that_fails(tmp_path: Path) -> None:
    schedule = complete(3)

    def failing(start: int) -> Iterator[TimedRound]:
        yield next(neighbours(schedule, [1.0] * 3, 0.0))
        raise OSError("no room")

    trace = Trace(3, True, False, failing, lambda start: start_of(schedule))
    with pytest.raises(OSError, match="no room"):
        write_network(tmp_path, trace, schedule, NetworkConfig(), world_of(NetworkConfig(), schedule.num_peers), 3)
    assert list((tmp_path / "metrics").iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "loss", "availability"),
    [
        ({}, 0.0, 1.0),
        ({"loss": {"kind": "bernoulli", "probability": 0.1, "retries": 1}}, 0.01, 1.0),
        ({"churn": {"kind": "exponential", "up": 6, "down": 2}}, 0.0, 0.75),
        ({"groups": [{"peers": [0], "loss": {"kind": "bernoulli", "probability": 0.1}}]}, 0.05, 1.0),
    ],
)
def test_asked_of__the_laws(settings: dict[str, Any], loss: float, availability: float) -> None:
    asked = asked_of(world_of(NetworkConfig.model_validate(settings), 2))
    assert asked == {"loss": pytest.approx(loss), "availability": pytest.approx(availability)}
