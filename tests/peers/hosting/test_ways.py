"""Which way of computing peers is taken where a setting is "auto"."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from peers.data.config import Synthetic
from peers.data.datasets import channel_statistics
from peers.exchange.config import ExchangeConfig
from peers.hosting.host import PeerHost
from peers.hosting.ways import BUDGET, MOST_PEERS, Way, fastest
from peers.learning.settings import PeerSettings
from peers.networks.config import Group, PeersConfig
from peers.networks.variants import MLP, ImportedModel, LinearHead, PaperCNN, ResNet18, SmallCNN
from peers.probing.config import ProbeConfig

DATA = Synthetic(num_train=600, num_test=40, batch_size=512, shape=(3, 8, 8))
DATASET = DATA.load(0)
PEERS = PeersConfig(count=20, model=SmallCNN(channels=(4, 8)), head=LinearHead(dim=4))
WAYS = [Way("loop", layout, "float32") for layout in ("contiguous", "channels-last")]
WAYS.append(Way("loop", "contiguous", "bfloat16"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "peer-consensus" / "ways"


def settings(peers: PeersConfig = PEERS) -> list[PeerSettings]:
    statistics, probes = channel_statistics(DATASET.train_images), ProbeConfig(probe_batch=16)
    return [PeerSettings(i, 0, 3, peers, ExchangeConfig(), DATA, probes, statistics) for i in range(peers.count)]


class Clock:
    """Answers with made-up seconds, and notes what was timed. image: seconds of a round for an image of one peer."""

    def __init__(self, image: float, fast: Way) -> None:
        self.image, self.fast = image, fast
        self.asked: list[tuple[Way, int, int]] = []

    def __call__(self, way: Way, timed: Sequence[PeerSettings], rounds: int) -> float:
        self.asked.append((way, len(timed), timed[0].data.batch_size))
        return self.image * len(timed) * timed[0].data.batch_size * (0.5 if way == self.fast else 1.0)


@pytest.mark.parametrize("fast", WAYS)
def test_fastest__is_timed_once_and_then_remembered(fast: Way, cache: Path):
    clock = Clock(1e-6, fast)
    assert [fastest(settings(), DATASET, 1, WAYS, clock) for _ in range(2)] == [fast, fast]
    assert len(clock.asked) == 1 + len(WAYS)
    assert len(list(cache.iterdir())) == 1
    others = {"threads": (settings(), 2), "norm": (settings(PEERS.model_copy(update={"norm": "none"})), 1)}
    for peers, threads in others.values():
        fastest(peers, DATASET, threads, WAYS, clock)
    assert len(clock.asked) == 3 * (1 + len(WAYS))


@pytest.mark.parametrize(
    "content",
    ["{", '{"execution": "loop"}', '["loop"]', '{"execution": "a", "layout": "b", "precision": "c"}'],
)
def test_fastest__a_damaged_memory_is_replaced(content: str, cache: Path):
    fastest(settings(), DATASET, 1, WAYS, Clock(1e-6, WAYS[1]))
    (file,) = cache.iterdir()
    file.write_text(content)
    assert fastest(settings(), DATASET, 1, WAYS, Clock(1e-6, WAYS[2])) == WAYS[2]
    assert fastest(settings(), DATASET, 1, WAYS, Clock(1e-6, WAYS[0])) == WAYS[2]


def test_fastest__without_a_place_to_remember(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert fastest(settings(), DATASET, 1, WAYS, Clock(1e-6, WAYS[1])) == WAYS[1]


def test_fastest__what_nothing_identifies_is_not_remembered(cache: Path):
    unknown = PEERS.model_copy(update={"model": ImportedModel(target="somewhere:network")})
    fastest(settings(unknown), DATASET, 1, WAYS, Clock(1e-6, WAYS[1]))
    assert not cache.exists()


@pytest.mark.parametrize(
    ("image", "peers", "batch"), [(1e-6, MOST_PEERS, 512), (2e-4, 4, 512), (1e-3, 2, 250), (1.0, 2, 32)]
)
def test_fastest__takes_seconds_however_large_the_networks_are(image: float, peers: int, batch: int):
    """image: seconds of a round for an image of one peer; rounds stay in the budget unless no fewer can be timed."""
    clock = Clock(image, WAYS[1])
    fastest(settings(), DATASET, 1, WAYS, clock)
    timed = {(count, size) for _, count, size in clock.asked[1:]}
    assert timed == {(peers, batch)}
    assert image * peers * batch * 4 <= BUDGET or (peers, batch) == (2, 32)


def test_trial__runs_what_it_times():
    host, few = PeerHost(), [replace(each, data=DATA.model_copy(update={"batch_size": 8})) for each in settings()[:2]]
    assert host.trial(few, DATASET, 1, WAYS) in WAYS
    assert not hasattr(host, "peers")


def group(model: object) -> Group:
    return Group(count=1, model=model, head=LinearHead(dim=4))


@pytest.mark.parametrize(
    ("models", "device", "last"),
    [
        ([SmallCNN()], "cpu", True),
        ([PaperCNN(), MLP()], "cpu", True),
        ([MLP()], "cpu", False),
        ([SmallCNN()], "cuda", False),
        ([SmallCNN(), ImportedModel(target="somewhere:network")], "cpu", False),
        ([SmallCNN(), ResNet18()], "cpu", False),
    ],
)
def test_rule__is_of_networks_and_device_alone(models: list[object], device: str, last: bool):
    peers = PeersConfig(groups=tuple(map(group, [*models, models[0]])))
    assert (peers.memory_format("by-rule", device) == torch.channels_last) == last
    assert peers.memory_format("channels-last", device) == torch.channels_last
    assert peers.memory_format("contiguous", device) == torch.contiguous_format
