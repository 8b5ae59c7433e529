"""Where peers are: tables of latencies between places, and which place each peer has."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from topologies.worlds.section import shortened

Table = Float[np.ndarray, "senders receivers"]
HOMES = {  # latitude and longitude of a middle of each
    "north-america": (39.8, -98.6),
    "europe": (50.1, 9.9),
    "south-america": (-15.6, -56.1),
    "asia-pacific": (13.8, 100.5),
    "japan": (35.7, 139.7),
    "australia": (-33.9, 151.2),
}
HOME_MILLISECONDS = (  # one way, mean; source: SimBlock (Aoki et al., 2019), NetworkConfiguration, 2019
    (32, 124, 184, 198, 151, 189),
    (124, 11, 227, 237, 252, 294),
    (184, 227, 88, 325, 301, 322),
    (198, 237, 325, 85, 58, 198),
    (151, 252, 301, 58, 12, 126),
    (189, 294, 322, 198, 126, 16),
)
HOME_JITTER = 0.05  # about as SimBlock's Pareto law spreads them
CONTINENTS = (  # the beginning of an AWS region's name -> the homes near to it
    ("ap-northeast-1", "japan"),
    ("ap-northeast-3", "japan"),
    ("ap-southeast-2", "australia"),
    ("ap-southeast-4", "australia"),
    ("us-", "north-america"),
    ("ca-", "north-america"),
    ("mx-", "north-america"),
    ("sa-", "south-america"),
    ("eu-", "europe"),
    ("il-", "europe"),
    ("ap-", "asia-pacific"),
    ("me-", "asia-pacific"),
)


@dataclass(frozen=True)
class LatencyTable:
    """Latencies between places.

    seconds: one way, row: sender; the diagonal is between two peers in one place. sigmas: of a lognormal factor of each
    pair. coordinates: latitude and longitude in degrees of the places for which they are known. notes: what is odd.
    """

    names: tuple[str, ...]
    seconds: Table
    sigmas: Table
    coordinates: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def index(self, name: str, where: str) -> int:
        """The row of a place. where: the setting that names it. Raises: ValueError, with the nearest name."""
        try:
            return self.names.index(name)
        except ValueError:
            raise ValueError(
                f"{where}: must be a place of the table, got {shortened(name)}; {nearest(name, self.names)}"
            ) from None


def homes() -> LatencyTable:
    """SimBlock's table of homes."""
    seconds = np.array(HOME_MILLISECONDS) / 1000
    return LatencyTable(tuple(HOMES), seconds, np.full(seconds.shape, HOME_JITTER), HOMES)


def continent(place: str) -> str:
    """The key in HOMES of a place of the tables. Raises: ValueError."""
    if place in HOMES:
        return place
    for beginning, found in CONTINENTS:
        if place.startswith(beginning):
            return found
    raise ValueError(
        f"network.bandwidth.kind: home-links are known for places of the tables aws and home, got '{place}'; set "
        "network.bandwidth to { up, down }"
    )


def nearest(name: str, names: Sequence[str]) -> str:
    """The end of an error line: the most similar name, or all of them."""
    matches = difflib.get_close_matches(name, names, n=1)
    if matches:
        return f"did you mean {shortened(matches[0])}?"
    return f"one of {', '.join(shortened(each)[1:-1] for each in names[:40])}"


def place_peers(regions: Sequence[str], table: LatencyTable, num_peers: int) -> list[int]:
    """The row of the table of every peer: in turn, or in order by the counts of `regions`, such as "us-east-1:10".

    Without regions, all places of the table in turn. Raises: ValueError.
    """
    where = "network.latency.regions"
    parts = [re.fullmatch(r"(.*):\s*([0-9]+)\s*", region) for region in regions]
    counted = [part for part in parts if part is not None]
    if not counted:
        rows = [table.index(region.strip(), where) for region in regions] or list(range(len(table.names)))
        return [rows[peer % len(rows)] for peer in range(num_peers)]
    if len(counted) < len(parts):
        bare = next(region for region, part in zip(regions, parts, strict=True) if part is None)
        raise ValueError(
            f"{where}: must have a count for every region or for none, got {shortened(bare)}; write "
            f"{shortened(f'{bare}:1')}"
        )
    rows = [table.index(part[1].strip(), where) for part in counted]
    counts = [int(part[2]) if len(part[2]) < 12 else 10**12 for part in counted]
    held = sum(counts)
    if held < num_peers:
        missing = f"peer {num_peers - 1}" if held == num_peers - 1 else f"peers {held} to {num_peers - 1}"
        raise ValueError(f"{where}: must hold all {num_peers} peers, got {held}; no region has {missing}: add them")
    if held > num_peers:
        raise ValueError(f"{where}: must hold {num_peers} peers, got {held}; lower the counts or raise peers.count")
    return [row for row, count in zip(rows, counts, strict=True) for _ in range(count)]
