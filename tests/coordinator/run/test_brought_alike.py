"""What is brought must be told apart where it differs, and treated alike where it does not."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from coordinator import ConfigError, ablate, load_ablation, load_config, resume, simulate
from coordinator.records.events import RoundCompleted, RunEvent
from coordinator.run.signals import Interrupts

TABLE: dict[str, Any] = {
    "run": {"rounds": 6, "seed": 1},
    "data": {"kind": "digits", "batch_size": 32, "train_limit": 200, "test_limit": 100},
    "peers": {"count": 4, "head": {"kind": "linear", "dim": 6}},
    "topology": {"kind": "ring"},
    "evaluation": {"probes": ["knn"], "probe_batch": 32},
    "hosting": {"pool": "in-process"},
    "tracking": {"enabled": False},
    "checkpoint": {"every": 2},
}


def test_vectorised__networks_that_only_their_code_tells_apart_are_not_stacked(tmp_path: Path) -> None:
    """Slopes stand in no tensor's shape: stacked on one template, all peers would have the first one's."""

    def sloped(shape: tuple[int, ...], peer: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LeakyReLU(0.3 * peer), nn.Linear(16, 8))

    loop, vectorised = (
        simulate(load_config(TABLE, [f"hosting.execution={execution}"]), tmp_path, network=sloped).summary["digest"]
        for execution in ("loop", "vectorised")
    )
    assert loop == vectorised


class OwnNorm(nn.Module):
    """BatchNorm, written by hand."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, values: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = values.mean(0), values.var(0, correction=0)
            with torch.no_grad():
                self.running_mean.mul_(0.9).add_(0.1 * mean)
                self.running_var.mul_(0.9).add_(0.1 * values.var(0))
        return (values - mean) / (var + 1e-5).sqrt() * self.weight + self.bias


def test_calibrated__of_a_norm_of_the_user_s_own_equals_that_of_batchnorm(tmp_path: Path) -> None:
    """At a learning rate of 1e-9 nothing is learned: without calibration, the gain would be the statistics'."""

    def accuracies(norm: type[nn.Module]) -> list[float]:
        def network(shape: tuple[int, ...]) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), norm(16), nn.ReLU())

        row = simulate(load_config(TABLE, ["peers.optimizer.lr=1e-9"]), tmp_path, network=network).summary["probes"]
        return [row["knn"][name] for name in ("untrained", "calibrated", "trained")]

    own, torchs = accuracies(OwnNorm), accuracies(nn.BatchNorm1d)
    assert own == torchs and own[1] == own[2] != own[0]


class Interrupting:
    def __init__(self) -> None:
        self.interrupts = Interrupts()

    def observe(self, event: RunEvent) -> None:
        self.interrupts.stop_requested |= isinstance(event, RoundCompleted) and event.completed == 3


def test_import__code_that_changes_in_the_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "slopes_of_mine.py"
    text = "from torch import nn\nSCALE = 1\ndef net(shape):\n"
    text += "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8 * SCALE))\n"
    module.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = load_config(TABLE, ["peers.model={kind='import', target='slopes_of_mine:net'}"])
    stopping = Interrupting()
    result = simulate(config, tmp_path / "runs", [stopping], interrupts=stopping.interrupts)
    assert result.status == "interrupted"
    sys.modules["slopes_of_mine"].SCALE = 2  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="is not the code that the run was started with"):
        resume(result.folder)
    importlib.reload(sys.modules["slopes_of_mine"])
    assert resume(result.folder).status == "finished"


def test_ablate__cells_of_other_weights_are_not_mixed(tmp_path: Path) -> None:
    def save(value: float) -> None:
        save_file({"1.weight": torch.full((8, 64), value), "1.bias": torch.zeros(8)}, tmp_path / "w.safetensors")

    peers = {
        "count": 3,
        "model": {"kind": "mlp", "hidden": [8]},
        "norm": "none",
        "weights": f"{tmp_path}/w.safetensors",
    }
    table = {**TABLE, "name": "w", "seeds": [0], "peers": peers, "checkpoint": {"every": 0}}
    save(0.1)
    assert ablate(load_ablation(table), tmp_path).num_finished == 1
    save(0.2)
    with pytest.raises(ConfigError, match=r"peers.weights: cell 'w' was run with another object or other code"):
        ablate(load_ablation(table), tmp_path)


def test_simulate__an_argument_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match=r"\Anetworks: is no argument: did you mean 'network'\?\Z"):
        simulate(load_config(TABLE), networks=nn.Linear)  # type: ignore[call-arg]
