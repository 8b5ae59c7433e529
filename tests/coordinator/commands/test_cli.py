import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from coordinator.records.events import RoundCompleted, RunEvent
from coordinator.records.terminal import Live

Cli = Callable[..., tuple[Any, str, str]]


def refusal(cli: Cli, *arguments: str) -> str:
    """The one line of a refusal; asserts its form, and that no output folder was made."""
    code, out, err = cli("run", *arguments, "--output", "out")
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert code == 2 and len(lines) == 1 and lines[0].startswith("error: ")
    assert "Traceback" not in out + err and not Path("out").exists()
    return lines[0].removeprefix("error: ")


# ---- what the user got wrong in the file ----


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("run.roundss=3", "run.roundss: no such key; did you mean 'rounds'?"),
        ("topology.kind=rinng", "topology.kind: 'rinng' is not a kind; did you mean 'ring'?"),
        ("peers.groups=[{count=4,model={kind='mpl'}}]", "peers.groups[0].model.kind: 'mpl' is not a kind; did you "),
        ("run.rounds=ten", "run.rounds: must be a whole number, got 'ten'"),
        ("peers.count=1", "peers.count must be at least 2, got 1: one peer has nobody to learn from"),
        ("run.rounds", "'run.rounds' is not section.key=value, such as run.rounds=10"),
        ("run.rounds.x=1", "override 'run.rounds.x=1': 'run.rounds' is not a table but 2"),
        ("hosting.gpus_per_peer=many", "hosting.gpus_per_peer: must be a number or 'auto', got 'many'"),
    ],
)
def test_run__refuses_a_bad_override(override: str, line: str, cli: Cli, tiny: Path) -> None:
    assert refusal(cli, "tiny.toml", override).startswith(line)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "config: no file 'tinny.toml'; did you mean 'tiny.toml'?"),
        ("[run\n", "config: 'tinny.toml' is not TOML: "),
        ("[data]\nkind = 'digits'\n", "topology.kind: missing; one of ring, complete, "),
    ],
)
def test_run__refuses_a_bad_file(content: str | None, line: str, cli: Cli, tiny: Path) -> None:
    if content is not None:
        Path("tinny.toml").write_text(content)
    assert refusal(cli, "tinny.toml").startswith(line)


def test_run__one_line_per_mistake(cli: Cli, tiny: Path) -> None:
    code, _, err = cli("run", "tiny.toml", "run.rounds=0", "topology.kind=rign", "--output", "out")
    assert code == 2 and [line.split(":")[1].strip() for line in err.splitlines()] == ["run.rounds", "topology.kind"]


# ---- what only shows once data and topology are built ----


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["topology.kind=torus", "peers.count=5"], "topology.kind: torus needs a peer count that is a product of two"),
        (["topology.kind=hypercube", "peers.count=6"], "topology.kind: hypercube needs a power of two of peers, got 6"),
        (
            ["topology={kind='random-regular',degree=4}"],
            "topology.degree: must be from 1 to peers.count - 1 = 3, got 4",
        ),
        (
            ["topology={kind='random-regular',degree=3}", "peers.count=5"],
            "topology.degree: peers.count * topology.degree must be even, got 5 * 3; change either by one",
        ),
        (["topology={kind='file',path='no.csv'}"], "topology.path: cannot read "),
        (["data.batch_size=65"], "data.batch_size must be at most the 64 training images, got 65: lower it"),
        (["data.train_limit=99"], "data.train_limit: must be at most the 64 train examples, got 99"),
        (["peers.model.kind=vgg11"], "peers.model: vgg11 needs images of at least 32x32, got 8x8"),
        (
            ["peers.groups=[{count=2,head={kind='linear',dim=5}},{count=2}]"],
            "peers.groups: all must exchange vectors of one width, got 4, 5: give them heads of one dim",
        ),
        (
            ["peers.groups=[{count=2,model={kind='mlp',hidden=[9]}},{count=2}]", "exchange.what=features"],
            "peers.groups: all must exchange vectors of one width, got 8, 9: exchange logits through heads of one dim",
        ),
        (
            ["exchange.target.kind=sinkhorn", "exchange.loss.kind=mse"],
            "exchange.target 'sinkhorn' makes probabilities, which exchange.loss 'mse' does not compare: ",
        ),
        (
            ["exchange.supervised=1", "peers.head.dim=2"],
            "exchange.supervised needs an output per class: 4 classes, got 2 outputs; set peers.head.dim",
        ),
        (
            ["data.train_limit=16"],
            "evaluation.knn.k must be at most the 16 training examples that are probed, got 20: lower it",
        ),
        (
            ["data.train_limit=4", "data.batch_size=4", "evaluation.probes=['linear']"],
            "evaluation.probes: linear needs at least 5 training examples, got 4: leave it out",
        ),
        (
            ["data={kind='fashion-mnist',root='empty'}"],
            "data.root: no Fashion-MNIST under ",
        ),
    ],
)
def test_run__refuses_what_does_not_fit(overrides: list[str], line: str, cli: Cli, tiny: Path) -> None:
    assert refusal(cli, "tiny.toml", *overrides).startswith(line)
    assert refusal(cli, "tiny.toml", *overrides, "--dry-run").startswith(line)


