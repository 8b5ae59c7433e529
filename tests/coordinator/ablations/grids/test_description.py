"""What an ablation says of itself."""

from typing import Any

from coordinator import load_ablation
from coordinator.ablations.grids.description import describe_ablation

BASE: dict[str, Any] = {
    "seeds": [0, 3],
    "run": {"rounds": 3},
    "data": {"kind": "synthetic", "batch_size": 16, "validation": 1000},
    "peers": {
        "count": 4,
        "model": {"kind": "mlp", "hidden": [8]},
        "head": {"kind": "linear", "dim": 4},
        "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9},
        "norm": "none",
    },
    "topology": {"kind": "ring", "self_weight": 0.25},
    "exchange": {"refresh_every": 5},
    "evaluation": {"controls": ["alone"]},
}


def lines(**parts: Any) -> list[str]:
    return [f"{subject}: {text}" for subject, text in describe_ablation(load_ablation({**BASE, **parts}))]


def test_asked__tells_what_varies_and_all_that_cells_share() -> None:
    assert lines(grid={"exchange.target.kind": ["none", "standardise"], "exchange.target.temperature": [0.5]}) == [
        "Varied: exchange.target.kind = none, standardise",
        "Held: exchange.target.temperature = 0.5",
        "Runs: 2 cells, each with seeds 0, 3: 4 peers, 3 rounds, synthetic",
        "Data: batches of 16; 1,000 training examples stand in for the test examples",
        "Peers: mlp (hidden [8]); no norm; linear (dim 4) head; sgd (lr 0.1, momentum 0.9)",
        "Topology: ring (weights metropolis-hastings); self-weight 0.25",
        "Exchange: logits as float32; loss kl (temperature 0.1); every peer studies; peers teach with a snapshot of "
        "themselves, renewed every 5 rounds",
        "Controls: raw pixels; untrained; calibrated; alone",
        "Peers alone: taught by their own snapshot, not by what they are now",
        "Reference: none",
    ]


def test_asked__what_cells_do_not_share_is_left_to_the_axes() -> None:
    said = lines(
        grid={"peers.norm": ["none", "batch"], "exchange.refresh_every": [1, 5], "data.batch_size": [16, 32]},
        topology={"kind": "ring"},
    )
    told = {line.split(":")[0]: line for line in said}
    assert "Varied: data.batch_size = 16, 32" in said
    assert told["Data"] == "Data: 1,000 training examples stand in for the test examples"
    assert "norm" not in told["Peers"] and "snapshot" not in told["Exchange"]
    assert "Peers alone: taught by their own snapshot, where cells ask for one, not by what they are now" in said


def test_asked__groups_and_averages() -> None:
    groups = [{"count": 3, "norm": "none"}, {"count": 1, "norm": "batch"}]
    said = lines(
        grid={"topology": [{"kind": "ring"}, {"kind": "self"}]},
        peers={**BASE["peers"], "groups": groups},
        exchange={"teacher_ema": 0.99},
        evaluation={},
    )
    (peers,) = [line for line in said if line.startswith("Peers: ")]
    assert "3 with mlp (hidden [8]), no norm, " in peers and "; 1 with mlp (hidden [8]), batch norm, " in peers
    assert "Peers alone: taught by their own moving average, not by what they are now" in said
    fast = lines(grid={"topology": [{"kind": "ring"}, {"kind": "self"}]}, exchange={})
    assert not any("taught" in line for line in fast)
