"""Steps on late messages in Ray actors: the bits of this process, also after a checkpoint and a peer's return."""

from pathlib import Path
from typing import Any

import pytest

from coordinator.experiment.config import HostingConfig
from coordinator.pools.base import Pool, ask
from coordinator.pools.in_process import InProcessPool
from coordinator.pools.ray_pool import RayPool
from peers.exchange.assignment import Rejoin
from peers.learning.settings import PeerSettings
from tests.peers.hosting.test_late_steps import COUNT, Runner, late_links, open_part, used_in, waves_of
from tests.peers.hosting.test_step import DATASET, settings_of

STOP = 5


def everything(pool: Pool, settings: list[PeerSettings], folder: Path) -> tuple[list[Any], list[bytes]]:
    """Ten waves of late steps, with a checkpoint in their middle from which the same peers go on; then two returns."""
    waves = waves_of(3, 2 * STOP)
    runner = Runner(list(pool.hosts), lambda reference: pool.get([reference])[0], late_links(settings))
    runner.publish(dict.fromkeys(range(COUNT), 0))
    runner.run(waves[:STOP], waves[STOP:])
    folder.mkdir()
    ask(pool, lambda host: host.save(str(folder), STOP))
    due = {peer: sum(peer in wave for wave in waves[:STOP]) for peer in range(COUNT)}
    live = {peer: tuple(v for v in range(due[peer]) if (peer, v) in used_in(waves[STOP:])) for peer in due}
    ask(pool, lambda host: host.restore(str(folder), dict.fromkeys(host.peers, "")))
    runner.publish(due, live)
    runner.run(waves[STOP:])
    states = [host.states([peer for peer in host.peers if peer == 3]) for host in pool.hosts]
    for host in pool.hosts:
        returns = {peer: back for peer, back in BACK.items() if peer in host.peers}
        pool.get([*host.rejoin({peer: open_part(20) for peer in returns}, returns, *states)])
    return runner.losses, ask(pool, lambda host: host.digest())


BACK = {0: Rejoin("neighbour", 1, 3), 2: Rejoin("fresh", 2)}


@pytest.mark.parametrize("message", ["outputs", "checkpoint"])
def test_late_steps__are_the_same_bits_in_ray_actors(cluster: Any, tmp_path: Path, message: str):
    settings = settings_of(message=message)
    here = InProcessPool(settings, DATASET, HostingConfig(pool="in-process"))
    losses, digests = everything(here, settings, tmp_path / "here")
    here.close()
    hosting = HostingConfig(pool="ray", peers_per_host=2)
    pool = RayPool(COUNT, hosting, lambda: (settings, DATASET))
    others, same = everything(pool, settings, tmp_path / "ray")
    pool.close()
    flat = lambda waves: sorted((number, peer) for wave in waves for peer, number in wave.items() if number[0])  # noqa: E731
    assert flat(others) == flat(losses) and len(flat(losses)) > 10
    assert same == digests
