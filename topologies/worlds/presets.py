"""Worlds by name: each fills the settings that are not given.

- `datacentre`: one rack with 10 Gbit/s and 0.1 ms one way (Pingmesh, Guo et al., 2015: round trips of 0.2 to 0.5 ms),
  steps that vary by 10%, as on a cluster.
- `five-regions`: machines in AWS regions on five continents, round trips of cloudping.co. Links between cloud regions
  carry 0.33 to 1.16 Gbit/s (DT-FM, Yuan et al., 2022): 0.5 here.
- `home`: computers at home in six parts of the world, latencies and links of SimBlock (Aoki et al., 2019), speeds as
  unequal as FedScale's devices (Lai et al., 2022), one message in a thousand lost.
- `phones`: slow and unequal (sigma 0.6, FedScale), on home links with more jitter, online for 10 to 80% of each period
  (SACS-sim's diurnal churn), one message in a hundred lost.
"""

from collections.abc import Mapping

from topologies.worlds.caps import Caps, HomeLinks
from topologies.worlds.churn import DiurnalChurn
from topologies.worlds.compute import LognormalCompute
from topologies.worlds.latency import ConstantLatency, RegionLatency
from topologies.worlds.loss import BernoulliLoss
from topologies.worlds.section import Section

FIVE_REGIONS = ("us-east-1", "eu-west-1", "ap-northeast-1", "sa-east-1", "ap-southeast-2")
HOMES = ("north-america", "europe", "asia-pacific", "south-america", "japan", "australia")

PRESETS: Mapping[str, Mapping[str, Section]] = {
    "datacentre": {
        "compute": LognormalCompute(seconds=0.05, sigma=0.1),
        "latency": ConstantLatency(seconds=0.0001),
        "bandwidth": Caps(up=1.25e9, down=1.25e9),
    },
    "five-regions": {
        "compute": LognormalCompute(seconds=0.05, sigma=0.1),
        "latency": RegionLatency(table="aws", regions=FIVE_REGIONS),
        "bandwidth": Caps(up=62.5e6, down=62.5e6),
    },
    "home": {
        "compute": LognormalCompute(seconds=0.1, sigma=0.3, node_sigma=0.6),
        "latency": RegionLatency(table="home", regions=HOMES),
        "bandwidth": HomeLinks(),
        "loss": BernoulliLoss(probability=0.001),
    },
    "phones": {
        "compute": LognormalCompute(seconds=0.5, sigma=0.6, node_sigma=0.6),
        "latency": RegionLatency(table="home", regions=HOMES, jitter=0.3),
        "bandwidth": HomeLinks(),
        "loss": BernoulliLoss(probability=0.01),
        "churn": DiurnalChurn(),
    },
}


def with_preset(values: dict[str, object]) -> dict[str, object]:
    """The given settings, and those of the preset that they name for what they leave out.

    A table of the preset's kind, or of no kind but with keys of that kind, keeps the preset's values for other keys.
    """
    preset = PRESETS.get(str(values.get("preset", "")), {})
    return values | {key: _filled(values.get(key), section) for key, section in preset.items()}


def _filled(given: object, section: Section) -> object:
    if given is None:
        return section.model_dump(mode="json", exclude_none=True)
    if not isinstance(given, dict):
        return given
    kind = getattr(section, "kind", None)
    fits = given.get("kind", kind) == kind and given.keys() <= type(section).model_fields.keys()
    return section.model_dump(mode="json", exclude_none=True) | given if fits else given
