"""What a process of peers imports: little, for there may be many."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from peers.hosting.actor import ActorHost
from peers.exchange.assignment import Assignment, Links
from peers.data.config import Synthetic
from peers.networks.config import PeersConfig
from peers.networks.variants import MLP, LinearHead
from peers.data.datasets import channel_statistics
from peers.exchange.config import ExchangeConfig
from peers.probing.config import ProbeConfig
from peers.probing.measuring import ProbeSubject
from peers.learning.settings import PeerSettings
data = Synthetic(num_train=64, num_test=40, batch_size=16)
dataset = data.load(0)
peers = PeersConfig(count=2, model=MLP(hidden=(8,)), head=LinearHead(dim=4))
probes = ProbeConfig(probe_batch=16)
make = lambda i: PeerSettings(i, 0, 3, peers, ExchangeConfig(), data, probes, channel_statistics(dataset.train_images))
host = ActorHost()
host.open([make(0), make(1)], dataset, 1, sys.argv[1])
part = lambda t: {i: Assignment(t, t, Links((1 - i,), (1.0,)), True) for i in (0, 1)}
host.publish(part(0))
stats = host.advance(0, part(1))[1]
host.observe(True)
host.probe(ProbeSubject.AS_IS, {0: []})
assert stats[0].loss is not None
print(*sorted(sys.modules))
"""
HEAVY = {
    "torch._dynamo", "torch._inductor", "sympy", "scipy", "sklearn", "pandas", "mlflow", "matplotlib", "networkx",
    "torchvision", "coordinator", "topologies",
}  # fmt: skip


@pytest.mark.parametrize("execution", ["loop", "vectorised"])
def test_host__imports_no_compiler_and_nothing_of_the_coordinator(execution: str):
    """Each would cost every process of peers a second or a hundred MiB."""
    root = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", CODE, execution], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = set(done.stdout.split())
    assert "torch" in loaded and "ray" in loaded
    assert not loaded & HEAVY
