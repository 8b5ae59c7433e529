"""Latencies from files: what is read, and the one line about what is not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from topologies.worlds.config import NetworkConfig
from topologies.worlds.latency_file import read
from topologies.worlds.world import World

Told = Callable[..., str]
MATRIX = "a,b,c\n0,10,20\n10,0,30\n20,30,0\n"
GML = """graph [
  node [ id 0 label "lab" host_bandwidth_up "1 Gbit" ]
  node [ id 1 label "home" ]
  node [ id 2 label "shed" ]
  edge [ source 0 target 1 latency "10 ms" packet_loss 0.1 ]
  edge [ source 1 target 2 latency "500 us" ]
  edge [ source 0 target 0 latency "1 ms" ]
]
"""
EXPECTED = np.array([[0, 5, 10], [5, 0, 15], [10, 15, 0]]) / 1000


def written(folder: Path, text: str, name: str = "ping.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        MATRIX,
        "name,a,b,c\na,,10,20\nb,10,-,30\nc,20,30,0\n",
        "from,to,ms\na,b,10\na,c,20\n# a comment\n\nb,c,30\n",
        "to,seconds,from\nb,0.010,a\nc,0.020,a\nc,0.030,b\nb,0.030,c\n",
    ],
)
def test_read__matrices_and_pairs_are_round_trips(text: str, tmp_path: Path) -> None:
    table = read(written(tmp_path, text))
    places = sorted(range(3), key=table.names.__getitem__)
    assert sorted(table.names) == ["a", "b", "c"]
    np.testing.assert_allclose(table.seconds[np.ix_(places, places)], EXPECTED)
    (note,) = table.notes
    assert note.endswith("taken as round trips, one way half of each; else set network.latency.round_trip to false")
    for said in (True, False):
        one_way = read(tmp_path / "ping.csv", round_trip=said)
        assert one_way.notes == () and one_way.seconds.max() == table.seconds.max() * (1 if said else 2)


def test_read__matrix_without_a_header_or_with_numbers_as_names(tmp_path: Path) -> None:
    bare = read(written(tmp_path, "0,10,20\n10,0,30\n20,30,0\n"))
    assert bare.names == ("0", "1", "2")
    np.testing.assert_allclose(bare.seconds, EXPECTED)
    numbered = read(written(tmp_path, "7,8,9\n0,10,20\n10,0,30\n20,30,0\n"))
    assert numbered.names == ("7", "8", "9")
    np.testing.assert_allclose(numbered.seconds, EXPECTED)


def test_read__units_and_one_way(tmp_path: Path) -> None:
    path = written(tmp_path, MATRIX)
    np.testing.assert_allclose(read(path, round_trip=False).seconds, EXPECTED * 2)
    in_seconds = written(tmp_path, MATRIX.replace("10", "0.01").replace("20", "0.02").replace("30", "0.03"))
    np.testing.assert_allclose(read(in_seconds, unit="seconds").seconds, EXPECTED)


def test_read__parquet(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"from": ["a", "a", "b"], "to": ["b", "c", "c"], "p50": [10, 20, 30]}), tmp_path / "ping.parquet"
    )
    np.testing.assert_allclose(read(tmp_path / "ping.parquet").seconds, EXPECTED)


def test_read__gml_of_shadow_is_one_way_along_shortest_paths(tmp_path: Path) -> None:
    table = read(written(tmp_path, GML, "net.gml"))
    assert table.names == ("lab", "home", "shed")
    np.testing.assert_allclose(table.seconds * 1000, [[1, 10, 10.5], [10, 0, 0.5], [10.5, 0.5, 0]])
    assert table.notes == ("network.latency.path: net.gml: packet_loss of 1 edges is not used; set network.loss",)


def test_bandwidth__of_shadows_nodes(tmp_path: Path, told: Told) -> None:
    limits = ' host_bandwidth_up "{}" host_bandwidth_down "{}" ]'
    text = GML.replace(' host_bandwidth_up "1 Gbit" ]', limits.format("1 Gbit", "800 Mbit"))
    text = text.replace('"home" ]', '"home"' + limits.format("20 Mibit", "1 Gibit"))
    text = text.replace('"shed" ]', '"shed"' + limits.format("8000 kbit", 16000))
    law = {"kind": "file", "path": str(written(tmp_path, text, "net.gml"))}
    world = World.of(NetworkConfig.model_validate({"latency": law, "bandwidth": law}), 4, 0, 1)
    assert world.up is not None and world.up.tolist() == [125e6, 20 * 2**20 / 8, 1e6, 125e6]
    assert world.down is not None and world.down.tolist() == [100e6, 2**30 / 8, 2000, 100e6]
    without = NetworkConfig.model_validate({"bandwidth": law})
    assert "got none, since network.latency has no places" in told(World.of, without, 4, 0, 1)
    elsewhere = {"kind": "regions", "table": "home", "regions": ["japan"]}
    other = NetworkConfig.model_validate({"latency": elsewhere, "bandwidth": law})
    assert "must have the places of network.latency as nodes, got 'japan'" in told(World.of, other, 4, 0, 1)
    written(tmp_path, text.replace("16000", "16"), "net.gml")
    assert "node 2: bandwidths must be at least 8 kbit, got 16 bit" in told(World.of, without, 4, 0, 1)


def test_read__asymmetry_is_told_and_used(tmp_path: Path) -> None:
    table = read(written(tmp_path, "a,b,c\n0,10,20\n11,0,645\n20,30,0\n"))
    note, _ = table.notes
    assert "2 pairs are not symmetric, at most b to c with 645 ms there and 30 ms back" in note
    network = NetworkConfig.model_validate({"latency": {"kind": "file", "path": str(tmp_path / "ping.csv")}})
    world = World.of(network, 4, 0, 1)
    assert world.notes == table.notes and world.places == ("a", "b", "c", "a")
    assert [world.transmission(1, 2, 0), world.transmission(2, 1, 0)] == [322.5e6, 15e6]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n0,-0.5\n1,0\n", "the latency from a to b must be at least 0, got -0.5 ms; correct 1 of 4"),
        ("a,b\n0,\n1,0\n", "row 1: b must be a number, got nothing"),
        ("a,b\n0,nan\n1,0\n", "row 1: b must be a number, got 'nan'"),
        (
            "from,to,ms\na,b,1\na,c,2\n",
            "the latency from b to c must be there for every pair, got none; correct 2 of 9",
        ),
        ("from,to,ms\na,b,1\na,b,2\n", "row 2: must name a pair once, got a to b again"),
        ("from,to,ms\na,b,x\n", "row 1: ms must be a number, got 'x'"),
        ("from,to,speed\na,b,1\n", "must have a column ms or seconds beside from and to, got from, to, speed"),
        ("a,b\n0,1\n1,0\n2,3\n", "must be a square matrix below a header"),
        ("x,a,b\nb,0,1\na,1,0\n", "row 1: must be named as its column, 'a', got 'b'; reorder"),
        ("a,b\n0,50000\n50000,0\n", "got 50000 ms, which looks like another unit"),
        ("a,b\n0,0.005\n0.005,0\n", "must be above 0.01 ms, got 0.005 ms as the longest, which looks like seconds"),
        ("a,b\n0,1\n1\n", "row 2: must have 2 cells, got 1"),
        ("a,a\n0,1\n1,0\n", "must name each column once, got 'a' twice"),
        ("0,1,2\n1,0,2\n", "must be a square matrix"),
        ("a,b\n", "must have at least one row"),
        ("", "must have at least one row"),
    ],
)
def test_read__says_what_is_wrong(text: str, expected: str, tmp_path: Path, told: Told) -> None:
    assert expected in told(read, written(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('latency "10 ms"', "", "edge 0 1: must have the attribute latency, got nothing"),
        ('"10 ms"', '"10 miles"', "edge 0 1: latency must be such as \"10 ms\", got '10 miles'"),
        ('"10 ms"', '"-1 ms"', "latency must be such as"),
        ("graph [", "graph", "is no GML"),
        ("edge [ source 1 target 2", "edge [ source 1 target 0", "is no GML"),
    ],
)
def test_read__says_what_is_wrong_with_gml(old: str, new: str, expected: str, tmp_path: Path, told: Told) -> None:
    assert expected in told(read, written(tmp_path, GML.replace(old, new), "net.gml"))


def test_read__unconnected_gml_has_missing_latencies(tmp_path: Path, told: Told) -> None:
    text = GML.replace('edge [ source 1 target 2 latency "500 us" ]', "")
    assert "the latency from lab to shed must be there for every pair" in told(read, written(tmp_path, text, "net.gml"))


def test_read__neither_folders_nor_pickles(tmp_path: Path, told: Told) -> None:
    assert "it is no file" in told(read, tmp_path)
    assert "no such file" in told(read, tmp_path / "no.csv")
    assert "pickles run code" in told(read, written(tmp_path, "x", "ping.pkl"))
    (tmp_path / "bytes.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    assert "cannot be read" in told(read, tmp_path / "bytes.csv")
    assert "cannot be read" in told(read, written(tmp_path, "no parquet", "ping.parquet"))
