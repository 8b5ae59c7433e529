"""The pages of a run and of an ablation: they hold what was said, escape what they are given, need no network."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from coordinator.ablations.comparison import compare
from coordinator.ablations.estimates import Comparison
from coordinator.ablations.page import ABLATION_FIGURES, render_ablation
from coordinator.reports import run_page

VOID = {"meta", "img", "br", "source"}
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
ALONE = "probes.knn.over_alone.mean"
MEASURES = ("probes.knn.gain", "consensus.relative_distance.last")


class Reader(HTMLParser):
    """Text and attributes of a page whose tags all close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def read(text: str) -> Reader:
    """Parsed, and checked for what holds of every page."""
    reader = Reader(text)
    assert "://" not in text and "@import" not in text and "url(" not in text
    assert not {"script", "link", "iframe", "object"} & {name for name, _ in reader.tags}
    assert reader.of("html") == [{"lang": "en"}] and len(reader.of("h1")) == 1
    for _, attributes in reader.tags:
        assert "href" not in attributes
        for name in ("src", "srcset"):
            assert (attributes.get(name) or "data:image/png;base64,").startswith("data:image/png;base64,")
    assert all(image["alt"] for image in reader.of("img"))
    assert len(reader.of("caption")) == len(reader.of("table"))
    return reader


TRAININGS = {
    "exchange": {"first_gradient_norm": 0.25, "steps": 40.0, "relative_weight_change": 0.125, "void": ""},
    "alone": {"first_gradient_norm": 4e-8, "steps": 40.0, "relative_weight_change": 0.0625, "void": "idle"},
    "shuffled": {"first_gradient_norm": None, "steps": 39.5, "relative_weight_change": None, "void": ""},
}


def summary_of(**values: Any) -> dict[str, Any]:
    return {"status": "finished", "message": "", "probes": {}, **values}


def test_render__numbers_pictures_and_config(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("consensus", "consensus-narrow", "topology", "another"):
        (tmp_path / "figures" / f"{name}.png").write_bytes(b"\x89PNG")
    summary = summary_of(probes=PROBES, controls=TRAININGS)
    text = run_page.render(summary, ["flag a < b"], "[run]\nname = '<b>'", tmp_path)
    reader = read(text)
    assert "<td>+12.5 (+10.0 to +15.0)</td><td>learned (this run)</td>" in text
    reason = "its first gradient was rounding"
    assert f"<td>-2.5</td><td>-5.0 to -0.1</td><td>no verdict: {reason}</td>" in text
    assert "<td>shuffled</td><td>50.0%</td><td>62.5%</td><td>+12.5</td><td>+10.0 to +15.0</td><td>what it" in text
    assert "<td>0.25</td><td>40</td><td>12.50%</td>" in text and "<td>4e-08 (rounding)</td>" in text
    assert '<th scope="row">shuffled</th><td></td><td>39.5</td><td></td>' in text
    assert "flag a < b" in reader.text and "name = '<b>'" in reader.text
    assert f"kNN: no verdict, since {reason}; gain over peers alone -2.5 (-5.0 to -0.1) points" in reader.text
    said = "what it says about the image matters (this run); gain over shuffled teachers +12.5 (+10.0 to +15.0) points"
    assert f"kNN: {said}" in reader.text
    assert "SGD*: " not in reader.text and "no verdict" in reader.text
    assert [each["src"] for each in reader.of("img")] == ["data:image/png;base64,iVBORw=="] * 2
    assert [each["media"] for each in reader.of("source")] == ["(max-width: 40rem)"]


def test_render__the_table_has_the_conditions_that_were_run(tmp_path: Path) -> None:
    reader = read(run_page.render(summary_of(probes={"sgd": PROBES["sgd"]}), [], "", tmp_path))
    assert "probecalibratedtrainedgainverdict" in reader.text and "reset" not in reader.text
    reader = read(run_page.render(summary_of(probes=PROBES), [], "", tmp_path))
    assert "calibratedtrainedresetgainverdict" in reader.text
    assert "probecontrolaccuracytrainedgain95% intervalverdict" in reader.text and "did:" not in reader.text


def test_render__a_run_that_ended_early_has_no_table(tmp_path: Path) -> None:
    text = run_page.render(summary_of(status="stopped", message="round 2, peer 0: <nan>"), [], "", tmp_path)
    assert "stopped: round 2, peer 0: &lt;nan&gt;" in text and "<table>" not in text
    assert "stopped: round 2, peer 0: <nan>" in read(text).text


@pytest.mark.figures
def test_render__says_what_was_asked(tiny: Path) -> None:
    from coordinator import load_config, simulate

    overrides = ["peers.frozen=[1]", "exchange.supervised=0.5", "evaluation.controls=['alone']", "peers.head.dim=16"]
    overrides += ["exchange.refresh_every=5", "topology.self_weight=0.25", "data.validation=20"]
    result = simulate(load_config(tiny, overrides), "out")
    reader = read((result.folder / "report.html").read_text())
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
        "kNN: " + result.summary["probes"]["knn"]["verdict"],
        "peer-consensus run config.toml",
        (result.folder / "config.toml").read_text(),
    ):
        assert said in reader.text, said
    assert len(reader.of("img")) == 2