def test_run__a_dry_run_tells_of_few_calibration_passes(cli: Cli, tiny: Path) -> None:
    overrides = ["run.rounds=60", "evaluation.calibration_passes=20"]
    code, _, err = cli("run", "tiny.toml", *overrides, "--dry-run")
    assert code == 0 and "note: evaluation.calibration_passes is 20, which leaves" in " ".join(err.split())


def test_run__missing_data_names_the_command_that_gets_it(cli: Cli, tiny: Path) -> None:
    line = refusal(cli, "tiny.toml", "data={kind='fashion-mnist',root='empty'}")
    root = tiny.parent / "empty"
    assert f"""python -c "import torchvision; torchvision.datasets.FashionMNIST('{root}', download=True)\"""" in line


def test_run__gpus_in_process_without_cuda(cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    line = refusal(cli, "tiny.toml", "hosting.gpus_per_peer=1")
    assert line == "hosting.gpus_per_peer is 1 but there is no CUDA device here: set it to 0"


@pytest.mark.parametrize(
    ("edges", "line"),
    [
        (
            "teacher,student\n0,1\n1,0\n2,3\n3,2\n",
            "topology.path: e.csv must connect all peers, but no chain of edges ",
        ),
        ("teacher,student\n0,1\n1,1\n", "topology.path: e.csv line 3: peer 1 must not teach itself; "),
        ("teacher,student,weight\n0,1,-1\n", "topology.path: e.csv line 2: weight must be positive and finite, got -1"),
        (
            "teacher,student,weight\n0,1,0.5\n2,1,0.4\n1,0,1\n",
            "topology.path: e.csv line 3: the weights of student 1's teachers must sum to 1, got 0.9; scale them",
        ),
    ],
)
def test_run__refuses_a_bad_edge_file(edges: str, line: str, cli: Cli, tiny: Path) -> None:
    Path("e.csv").write_text(edges)
    assert refusal(cli, "tiny.toml", "topology={kind='file',path='e.csv'}").startswith(line)


def test_run__edge_file_works_from_the_command_line(cli: Cli, tiny: Path) -> None:
    Path("e.csv").write_text("teacher,student\n0,1\n1,2\n2,3\n3,0\n1,0\n")
    code, out, _ = cli("run", "tiny.toml", "topology={kind='file',path='e.csv'}", "--dry-run")
    assert code == 0 and "topology  file: 5 messages a round" in out


def image_bytes() -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), 7).save(file, "PNG")
    return file.getvalue()


def test_run__parquet_without_images(cli: Cli, tiny: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "label": [0, 1]}), "t.parquet")
    line = refusal(cli, "tiny.toml", "data={kind='parquet',path='t.parquet'}")
    assert line.startswith("data.image_column: no column 'image' in ") and line.endswith("set it to one of text, label")


def test_run__parquet_with_a_corrupt_image_names_its_row(cli: Cli, tiny: Path) -> None:
    images = [image_bytes()] * 40
    images[23] = images[23][:30]
    pq.write_table(pa.table({"image": images, "label": [i % 4 for i in range(40)]}), "t.parquet")
    line = refusal(cli, "tiny.toml", "data={kind='parquet',path='t.parquet',batch_size=8}")
    assert line.startswith("data.image_column: row 23 (from 0) of ") and "is corrupt or not an image" in line


# ---- paths and arguments ----


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["run", "~nosuchuser/x"], "config"),
        (["run", "tiny.toml", "--output", "~nosuchuser/x"], "--output"),
        (["resume", "~nosuchuser/x"], "run"),
        (["export", "~nosuchuser/x", "--peer", "0"], "run"),
        (["export", "out", "--peer", "0", "--output", "~nosuchuser/x"], "--output"),
        (["ablate", "~nosuchuser/x"], "config"),
        (["ablate", "tiny.toml", "--output", "~nosuchuser/x"], "--output"),
        (["topology", "ring", "--plot", "~nosuchuser/x"], "--plot"),
        (["submit", "~nosuchuser/x"], "config"),
        (["ui", "~nosuchuser/x"], "output"),
    ],
)
def test_paths__in_a_home_of_nobody(arguments: list[str], name: str, cli: Cli, tiny: Path) -> None:
    code, _, err = cli(*arguments)
    told = "'~nosuchuser/x' begins with ~nosuchuser, a home that this machine does not know: write the whole path"
    assert (code, err) == (2, f"error: {name}: {told}\n")


