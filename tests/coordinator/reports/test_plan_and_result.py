import importlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from coordinator.reports.formatting import size
from coordinator.reports.tables import compact_table

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
    assert lines["topology"] == "ring: 8 messages a round"
    assert lines["gossip"] == "matrix W, with self-weights: spectral gap 0.6667"  # 1/3 + 2/3 cos(2 pi k / 4): 1, 1/3
    assert lines["pooling"].endswith("students average with: spectral gap 0, 1 - λ2 1")  # cos(2 pi k / 4): 1, 0, -1
    assert lines["nothing"] == "was started (--dry-run)"


def test_run__dry_run_names_liars_and_the_rule_of_pooling(cli: Cli, tiny: Path) -> None:
    lies = "peers.adversaries=[{peers=[0], attack={kind='sign-flip'}, from_round=1}]"
    rule = ["topology.kind=complete", "exchange.aggregation={kind='krum', f=1}"]
    code, out, err = cli("run", "tiny.toml", lies, *rule, "--dry-run")
    assert (code, err) == (0, "")
    assert "\nliars     peer 0 (sign-flip from round 1 on)\n" in out
    assert "\nrule      students pool messages by krum (f 1)\n" in out
    _, plain, _ = cli("run", "tiny.toml", "--dry-run")
    assert "\nliars" not in plain and "\nrule" not in plain
    _, mean, _ = cli("run", "tiny.toml", lies, "--dry-run")
    assert "\nrule      students pool messages by mean\n" in mean


def test_run__dry_run_starts_no_peers(cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a dry run opens no pool")

    monkeypatch.setattr(importlib.import_module("coordinator.run.simulate"), "loading_pool", never)
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
    arguments = ["evaluation.probes=['knn','linear','sgd']", "evaluation.controls=['alone']"]
    _, out, _ = cli("run", "tiny.toml", *arguments, "--output", "out")
    rows = [line for line in out.splitlines() if line.startswith(("kNN ", "linear ", "SGD* ")) and ":" not in line]
    assert [row.split()[0] for row in rows] == ["kNN", "linear", "SGD*"] * 2
    over_calibrated = ("learned (this run)", "not distinguishable", "degraded (this run)")
    over_alone = ("another function teaches (this run)", "no difference", "worse than the control (this run)")
    assert all(row.rstrip().endswith(over_calibrated) for row in rows[:2])
    assert all(row.rstrip().endswith(over_alone) and row.split()[1] == "alone" for row in rows[3:5])
    said = "gain: trained - control run\nalone: the same rounds, every peer its own teacher; a gain over it rules out: "
    assert f"{said}more steps on one's own answers\n" in out
    last = "verdicts are about this run; over seeds: peer-consensus run tiny.toml "
    assert out.splitlines()[-1].startswith(last) and out.splitlines()[-1].endswith("--seeds 5")


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (
            ["hosting.pool=in-process", "hosting.device=cuda"],
            "hosting.device is 'cuda' but there is no CUDA device here: ",
        ),
        (
            ["hosting.pool=in-process", "hosting.precision=tf32"],
            "hosting.precision 'tf32' is a GPU's, but the peers run ",
        ),
        (["hosting.pool=ray", "hosting.device=cuda"], "hosting.device is 'cuda' but the cluster has no GPU: "),
        (
            ["hosting.pool=ray", "hosting.gpus_per_peer=1"],
            "hosting.gpus_per_peer asks for 1 x 4 peers = 4 GPUs but the ",
        ),
        (["hosting.pool=ray", "hosting.precision=tf32"], "hosting.precision 'tf32' is a GPU's, but the peers run on "),
        (["hosting.pool=ray", "hosting.resources={x=1}"], "hosting.resources: 4 x ("),
        (
            ["hosting.pool=ray", "hosting.evaluators=4000"],
            "hosting.evaluators: 4000 ask for a CPU each, but the hosts ",
        ),
        (["hosting.pool=ray", "hosting.cpus_per_peer=4000"], "hosting.cpus_per_peer: 4 x (4000 CPU) cannot be placed "),
    ],
)
def test_run__dry_run_says_what_the_run_would_refuse(
    overrides: list[str], refused: str, cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    code, out, _ = cli("run", "tiny.toml", "--dry-run", *overrides)
    assert code == 0 and f"; the run would be refused: {refused}" in out
    assert "refused" not in cli("run", "tiny.toml", "--dry-run", overrides[0])[1]


def test_run__dry_run_says_when_memory_is_not_free(cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "too little" not in cli("run", "tiny.toml", "--dry-run")[1]
    monkeypatch.setattr("peers.base.memory.available", lambda: 2**28)
    told = cli("run", "tiny.toml", "--dry-run")[1]
    assert "; too little of it is free, 256.0 MiB: end what else runs, or lower " in told


@pytest.mark.parametrize("width", [40, 80])
def test_tables__nothing_is_cut(width: int, cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file shows is in what a terminal shows, word by word, however narrow it is."""
    grid = "\n[grid]\n'peers.model' = [{ kind = 'mlp', hidden = [8] }, { kind = 'mlp', hidden = [16, 8] }]\n"
    Path("ablation.toml").write_text(f"seeds = [0, 1]\n{tiny.read_text()}{grid}")
    commands = [
        ["run", "tiny.toml", "--dry-run"],
        ["run", "tiny.toml", "evaluation.probes=['knn','linear']", "evaluation.controls=['alone']", "--output", "out"],
        ["topology", "list", "num_peers=8"],
        ["ablate", "ablation.toml", "--dry-run", "hosting.pool=ray"],
    ]
    changing = re.compile(r"[0-9.]+|out/.*|[─]+|rounds/s|^time .*(\n  .*)*", re.MULTILINE)
    for command in commands:
        wide = cli(*command)[1]
        with monkeypatch.context() as patch:
            patch.setattr("coordinator.cli._console", lambda stderr=False: Console(soft_wrap=True, width=width))
            narrow = cli(*command)[1]
        assert "…" not in narrow
        assert not (set(changing.sub(" ", wide).split()) - set(changing.sub(" ", narrow).split())), (command, narrow)


def test_print_comparison__nothing_is_cut_at_forty_columns() -> None:
    table = compact_table("cell", "mean", "95% interval", "p (Holm)", "verdict", wrapped="cell")
    table.add_row("linear gain (points)")
    table.add_row("  random-matching", "+3.4", "+1.9 to +4.8", "0.039", "not distinguishable")
    text = io.StringIO()
    Console(file=text, width=40).print(table)
    assert [line.split(maxsplit=1) for line in text.getvalue().splitlines()] == [
        ["linear", "gain (points)"],
        [],
        ["cell", "random-matching"],
        ["mean", "+3.4"],
        ["95%", "interval  +1.9 to +4.8"],
        ["p", "(Holm)      0.039"],
        ["verdict", "not distinguishable"],
        [],
    ]


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1.5 * 2**20, "1.5 MiB"), (5 * 2**40, "5120.0 GiB")],
)
def test_size__binary_units(num_bytes: float | int, text: str) -> None:
    assert size(num_bytes) == text
