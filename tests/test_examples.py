"""What configs/examples shows: each script runs and prints what it says, here and in Ray's processes, and the tour."""

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "configs" / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
TRACKERS = {"tensorboard_tracker.py": "tensorboard", "wandb_tracker.py": "wandb"}  # and what each needs
OWN = [path for path in SCRIPTS if path.name not in TRACKERS]
NOTEBOOK = EXAMPLES / "tour.ipynb"
LONGEST = 40
SMALL = ["run.rounds=4", "evaluation.every=2", "tracking.enabled=false"]
VERDICT = r"(learned|degraded) \(this run\)|not distinguishable"
SAYS = {  # what stands in each script's output
    "callback.py": r"ended: .*\n.*features\.png",
    "own_data.py": rf"raw numbers \d.*trained \d\d\.\d%\nover untrained: ({VERDICT}); over peers alone",
    "own_graph.py": r"no far links: 2\.67 teachers .*\n(.*\n)?the same ones: .*\n(.*\n)?new ones: 3\.\d\d teachers",
    "own_loss.py": r"squared error: .*\n.*\nhuber, delta 0\.1: (.*\n)*refused: loss: must be what the run was given",
    "own_network.py": rf"disagreement: 0\.71 before .*\nlinear probe: .*: ({VERDICT})\n.*\ndigest of the weights: \w",
    "own_peers.py": rf"linear probe [+-]\d+\.\d points: ({VERDICT}); truthful: (no difference|.* \(this run\))",
}


def named(path: Path) -> str:
    return path.name


def digests(folder: Path) -> list[str]:
    """Of all peers' weights, by run in the order in which they were started."""
    summaries = sorted(folder.glob("runs/*/summary.json"), key=lambda path: path.stat().st_mtime)
    return [json.loads(path.read_text())["digest"] for path in summaries]


