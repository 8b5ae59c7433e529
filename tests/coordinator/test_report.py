import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator.report import size

Cli = Callable[..., tuple[Any, str, str]]


def test_run__dry_run_is_right_and_leaves_nothing(cli: Cli, tiny: Path) -> None:
    before = sorted(tiny.parent.iterdir())
    code, out, err = cli("run", "tiny.toml", "--dry-run")
    assert (code, err) == (0, "") and sorted(tiny.parent.iterdir()) == before
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if " " in line)
    parameters = (64 * 8 + 8) + 2 * 8 + (8 * 4 + 4)  # linear, BatchNorm, head
    assert lines["4"].split()[:7] == ["mlp", "batch", "linear", "adamw", "0.001", str(parameters), "8"]
    assert lines["message"] == "256 B (logits, float32)"  # 16 images of 4 outputs in 4 bytes
    assert "\na round   2.0 KiB over all links\n" in out  # 4 peers with 2 neighbours each
    assert lines["the"].startswith("run") and "2 rounds, 4.0 KiB" in lines["the"]
    assert lines["topology"] == "ring: 8 messages a round, spectral gap 0.6667"  # 1/3 + 2/3 cos(2 pi k / 4): 1, 1/3
    assert lines["nothing"] == "was started (--dry-run)"


def test_run__dry_run_starts_no_peers(cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a dry run opens no pool")

    monkeypatch.setattr(importlib.import_module("coordinator.simulate"), "loading_pool", never)
    for pool in ("ray", "in-process"):
        assert cli("run", "tiny.toml", f"hosting.pool={pool}", "--dry-run")[0] == 0


@pytest.mark.parametrize(
    ("overrides", "message", "rounds"),
    [
        (["exchange.dtype=bfloat16"], "128 B (logits, bfloat16)", "1.0 KiB"),
        (["exchange.what=features"], "512 B (features, float32)", "4.0 KiB"),
        (["topology.kind=random-pair"], "256 B (logits, float32)", "256 B"),
        (["topology.kind=complete"], "256 B (logits, float32)", "3.0 KiB"),
        (["topology.kind=self"], "256 B (logits, float32)", "0 B"),
        (["peers.frozen=[0]"], "256 B (logits, float32)", "1.5 KiB"),
    ],
)
def test_run__dry_run_bytes(overrides: list[str], message: str, rounds: str, cli: Cli, tiny: Path) -> None:
    _, out, _ = cli("run", "tiny.toml", *overrides, "--dry-run")
    assert f"message   {message}\na round   {rounds} over all links\n" in out


def test_run__dry_run_fits_eighty_columns(cli: Cli, tiny: Path) -> None:
    _, out, _ = cli("run", "tiny.toml", "--dry-run")
    assert max(map(len, out.splitlines())) <= 80


def test_run__verdicts_are_whole_at_eighty_columns(cli: Cli, tiny: Path) -> None:
    arguments = ["evaluation.probes=['knn','linear','sgd']", "evaluation.alone=true"]
    _, out, _ = cli("run", "tiny.toml", *arguments, "--output", "out")
    rows = [line.split() for line in out.splitlines() if line.startswith(("kNN", "linear", "SGD*"))]
    assert [row[0] for row in rows] == ["kNN", "linear", "SGD*"] * 2
    assert all(row[-1] in ("learned", "distinguishable", "degraded") for row in rows[:2])
    assert all(row[-1] in ("helps", "difference", "hurts") for row in rows[3:5])
    assert max(len(line) for line in out.splitlines() if line.startswith(("probe", "kNN", "linear", "SGD*"))) <= 84


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1.5 * 2**20, "1.5 MiB"), (5 * 2**40, "5120.0 GiB")],
)
def test_size__binary_units(num_bytes: float | int, text: str) -> None:
    assert size(num_bytes) == text