@pytest.fixture
def comparison() -> Comparison:
    rows = [
        {"cell": cell, "seed": seed, "status": "finished", MEASURES[0]: gain + 0.001 * seed, MEASURES[1]: distance}
        for cell, gain, distance in (("a < b", 0.1, 0.5), ("ring", 0.0, 0.25))
        for seed in (0, 1, 2)
    ]
    return compare(rows, ["a < b", "ring"], "ring", MEASURES)


def test_render_ablation__flags_stand_in_the_estimates(tmp_path: Path) -> None:
    rows = [
        {"cell": cell, "seed": seed, "status": "finished", "flags": flags if seed else "", ALONE: gain + 0.001 * seed}
        for cell, flags, gain in (("ring", "artefact, collapsed", 0.0), ("self", "", 0.0))
        for seed in (0, 1, 2)
    ]
    found = compare(rows, ["ring", "self"], "self", [ALONE])
    text = render_ablation("flagged", [], found.words, found, tmp_path, "x", "")
    assert '<th scope="col">flags</th>' in text and "<td>artefact 2/3<br>collapsed 2/3</td></tr>" in text
    assert "ring: artefact in 2 of 3 seeds" in read(text).text
    assert "no difference" in text
    assert "Differences" not in text  # a gain over another control has none


def test_render_ablation__everything_is_there_and_escaped(tmp_path: Path, comparison: Comparison) -> None:
    for name in ("cka", "estimates", "unknown"):
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    asked, failed, command = ["axis <x>", "3 seeds & more"], ["'a < b', seed 2: lost"], "peer-consensus ablate a&b.toml"
    config = '[grid]\n"topology.kind" = ["<ring>"]'
    text = render_ablation("<quick>", asked, comparison.words, comparison, tmp_path, command, config, failed)
    reader = read(text)
    for said in ("<quick>", *asked, *comparison.words, *failed, command, config):
        assert said in reader.text, said
    first, second = (each["alt"] for each in reader.of("img"))  # the estimates come first, whatever the folder's order
    assert (first, second) == (ABLATION_FIGURES["estimates"][0], ABLATION_FIGURES["cka"][0])
    assert '<th scope="row">ring (reference)</th><td>+0.1' in text
    assert '<th scope="row">a &lt; b</th><td>+10.0' in text  # a difference, in points
    assert len(reader.of("table")) == 1 + len(MEASURES) and '<th scope="col">flags</th>' not in text


def test_render_ablation__one_cell_and_one_seed(tmp_path: Path) -> None:
    rows = [{"cell": "ring", "seed": 0, "status": "finished", MEASURES[0]: 0.01}]
    alone = compare(rows, ["ring"], "ring", MEASURES)
    reader = read(render_ablation("one", [], alone.words, alone, tmp_path, "x", ""))
    assert "Differences" not in reader.text and "What failed" not in reader.text and not reader.of("img")
    assert "+1.0" in reader.text and "unknown" in reader.text  # a measure that no run has
