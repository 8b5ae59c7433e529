"""The bandwidth of each peer: settings, and home links by region."""

import pathlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from topologies.worlds import shadow
from topologies.worlds.places import continent
from topologies.worlds.section import Rate, Variant
from topologies.worlds.table_file import device_rates

Rates = Float[np.ndarray, " peers"]
MEGABIT = 125_000.0  # bytes a second
HOME_LINKS = {  # down, up in Mbit/s; source: SimBlock (Aoki et al., 2019), NetworkConfiguration, 2019
    "north-america": (52.0, 19.2),
    "europe": (40.0, 20.7),
    "south-america": (18.0, 5.8),
    "asia-pacific": (22.8, 15.7),
    "japan": (22.8, 10.2),
    "australia": (29.9, 11.3),
}


class _Bandwidth(Variant):
    """needs_places: whether it depends on where a peer is."""

    needs_places: ClassVar[bool] = False

    @abstractmethod
    def rates(self, places: Sequence[str | None]) -> tuple[Rates, Rates]:
        """Bytes a second up and down, by peer; infinite: no limit.

        places: of the peers; None: one that this is not about, or whose place is unknown. Raises: ValueError.
        """


class NoBandwidth(_Bandwidth):
    """No limit: a message takes its latency only, whatever its size."""

    kind: Literal["none"] = "none"
    constant: ClassVar[bool] = True

    def rates(self, places: Sequence[str | None]) -> tuple[Rates, Rates]:
        return np.full(len(places), np.inf), np.full(len(places), np.inf)


class Caps(_Bandwidth):
    """The same limits for every peer; what it sends at the same time shares them fairly."""

    kind: Literal["caps"] = "caps"
    up: Rate = Field(description="bytes a second that a peer sends at most, over all its links (2.5e6 is 20 Mbit/s)")
    down: Rate = Field(description="bytes a second that a peer receives at most, over all its links")

    def rates(self, places: Sequence[str | None]) -> tuple[Rates, Rates]:
        return np.full(len(places), self.up), np.full(len(places), self.down)

    @classmethod
    def example(cls) -> "Caps":
        return cls(up=2.4e6, down=6.5e6)


class HomeLinks(_Bandwidth):
    """Home links as in the peer's region: 5.8 to 20.7 Mbit/s up, 18 to 52 down. Source: SimBlock, 2019."""

    kind: Literal["home-links"] = "home-links"
    needs_places: ClassVar[bool] = True

    def rates(self, places: Sequence[str | None]) -> tuple[Rates, Rates]:
        unlimited = (np.inf, np.inf)
        found = [unlimited if place is None else HOME_LINKS[continent(place)] for place in places]
        links = np.array(found) * MEGABIT
        return links[:, 1], links[:, 0]


class BandwidthFile(_Bandwidth):
    """The peers' own limits, from a file of devices."""

    kind: Literal["file"] = "file"
    path: pathlib.Path = Field(
        description="CSV or Parquet file with a row for each device and columns `up` and `down` (bytes a second), or "
        "FedScale's `communication` (kbit/s, both ways); peers take rows in turn. Or Shadow's *.gml, with "
        "`host_bandwidth_up` and `_down` on the places of network.latency"
    )

    def rates(self, places: Sequence[str | None]) -> tuple[Rates, Rates]:
        if self.path.suffix.lower() == ".gml":
            return self._of_places(places)
        up, down = device_rates(self.path)
        rows = np.arange(len(places)) % len(up)
        return up[rows], down[rows]

    def _of_places(self, places: Sequence[str | None]) -> tuple[Rates, Rates]:
        found = shadow.rates(self.path, "network.bandwidth.path")
        unknown = [place for place in places if place is not None and place not in found]
        if unknown or all(place is None for place in places):
            missing = f"'{unknown[0]}'" if unknown else "none, since network.latency has no places"
            raise ValueError(
                f"network.bandwidth.path: {self.path.name} must have the places of network.latency as nodes, got "
                f"{missing}; set network.latency to kind file with the same path"
            )
        rates = np.array([(np.inf, np.inf) if place is None else found[place] for place in places])
        return rates[:, 0], rates[:, 1]

    @classmethod
    def example(cls) -> "BandwidthFile":
        return cls(path=pathlib.Path("devices.csv"))


BandwidthConfig = Annotated[NoBandwidth | Caps | HomeLinks | BandwidthFile, Field(discriminator="kind")]