def as_command(path: Path, folder: Path, *settings: str) -> str:
    """What a script prints as a command in a new folder."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(path), *settings]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run a script in this process, in a new folder, which it gives."""

    def run(path: Path, *settings: str) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(ROOT))  # what a config imports by name from configs.examples
        monkeypatch.setattr(sys, "argv", [str(path), *settings])
        runpy.run_path(str(path), run_name="__main__")
        return tmp_path

    return run


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_scripts__are_short_and_say_how_to_run_and_to_change_them(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST
    page = text.split('"""')[1]
    assert f"python configs/examples/{path.name}" in page and "For your work:" in " ".join(page.split())


@pytest.mark.parametrize("path", OWN, ids=named)
def test_scripts__run_in_few_rounds(path: Path, here: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here(path, *SMALL)
    assert re.search(SAYS[path.name], capsys.readouterr().out)
    assert all(re.fullmatch(r"\w{64}", digest) for digest in digests(folder))
    assert bool(list(folder.glob("runs/*/features.png"))) == (path.name == "callback.py")


@pytest.mark.slow
@pytest.mark.parametrize("path", OWN, ids=named)
def test_scripts__run_as_they_are(path: Path, tmp_path: Path) -> None:
    assert re.search(SAYS[path.name], as_command(path, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("path", OWN, ids=named)
def test_scripts__give_the_same_weights_in_rays_processes(path: Path, tmp_path: Path) -> None:
    settings = ["run.rounds=6", *SMALL[1:], "evaluation.controls=[]"]
    if "controls']['alone']" in path.read_text():
        settings[-1] = "evaluation.controls=['alone']"
    as_command(path, tmp_path / "here", *settings)
    as_command(path, tmp_path / "ray", *settings, "hosting.pool=ray", "hosting.peers_per_host=5", "hosting.side_runs=0")
    assert digests(tmp_path / "here") == digests(tmp_path / "ray") != []


# ---- trackers ----


class Recorded:
    """Stands for a tracker's library: keeps what it is sent, as {(name, round): value}."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, int], float] = {}
        self.closed = 0

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.numbers[name, step] = value

    def log(self, numbers: dict[str, float]) -> None:
        self.numbers |= {(name, int(numbers["round"])): value for name, value in numbers.items() if name != "round"}

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "round")

    def close(self) -> None:
        self.closed += 1

    finish = close


def check_numbers(numbers: dict[tuple[str, int], float], folder: Path) -> None:
    """They are those of the run's own table: all measures and losses, and nothing of a control run."""
    [table] = folder.glob("runs/*/metrics/rounds.parquet")
    rows = pq.read_table(table).to_pylist()
    left_out = {"round", "students", "bytes", "bytes_so_far"}
    expected = {(key, row["round"]): row[key] for row in rows for key in row if row[key] is not None}
    expected = {key: value for key, value in expected.items() if key[0] not in left_out}
    assert len(expected) > 20
    assert numbers == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", TRACKERS)
def test_trackers__pass_on_the_numbers_of_the_run(name: str, here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded()
    stand_in = ModuleType("stand_in")
    vars(stand_in).update(SummaryWriter=lambda folder: recorded, init=lambda **settings: recorded)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    folder = here(EXAMPLES / name, *SMALL, "evaluation.controls=['alone']", "evaluation.probes=['linear']")
    check_numbers(recorded.numbers, folder)
    assert recorded.closed == 1


@pytest.mark.slow
def test_tensorboard__reads_the_numbers_of_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard, which is no dependency: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    as_command(EXAMPLES / "tensorboard_tracker.py", tmp_path, *SMALL, "evaluation.controls=['alone']")
    read = EventAccumulator(str(tmp_path / "runs" / "tensorboard")).Reload()
    scalars = ((name, each) for name in read.Tags()["scalars"] for each in read.Scalars(name))
    check_numbers({(name, each.step): each.value for name, each in scalars}, tmp_path)


@pytest.mark.slow
def test_wandb__keeps_the_run_on_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs wandb, which is no dependency: pip install wandb")
    as_command(EXAMPLES / "wandb_tracker.py", tmp_path, *SMALL, "evaluation.controls=[]")
    assert [path.stat().st_size > 1000 for path in tmp_path.glob("wandb/offline-run-*/*.wandb")] == [True]


# ---- by import, and the notebook ----


def test_imported__all_that_it_names_is_in_summary_and_config(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    settings = [*SMALL, "hosting.pool=in-process", "evaluation.controls=[]", "--output", str(tmp_path / "runs")]
    code, out, _ = cli("run", "configs/examples/imported.toml", *settings)
    assert code == 0 and "loading configs.examples.own_data:sines" in out
    [path] = tmp_path.glob("runs/*/summary.json")
    summary = json.loads(path.read_text())
    assert summary["peers"][0]["model"] == "configs.examples.own_data:convolution"
    assert (summary["data"]["name"], summary["data"]["shape"], summary["topology"]["mean_degree"]) == (
        "sines",
        [1, 64],
        3,
    )
    parts = summary["config"]
    brought = [
        parts["data"],
        parts["topology"],
        parts["peers"]["model"],
        *map(parts["exchange"].get, ("loss", "target")),
    ]
    assert all(part["kind"] == "import" and re.fullmatch(r"[0-9a-f]{64}", part["digest"]) for part in brought)


def test_own_peers__sensor_lie_and_rule_do_what_their_page_says() -> None:
    own = runpy.run_path(str(EXAMPLES / "own_peers.py"))
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    seen = own["mosaic"](images, size=2)
    assert seen.shape == images.shape and seen[0, 0, :2, :2].tolist() == [[2.5, 2.5], [2.5, 2.5]]
    messages = torch.tensor([[[0.0]], [[1.0]], [[2.0]], [[9.0]]])
    assert own["contrary"](messages[0], messages[:3], factor=2.0).tolist() == [[-2.0]]
    weights = torch.tensor([0.2, 0.2, 0.6, 0.0])
    assert own["closest_half"](messages[0], messages, weights).item() == pytest.approx((0.2 + 1.2) / 1)


@pytest.mark.slow
def test_imported__rays_processes_give_the_same_weights(tmp_path: Path) -> None:
    for pool in ("in-process", "ray"):
        command = [sys.executable, "-m", "coordinator", "run", "configs/examples/imported.toml", "run.rounds=6"]
        command += [f"hosting.pool={pool}", "tracking.enabled=false", "--output", str(tmp_path / pool / "runs")]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=500)
    assert digests(tmp_path / "in-process") == digests(tmp_path / "ray") != []


def cells() -> list[Any]:
    return json.loads(NOTEBOOK.read_text())["cells"]


def test_tour__is_stored_without_outputs() -> None:
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
def test_tour__goes_from_the_quickstart_to_a_figure(tmp_path: Path) -> None:
    """Its cells in order in one `__main__` without a file, as a kernel runs them."""
    folder = tmp_path / "configs" / "examples"
    folder.mkdir(parents=True)
    (tmp_path / "configs" / "quickstart.toml").write_bytes((ROOT / "configs" / "quickstart.toml").read_bytes())
    code = ["".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code"]
    program = "for place, cell in enumerate(cells): exec(compile(cell, f'<cell {place}>', 'exec'))"
    command = [sys.executable, "-c", f"cells = {code!r}\n{program}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"over calibrated: ({VERDICT}); over alone: ", done.stdout)
    assert re.search(
        rf"Attention: .* trained\nover calibrated: ({VERDICT}).*\ndigest of the weights: \w{{64}}", done.stdout
    )
    assert "linear gain: complete is" in done.stdout or "linear gain: no difference" in done.stdout
    assert (folder / "tour.png").read_bytes().startswith(b"\x89PNG")