def test_run__output_below_a_home_that_no_shell_has_filled_in(
    cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tiny.parent / "home"))
    (tiny.parent / "home").mkdir()
    assert cli("run", "tiny.toml", "--output", "~/out")[0] == 0
    assert len(list((tiny.parent / "home" / "out").iterdir())) == 1 and not Path("~").exists()


def test_run__an_argument_that_is_not_utf8(cli: Cli, tiny: Path) -> None:
    code, _, err = cli("run", "caf\udce9.toml")
    assert (code, err) == (2, "error: 'caf\\udce9.toml' is not text in UTF-8: rename what it names\n")


# ---- the output folder ----


@pytest.mark.parametrize("output", ["afile", "afile/below"])
def test_run__output_that_is_a_file(output: str, cli: Cli, tiny: Path) -> None:
    Path("afile").write_text("mine")
    code, _, err = cli("run", "tiny.toml", "--output", output)
    assert code == 2 and err == f"error: --output: '{output}' is a file or lies in one: name a folder\n"
    assert Path("afile").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_run__output_without_permission(cli: Cli, tiny: Path) -> None:
    Path("locked").mkdir(mode=0o500)
    code, _, err = cli("run", "tiny.toml", "--output", "locked/runs")
    assert code == 2 and err == "error: --output: cannot make a folder in 'locked/runs': Permission denied\n"


# ---- runs ----


@pytest.mark.figures
def test_run__leaves_all_its_files(cli: Cli, tiny: Path) -> None:
    code, out, err = cli("run", "tiny.toml", "--output", "out")
    (folder,) = Path("out").iterdir()
    assert (code, err) == (0, "") and f"results  {folder}" in out and "browse" not in out
    assert f"report   {folder}/report.html\nwatch    " in out
    assert "\ndrawing figures\n" in out and "MLflow" not in out  # tracking is off
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} >= {
        "config.toml",
        "summary.json",
        "metrics/rounds.parquet",
        "metrics/peers.parquet",
        "metrics/edges.parquet",
        "figures/topology.png",
        "figures/consensus.png",
    }
    assert pq.read_table(folder / "metrics/rounds.parquet")["round"].to_pylist() == [0, 1, 2]


def test_run__its_config_starts_the_same_run(cli: Cli, tiny: Path) -> None:
    digests = []
    for config, output in (("tiny.toml", "first"), ("first", "second")):
        path = config if config == "tiny.toml" else str(next(Path("first").iterdir()) / "config.toml")
        _, out, _ = cli("run", path, "--output", output, "--json")
        digests.append(json.loads(out)["digest"])
    assert digests[0] == digests[1] and len(digests[0]) == 64


def test_run__json_is_the_summary_and_nothing_else(cli: Cli, tiny: Path) -> None:
    code, out, err = cli("run", "tiny.toml", "--output", "out", "--json")
    (folder,) = Path("out").iterdir()
    assert code == 0 and out == (folder / "summary.json").read_text()
    summary = json.loads(out)
    assert (summary["status"], summary["rounds"], summary["bytes_exchanged"]) == ("finished", 2, 2 * 8 * 256)
    assert f"results  {folder}" in err


def test_run__stopped_on_values_that_are_not_finite(cli: Cli, tiny: Path) -> None:
    arguments = ["peers.norm=none", "peers.optimizer={kind='sgd',lr=1e38}", "run.rounds=20"]
    code, out, err = cli("run", "tiny.toml", *arguments, "--output", "out", "--json")
    summary = json.loads(out)
    assert (code, summary["status"]) == (2, "stopped") and "lower peers.optimizer.lr" in summary["message"]
    assert f"stopped: {summary['message']}" in err


def test_run__interrupted_keeps_what_it_has(cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Live, event: RunEvent) -> None:
        if isinstance(event, RoundCompleted) and event.completed == 1:
            raise KeyboardInterrupt
        observe(self, event)

    observe = Live.observe
    monkeypatch.setattr(Live, "observe", interrupt)
    code, out, _ = cli("run", "tiny.toml", "--output", "out")
    (folder,) = Path("out").iterdir()
    assert code == 130 and "interrupted: in the rounds, with round 1 of 2 completed" in out
    assert pq.read_table(folder / "metrics/rounds.parquet")["round"].to_pylist() == [0, 1]
