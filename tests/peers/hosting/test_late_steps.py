"""Steps on messages of many ages, several peers a call: in every hosting, through checkpoints, and after absences."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peers.exchange.assignment import Links, Study
from peers.exchange.config import ExchangeConfig
from peers.learning.control import Control
from peers.learning.settings import Execution, PeerSettings
from peers.networks.optimizers import SGD
from peers.networks.variants import MLP
from tests.peers.hosting.test_step import (
    COUNT,
    aged,
    digests,
    hosts_of,
    named,
    open_part,
    settings_of,
)

MOST = 3  # rounds that a message may be old
Wave = dict[int, tuple[int, list[tuple[int, float, int]]]]
"""By peer: the version that it steps on, and what it hears as (teacher, weight, age)."""


def waves_of(seed: int, num_waves: int, itself: bool = False) -> list[Wave]:
    """Waves of random peers, which hear random messages that are out by then; some hear nothing."""
    draw, version = random.Random(seed), [0] * COUNT
    waves: list[Wave] = []
    for _ in range(num_waves):
        wave: Wave = {}
        for peer in sorted(draw.sample(range(COUNT), draw.randint(1, COUNT))):
            now = version[peer]
            out = [(t, v) for t in range(COUNT) if t != peer or itself for v in range(version[t] + 1)]
            fresh = [(t, v) for t, v in out if 0 <= now - v <= MOST and (t != peer or v <= now)]
            heard = sorted(draw.sample(fresh, min(len(fresh), draw.randint(0, 4))))
            wave[peer] = now, [(t, 1 / len(heard), now - v) for t, v in heard]
        for peer in wave:
            version[peer] += 1
        waves.append(wave)
    return waves


def used_in(waves: list[Wave]) -> set[tuple[int, int]]:
    """The messages that somebody hears."""
    return {(t, v - age) for wave in waves for v, heard in wave.values() for t, _, age in heard}


class Runner:
    """Runs waves on hosts as a scheduler would: references passed on unopened, old messages released."""

    def __init__(self, hosts: list[Any], get: Any = lambda reference: reference, ages: Any = aged) -> None:
        self.hosts, self.get, self.ages = hosts, get, ages
        self.holder: dict[tuple[int, int], Any] = {}  # message -> the bundle that has it
        self.losses: list[Any] = []

    def publish(self, versions: dict[int, int], live: Any = None) -> None:
        for host in self.hosts:
            parts = {peer: open_part(versions[peer]) for peer in host.peers if peer in versions}
            bundle, _ = host.publish(parts, live)
            again = [(peer, v) for peer in host.peers for v in (live or {}).get(peer, ())]
            self.holder |= dict.fromkeys([*((peer, part.round_index) for peer, part in parts.items()), *again], bundle)

    def run(self, waves: list[Wave], later: Sequence[Wave] = ()) -> None:
        for number, wave in enumerate(waves):
            used = used_in([*waves[number:], *later])
            published, answers = {}, {}
            for host in self.hosts:
                mine = {peer: step for peer, step in wave.items() if peer in host.peers}
                if not mine:
                    continue
                keys = [(t, v - age) for v, heard in mine.values() for t, _, age in heard if t not in host.peers]
                bundles = list({id(self.holder[key]): self.holder[key] for key in keys}.values())
                studies = {
                    peer: Study(v, self.ages(v, heard), tuple(old for old in range(v) if (peer, old) not in used))
                    for peer, (v, heard) in mine.items()
                }
                following = {peer: open_part(v + 1) for peer, (v, _) in mine.items()}
                bundle, stats = host.step(studies, following, *bundles)
                answers[host] = stats
                published |= dict.fromkeys([(peer, v + 1) for peer, (v, _) in mine.items()], bundle)
            self.holder |= published  # only now: a message is not heard in the wave in which it is published
            for stats in answers.values():
                self.losses.append({peer: (each.loss, each.gradient_norm) for peer, each in self.get(stats).items()})

    def merged(self) -> list[tuple[int, Any]]:
        return [(peer, numbers) for wave in self.losses for peer, numbers in wave.items()]


def all_of(
    execution: Execution,
    settings: list[PeerSettings],
    waves: list[Wave],
    per_host: int = COUNT,
    later: Sequence[Wave] = (),
) -> Runner:
    runner = Runner(hosts_of(execution, settings, per_host), ages=late_links(settings))
    runner.publish(dict.fromkeys(range(COUNT), 0))
    runner.run(waves, later)
    return runner


def late_links(settings: list[PeerSettings]) -> Any:
    return aged if settings[0].message == "outputs" else lambda version, heard: Links.of(*heard)


LATE: list[dict[str, Any]] = [
    {},
    {"message": "checkpoint"},
    {"exchange": ExchangeConfig(target={"kind": "centre"}, average="losses", supervised=0.5, teacher_ema=0.5)},
]
MORE: list[dict[str, Any]] = [
    {"control": Control.SHUFFLED, "message": "checkpoint"},
    {"recompute": True},
    {"exchange": ExchangeConfig(what="probabilities", dtype="int8", top_k=2)},
    {"control": Control.SHUFFLED},
    {"control": Control.STRANGER},
    {"peers": {"groups": [{"count": 2}, {"count": 2, "model": MLP(hidden=(12,))}]}},
]
EACH = pytest.mark.parametrize(
    "changes", [*LATE, *(pytest.param(each, marks=pytest.mark.slow) for each in MORE)], ids=named
)


@EACH
def test_late_steps__are_the_same_bits_however_peers_are_hosted(changes: dict[str, Any]):
    settings, waves = settings_of(**changes), waves_of(1, 8, itself=True)
    whole, split = all_of("loop", settings, waves), all_of("loop", settings, waves, 2)
    assert sorted(whole.merged(), key=str) == sorted(split.merged(), key=str)
    assert digests(whole.hosts) == digests(split.hosts)
    assert all(len(host.mailbox) < COUNT * (MOST + 2) for host in whole.hosts)  # what nobody will hear is gone


@EACH
def test_late_steps__of_stacked_peers_equal_the_loop(changes: dict[str, Any]):
    few = {"optimizer": SGD(lr=0.05), **changes.get("peers", {})}  # Adam would blow rounding up where gradients are 0
    settings, waves = settings_of(**{**changes, "peers": few}), waves_of(2, 8, itself=True)
    loop, stacked = (all_of(execution, settings, waves) for execution in ("loop", "vectorised"))
    heard = [len(heard) for wave in waves for _, heard in wave.values()]
    assert 0 in heard and max(heard) > 2
    for (peer, one), (other, two) in zip(loop.merged(), stacked.merged(), strict=True):
        assert peer == other and (one[0] is None) == (two[0] is None)
        assert one[0] is None or np.allclose(one, two, rtol=2e-4)
    for one, two in zip(loop.hosts[0].states().values(), stacked.hosts[0].states().values(), strict=True):
        for name, each in one.items():
            np.testing.assert_allclose(each, two[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("execution", "per_host"), [("loop", 2), ("vectorised", COUNT)])
@EACH
def test_late_steps__go_on_bit_for_bit_from_a_checkpoint(
    tmp_path: Path, execution: Execution, per_host: int, changes: dict[str, Any]
):
    """With the messages that were kept: those of other hosts are handed out again."""
    settings, waves, stop = settings_of(**changes), waves_of(3, 8), 4
    whole = all_of(execution, settings, waves, per_host)
    first = all_of(execution, settings, waves[:stop], per_host, waves[stop:])
    for host in first.hosts:
        host.save(str(tmp_path), stop)
    resumed = Runner(hosts_of(execution, settings, per_host), ages=late_links(settings))
    for host in resumed.hosts:
        assert host.restore(str(tmp_path), dict.fromkeys(host.peers, "")) == dict.fromkeys(host.peers, stop)
    due = {peer: sum(peer in wave for wave in waves[:stop]) for peer in range(COUNT)}
    used = used_in(waves[stop:])
    live = {peer: tuple(v for v in range(version) if (peer, v) in used) for peer, version in due.items()}
    assert any(live.values())
    resumed.publish(due, live)
    resumed.run(waves[stop:])
    later = whole.losses[len(first.losses) :]
    assert resumed.losses == later and any(loss for wave in later for loss, _ in wave.values())
    assert digests(resumed.hosts) == digests(whole.hosts)
