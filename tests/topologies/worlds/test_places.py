"""Where peers are, and the tables of latencies: against geography, and one line for every mistake."""

from collections.abc import Callable

import numpy as np
import pytest

from topologies.worlds import aws, places
from topologies.worlds.caps import HOME_LINKS
from topologies.worlds.config import NetworkConfig
from topologies.worlds.places import LatencyTable, continent, place_peers
from topologies.worlds.world import World

Told = Callable[..., str]
LIGHT = 299_792.458  # km a second
EARTH = 6371.0  # km


def distances(table: LatencyTable) -> np.ndarray:
    """Great circles between the places, in km."""
    latitude, longitude = np.radians([table.coordinates[name] for name in table.names]).T
    vectors = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )
    found: np.ndarray = EARTH * np.arccos(np.clip(vectors @ vectors.T, -1, 1))
    return found


def test_aws__no_message_is_faster_than_light_and_distance_explains_most() -> None:
    table = aws.table()
    others = ~np.eye(len(table.names), dtype=bool)
    km, seconds = distances(table)[others], table.seconds[others]
    assert (seconds > km / LIGHT).all()
    assert np.corrcoef(km, seconds)[0, 1] > 0.8
    assert np.median(seconds / (km / LIGHT)) < 3  # fibre is 1.5 times slower than light, and no great circle


def test_aws__is_as_described() -> None:
    """33 regions; round trips between regions from 8 to 421 ms with median 156; the 90th percentile mostly 4% above."""
    table = aws.table()
    others = ~np.eye(33, dtype=bool)
    round_trips = table.seconds[others] * 2000
    assert len(table.names) == 33 and (table.seconds == table.seconds.T).all()
    assert round_trips.min() == pytest.approx(8, abs=1) and round_trips.max() == pytest.approx(421, abs=2)
    assert np.median(round_trips) == pytest.approx(156, abs=2)
    assert np.median(np.exp(table.sigmas[others] * aws.NORMAL_90)) == pytest.approx(1.04, abs=0.01)
    assert (np.diag(table.seconds) * 2000 < 9).all() and (table.sigmas >= 0).all()


def test_homes__no_message_is_faster_than_light() -> None:
    table = places.homes()
    assert set(table.names) == set(HOME_LINKS)
    assert (table.seconds > distances(table) / LIGHT).all()


def test_continent__of_every_region_near_to_it() -> None:
    """Every AWS region but Africa's has the home links of the nearest home, or of one nearly as near."""
    table, homes = aws.table(), places.homes()
    both = LatencyTable(
        (*table.names, *homes.names), np.zeros((39, 39)), np.zeros((39, 39)), aws.COORDINATES | places.HOMES
    )
    to_homes = distances(both)[:33, 33:]
    for name, near in zip(table.names, to_homes, strict=True):
        if not name.startswith("af-"):
            home = homes.names.index(continent(name))
            assert near[home] < 1.34 * near.min() or near[home] < 6000, name


def test_place_peers__in_turn_and_by_counts() -> None:
    table = places.homes()
    assert place_peers(["japan", "europe"], table, 5) == [4, 1, 4, 1, 4]
    assert place_peers(["japan:3", "europe:2"], table, 5) == [4, 4, 4, 1, 1]
    assert place_peers([], table, 8) == [0, 1, 2, 3, 4, 5, 0, 1]


def test_place_peers__says_what_is_wrong(told: Told) -> None:
    table = places.homes()
    assert "got 'japn'; did you mean 'japan'?" in told(place_peers, ["japn"], table, 4)
    assert "no region has peers 3 to 4" in told(place_peers, ["japan:3"], table, 5)
    assert "no region has peer 4" in told(place_peers, ["japan:4"], table, 5)
    assert "must hold 2 peers, got 3" in told(place_peers, ["japan:3"], table, 2)
    assert "got 'europe'; write 'europe:1'" in told(place_peers, ["japan:3", "europe"], table, 4)


def test_groups__region_in_place_of_the_turn(told: Told) -> None:
    latency = {"kind": "regions", "regions": ["us-east-1", "eu-west-1"], "jitter": 0}
    network = NetworkConfig.model_validate({"latency": latency, "groups": [{"peers": [2], "region": "sa-east-1"}]})
    world = World.of(network, 4, 0, 1)
    assert world.places == ("us-east-1", "eu-west-1", "sa-east-1", "eu-west-1")
    table = aws.table()
    place = table.names.index
    assert world.transmission(2, 1, 0) == round(table.seconds[place("sa-east-1"), place("eu-west-1")] * 1e9)
    wrong = NetworkConfig.model_validate({"latency": latency, "groups": [{"peers": [2], "region": "eu-west-9"}]})
    assert "network.groups[0].region: must be a place of the table, got 'eu-west-9'; did" in told(
        World.of, wrong, 4, 0, 1
    )


def test_home_links__of_the_region_of_each_peer(told: Told) -> None:
    latency = {"kind": "regions", "regions": ["us-east-1", "ap-northeast-1"]}
    network = NetworkConfig.model_validate({"latency": latency, "bandwidth": {"kind": "home-links"}})
    world = World.of(network, 3, 0, 1)
    assert world.up is not None and world.down is not None
    assert (world.up * 8 / 1e6).tolist() == pytest.approx([19.2, 10.2, 19.2])
    assert (world.down * 8 / 1e6).tolist() == pytest.approx([52.0, 22.8, 52.0])
    africa = {"kind": "regions", "regions": ["af-south-1"]}
    unknown = NetworkConfig.model_validate({"latency": africa, "bandwidth": {"kind": "home-links"}})
    assert "home-links are known for" in told(World.of, unknown, 2, 0, 1)
    mixed = {"peers": [1], "bandwidth": {"up": 1e6, "down": 2e6}}
    of_group = World.of(network.model_validate(network.model_dump() | {"groups": [mixed]}), 3, 0, 1)
    assert of_group.up is not None and of_group.up.tolist() == [2.4e6, 1e6, 2.4e6]


def test_place_peers__a_huge_count_is_told_at_once(told: Told) -> None:
    assert "must hold 4 peers, got 1000000000000" in told(place_peers, [f"japan:{'9' * 30}"], places.homes(), 4)


def test_place_peers__hostile_names_stay_on_one_line(told: Told) -> None:
    text = told(place_peers, ["a\n\x1b[31mb" + "x" * 10_000], places.homes(), 4)
    assert r"'a\n\x1b[31mbx" in text and len(text) < 400
