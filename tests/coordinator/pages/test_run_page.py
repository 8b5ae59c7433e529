"""The page of a run: its order, its numbers, and names that try to be more than names."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from coordinator import load_config, simulate
from coordinator.pages import run_page
from coordinator.reports.sentences import in_words

Read = Callable[[str], Any]
PROBES = {
    "knn": {
        "calibrated": 0.5,
        "trained": 0.625,
        "reset": 0.6,
        "alone": 0.65,
        "gain": 0.125,
        "interval": [0.1, 0.15],
        "verdict": "learned (this run)",
        "over_alone": {"mean": -0.025, "low": -0.05, "high": -0.001},
        "shuffled": 0.5,
        "over_shuffled": {"mean": 0.125, "low": 0.1, "high": 0.15},
        "controls": {"alone": "no verdict", "shuffled": "what it says about the image matters (this run)"},
    },
    "sgd": {"calibrated": 0.25, "trained": 0.25, "gain": 0.0, "interval": [-0.1, 0.1]},
}
TRAININGS = {
    "exchange": {"first_gradient_norm": 0.25, "steps": 40.0, "relative_weight_change": 0.125, "void": ""},
    "alone": {"first_gradient_norm": 4e-8, "steps": 40.0, "relative_weight_change": 0.0625, "void": "idle"},
    "shuffled": {"first_gradient_norm": None, "steps": 39.5, "relative_weight_change": None, "void": ""},
}
HOSTILE = (
    "<script>alert(1)</script>",
    "\u202eevil",
    "n" * 100,
    "\"double\" 'single'",
    "[bold]x[_bold]",
    "{{ 7*7 }}{% raw %}",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt; & `tick` | pipe",
    "\u05d0\u05d1 \u05d2",
    "</code></pre></style><b>",
)


def summary_of(**values: Any) -> dict[str, Any]:
    return {"status": "finished", "message": "", "probes": {}, **values}


def draw(folder: Path, *names: str) -> None:
    (folder / "figures").mkdir(exist_ok=True)
    for name in names:
        (folder / "figures" / f"{name}.png").write_bytes(b"\x89PNG" + name.encode())


def rows_of(reader: Any, text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    rows = re.findall(r'<tr role="row">(.*?)</tr>', text, re.DOTALL)
    return [
        [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def test_render__numbers_and_words(tmp_path: Path, read_page: Read) -> None:
    summary = summary_of(probes=PROBES, controls=TRAININGS)
    text = run_page.render(summary, ["flag a < b"], "[run]\nname = '<b>'", tmp_path)
    reader = read_page(text)
    reason = "its first gradient was rounding"
    rows = rows_of(reader, text)
    assert ["kNN", "50.0%", "62.5%", "60.0%", "+12.5 (+10.0 to +15.0)", "learned (this run)"] in rows
    assert ["kNN", "alone", "65.0%", "62.5%", "-2.5", "-5.0 to -0.1", f"no verdict: {reason}"] in rows
    matters = "what it says about the image matters (this run)"
    assert ["kNN", "shuffled", "50.0%", "62.5%", "+12.5", "+10.0 to +15.0", matters] in rows
    assert ["the run", "0.25", "40", "12.50%"] in rows and ["shuffled", "", "39.5", ""] in rows
    assert ["alone", "4e-08 (rounding)", "40", "6.25%"] in rows
    assert "flag a < b" in reader.text and "name = '<b>'" in reader.text


def test_render__verdicts_come_first_each_on_a_line(tmp_path: Path, read_page: Read) -> None:
    """With a shape and a word, not by colour alone."""
    text = run_page.render(summary_of(probes=PROBES, controls=TRAININGS), [], "", tmp_path)
    items = re.findall(r'<li class="(\w+)">(.*?)</li>', text, re.DOTALL)
    said = [(tone, *re.sub(r"<[^>]*>", "", inner).split("\n")) for tone, inner in items]
    assert said == [
        ("good", "▲", "kNN over calibrated", "+12.5 (+10.0 to +15.0)", "learned (this run)"),
        ("void", "○", "kNN over alone", "-2.5 (-5.0 to -0.1)", "no verdict: its first gradient was rounding"),
        ("good", "▲", "kNN over shuffled", "+12.5 (+10.0 to +15.0)", "what it says about the image matters (this run)"),
    ]
    assert text.index("<li class") < min(
        text.index("<figure") if "<figure" in text else len(text), text.index("<table")
    )
    assert "SGD* over" not in read_page(text).text


def test_render__pictures_in_order(tmp_path: Path, read_page: Read) -> None:
    def alts(view: str = "") -> list[str]:
        reader = read_page(run_page.render(summary_of(probes=PROBES), [], "", tmp_path, view))
        return [
            next(name for name, (alt, _) in run_page.RUN_FIGURES.items() if alt == each["alt"])
            for each in reader.of("img")
        ]

    assert alts() == []
    draw(tmp_path, "topology", "consensus", "consensus-narrow", "another")
    assert alts() == ["consensus", "topology"]
    draw(tmp_path, "gains", "gains-narrow")
    assert alts() == ["gains", "consensus", "topology"]
    assert alts(Markup("<p>drawn</p>")) == ["gains", "consensus"]  # the component draws the graph
    reader = read_page(run_page.render(summary_of(probes=PROBES), [], "", tmp_path))
    assert [each["media"] for each in reader.of("source")] == ["(max-width: 40rem)"] * 2
    sizes = {name: 4 + len(name) for name in ("gains", "consensus", "topology")}
    assert [len(each["src"]) for each in reader.of("img")] == [22 + 4 * -(-size // 3) for size in sizes.values()]


def test_render__the_table_has_the_conditions_that_were_run(tmp_path: Path, read_page: Read) -> None:
    reader = read_page(run_page.render(summary_of(probes={"sgd": PROBES["sgd"]}), [], "", tmp_path))
    assert "probecalibratedtrainedgainverdict" in reader.text and "reset" not in reader.text
    reader = read_page(run_page.render(summary_of(probes=PROBES), [], "", tmp_path))
    assert "calibratedtrainedresetgainverdict" in reader.text
    assert "probecontrolaccuracytrainedgain95% intervalverdict" in reader.text and "did:" not in reader.text


def test_render__a_run_that_ended_early_has_no_table(tmp_path: Path, read_page: Read) -> None:
    text = run_page.render(summary_of(status="stopped", message="round 2, peer 0: <nan>"), [], "", tmp_path)
    assert "stopped: round 2, peer 0: &lt;nan&gt;" in text and "<table" not in text
    assert "stopped: round 2, peer 0: <nan>" in read_page(text).text
    assert 'class="status"' not in run_page.render(summary_of(), [], "", tmp_path)
    assert "interrupted" in read_page(run_page.render(summary_of(status="interrupted"), [], "", tmp_path)).text


def test_render__a_flag_stands_above_and_is_not_repeated(tmp_path: Path, read_page: Read) -> None:
    summary = summary_of(flags=["collapsed", "of-later"], probes=PROBES)
    said = "flag collapsed: the outputs or features lost most of what told images apart"
    text = run_page.render(summary, [said, "consensus: x"], "", tmp_path)
    assert text.count(said) == 1 and text.index(said) < text.index('<li class="')
    assert "flag of-later: " in read_page(text).text


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The summary of a run with all that a page may show: groups, a control run, flags, faults."""
    table: dict[str, Any] = {
        "run": {"rounds": 2},
        "data": {"kind": "synthetic", "batch_size": 16},
        "peers": {
            "count": 4,
            "model": {"kind": "mlp", "hidden": [8]},
            "head": {"kind": "linear", "dim": 4},
            "frozen": [1],
            "groups": [{"count": 2, "norm": "none"}, {"count": 2}],
        },
        "topology": {"kind": "ring"},
        "exchange": {"supervised": 0.5, "teacher_ema": 0.5},
        "evaluation": {"controls": ["alone"], "probes": ["knn", "linear"]},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
        "network": {"preset": "five-regions", "clock": "free-running", "stragglers": {"share": 0.25}},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coordinator.figures.run.save", lambda *_: None)
        summary = simulate(load_config(table), tmp_path_factory.mktemp("out")).summary
    fault = {"round": 1, "what": "a host was lost", "seconds": 1.0}
    return {**summary, "flags": ["artefact"], "artefacts": ["knn"], "faults": [fault], "message": "ended"}


def _marked(value: Any, mark: Callable[[], str], key: str = "") -> Any:
    """A summary with a mark of its own in place of each text in it, except where only certain words can stand."""
    if isinstance(value, dict):
        return {name: _marked(each, mark, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_marked(each, mark, key) for each in value]
    return mark() if isinstance(value, str) and key not in ("void", "sha256", "beside_rounds") else value


@pytest.mark.parametrize("hostile", HOSTILE)
def test_render__every_text_of_a_summary_comes_back_as_text(
    hostile: str, whole: dict[str, Any], tmp_path: Path, read_page: Read
) -> None:
    """A page of marks and a page of hostile texts have the same elements, and texts that differ by these alone."""
    pages = []
    for prefix in ("", hostile):
        count = iter(range(10**6))
        summary = _marked(whole, lambda count=count, prefix=prefix: f"{prefix}Q{next(count)}Z")  # type: ignore[misc]
        folder = tmp_path / f"{prefix.replace('/', '_')}name"
        lines = [*in_words(summary), f"{prefix}Q777Z said"]
        pages.append(read_page(run_page.render(summary, lines, f"config {prefix}Q888Z", folder)))
    plain, other = pages
    assert len(re.findall("Q[0-9]+Z", plain.text)) > 30
    title = f"{hostile.replace('/', '_')}name"
    text = other.text.replace(title, "name")
    assert text == re.sub("(Q[0-9]+Z)", lambda mark: hostile + mark[0], plain.text) and title in other.text
    assert [tag for tag, _ in plain.tags if tag != "bdi"] == [tag for tag, _ in other.tags if tag != "bdi"]
    for piece, isolated in other.pieces:
        assert isolated or not set(piece) & {*"\u202e\u05d0\u05d1\u05d2"}, piece


@pytest.mark.figures
def test_render__says_what_was_asked(tiny: Path, read_page: Read) -> None:
    overrides = ["peers.frozen=[1]", "exchange.supervised=0.5", "evaluation.controls=['alone']", "peers.head.dim=16"]
    overrides += ["exchange.refresh_every=5", "topology.self_weight=0.25", "data.validation=20"]
    result = simulate(load_config(tiny, overrides), "out")
    reader = read_page((result.folder / "report.html").read_text())
    for said in (
        "4 with mlp, batch norm, linear head, adamw 0.001",
        "frozen: 1",
        "ring: 6 messages a round",
        "target standardise (temperature 0.5); loss kl (temperature 0.1); every peer studies; "
        "peers teach with a snapshot of themselves, renewed every 5 rounds; labels with weight 0.5",
        "20 training images stand in for the test images",
        "self-weight 0.25",
        "2, of which 2 were completed; seed 0",
        "raw pixels, untrained, calibrated, alone",
        result.summary["probes"]["knn"]["verdict"],
        "peer-consensus run config.toml",
        (result.folder / "config.toml").read_text(),
    ):
        assert said in reader.text, said
    assert len(reader.of("img")) >= 2
