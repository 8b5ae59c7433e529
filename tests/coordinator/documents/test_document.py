import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator import load_config, simulate
from coordinator.documents.changes import applied, changes
from coordinator.documents.document import RunDocument, run_document
from coordinator.documents.readers.graph import Graph
from coordinator.documents.readers.status_files import status_of
from coordinator.experiment.config import config_from, to_toml
from coordinator.measures.declared import PEER
from coordinator.measures.verdict import collapsed
from coordinator.records.files.progress import PROGRESS, started_at
from coordinator.reports.verdicts import Tone
from tests.coordinator.documents.run_folders import Staged, damaged, progress_of, rows_of, write_table
from topologies.round import Round
from topologies.schedule import static

Document = dict[str, Any]
ROUNDS, PEERS = 8, 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: five peers on a ring, the last one frozen; probes over the rounds."""
    table = {
        "run": {"rounds": ROUNDS, "name": "five"},
        "data": {"kind": "synthetic", "num_train": 60, "num_test": 30, "batch_size": 10},
        "peers": {
            "count": PEERS,
            "frozen": [4],
            "model": {"kind": "mlp", "hidden": [8]},
            "head": {"kind": "linear", "dim": 4},
        },
        "topology": {"kind": "ring"},
        "evaluation": {"every": 2, "probe_every": 4, "probe_batch": 20, "probes": ["knn"], "controls": ["alone"]},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coordinator.figures.run.save", lambda *_: None)
        return simulate(load_config(table), tmp_path_factory.mktemp("runs")).folder


@pytest.fixture(scope="module")
def whole(run: Path) -> Document:
    return run_document(run)


def close(value: float) -> Any:
    return pytest.approx(value, rel=6e-4, abs=1e-12)  # four significant digits


def test_document__links_are_the_rows_of_the_table(run: Path, whole: Document) -> None:
    links, frames = whole["links"], whole["frames"]
    assert frames == list(range(0, ROUNDS + 1, 2))
    assert links["directed"]  # the frozen peer teaches and hears nobody
    place = {tuple(link): index for index, link in enumerate(links["list"])}
    assert set(place) == {(a, b) for a in range(PEERS) for b in ((a + 1) % PEERS, (a - 1) % PEERS) if b != 4}
    rows = rows_of(run, "edges")
    assert len(rows) == len(place) * len(frames)
    for row in rows:
        value = links["values"][frames.index(row["round"])][place[row["teacher"], row["student"]]]
        assert value == close(row["total_variation"])
    first = [row["total_variation"] for row in rows if row["round"] == 0]
    assert 0.99 * max(first) <= links["scale"][1] <= 2 * max(first)


def test_document__messages_are_those_since_the_frame_before(whole: Document) -> None:
    assert whole["links"]["messages"] == [[0] * 8, *[[2] * 8] * 4]


def test_document__pairs_of_both_directions_are_listed_once(folder_of: Callable[..., Path]) -> None:
    folder = folder_of(peers={"count": 5}, run={"rounds": 10})
    rows = [
        {"round": frame, "student": student, "teacher": teacher, "total_variation": 0.1 * (teacher + student)}
        for frame in (0, 4)
        for teacher, student in ((0, 1), (1, 0), (1, 2), (2, 1))
    ]
    (folder / "metrics").mkdir()
    write_table(folder / "metrics" / "edges.parquet", rows)
    links = run_document(folder)["links"]
    assert not links["directed"] and links["list"] == [[0, 1], [0, 4], [1, 2], [2, 3], [3, 4]]
    assert links["values"] == [[0.1, None, 0.3, None, None]] * 2
    assert links["messages"] == [[0] * 5, [8] * 5]  # both directions together, in four rounds


def test_document__peers_have_their_measures_and_gains(run: Path, whole: Document) -> None:
    rows = {(row["round"], row["peer"]): row for row in rows_of(run, "peers")}
    by_name = {entry["name"]: entry for entry in whole["nodes"]}
    entropy = by_name["mean_entropy"]
    for place, values in zip(entropy["frames"], entropy["values"], strict=True):
        frame = whole["frames"][place]
        assert values == [close(rows[frame, peer]["mean_entropy"]) for peer in range(PEERS)]
    gained = json.loads((run / "summary.json").read_text())["probes"]["knn"]["peers"]
    last = by_name["knn_gain"]["values"][-1]
    assert [last[peer] for peer in gained["peer"]] == [pytest.approx(100 * gain, abs=0.01) for gain in gained["gain"]]
    assert whole["nodes"][0]["name"] == "knn_gain"  # what colours the peers at first
    assert by_name["knn_gain"]["scale"][1] >= max(abs(value) for row in by_name["knn_gain"]["values"] for value in row)
    assert whole["peers"]["marks"]["4"][0]["kind"] == "frozen"
    assert whole["peers"]["group_of"] == [0] * PEERS and whole["peers"]["groups"] == ["mlp, batch norm, linear head"]


def test_document__curves_are_those_of_the_tables(run: Path, whole: Document) -> None:
    curves = {curve["name"]: curve for curve in whole["curves"]}
    rounds = {row["round"]: row for row in rows_of(run, "rounds")}
    assert curves["loss"]["x"] == list(range(1, ROUNDS + 1))
    assert curves["loss"]["y"] == [close(rounds[number]["loss"]) for number in range(1, ROUNDS + 1)]
    losses = [
        [row["loss"] for row in rows_of(run, "peers") if row["round"] == number] for number in range(1, ROUNDS + 1)
    ]
    known = [[loss for loss in row if loss is not None] for row in losses]
    assert curves["loss"]["low"] == [close(min(row)) for row in known]
    assert curves["loss"]["high"] == [close(max(row)) for row in known]
    assert curves["agreement"]["y"] == [close(100 * rounds[frame]["agreement"]) for frame in whole["frames"]]
    assert curves["agreement"]["unit"] == "% same largest output"
    assert curves["bytes_so_far"]["y"][-1] == close(rounds[ROUNDS]["bytes_so_far"] / 2**20)
    probes = json.loads((run / "summary.json").read_text())["probes"]["knn"]
    assert curves["knn_accuracy"]["y"][-1] == close(100 * probes["trained"])
    levels = {level["words"]: level["value"] for level in curves["knn_accuracy"]["levels"]}
    assert levels == {"calibrated": close(100 * probes["calibrated"]), "alone": close(100 * probes["alone"])}
    (loss, _) = whole["peer_curves"]
    assert loss["y"][0][4] is None  # the frozen peer
    assert len(whole["tones"]) == len(whole["headline"]) and set(whole["tones"]) <= set(Tone)
    assert whole["headline"][0].startswith("kNN: ") and whole["gains"][0]["mean"] == close(100 * probes["gain"])


def test_document__is_json_of_plain_values(whole: Document) -> None:
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole


steps = st.lists(st.tuples(st.sampled_from(["live", "anew", "checkpoint"]), st.integers(0, 3)), max_size=8)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, ends=st.booleans())
def test_document__and_all_changes_are_the_document_made_anew(
    run: Path, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], ends: bool
) -> None:
    staged = Staged(run, tmp_path_factory.mktemp("staged") / "run")
    staged.progress()
    reader = RunDocument(staged.path)
    shown = dict(reader.read())
    for what, further in [*steps, ("end", 0)][: len(steps) + ends]:
        if what == "end":
            staged.end()
        elif what == "checkpoint":
            staged.checkpoint()
        else:
            staged.live(min(staged.completed + further, ROUNDS), anew=what == "anew")
        before = reader.read
        old, new = shown, before()
        shown = applied(old, changes(old, new))
        assert shown == new == RunDocument(staged.path).read()
    if ends:
        assert {**shown, "name": run.name, "facts": []} == {**run_document(run), "facts": []}


def test_document__a_running_run_is_known_up_to_its_round(run: Path, tmp_path: Path) -> None:
    staged = Staged(run, tmp_path / "run")
    staged.live(3)
    staged.progress(completed=3, dropped={"2": {"round": 2, "reason": "loss is nan"}}, controls={"alone": 1})
    document = RunDocument(staged.path).read()
    assert (document["status"], document["stage_words"], document["completed"]) == ("running", "rounds", 3)
    assert document["frames"] == [0, 2] and document["total"] == ROUNDS
    assert document["gains"] == [] and document["headline"] == []
    (mark,) = document["peers"]["marks"]["2"]
    assert mark == {"kind": "dropped", "words": "dropped in round 2: loss is nan", "from": 2}
    assert ["controls", "alone 1/8"] in document["facts"]


def test_document__gains_of_a_running_run_are_over_what_it_knows_to_be_calibrated(run: Path, tmp_path: Path) -> None:
    staged = Staged(run, tmp_path / "run")
    staged.live(5)
    staged.progress(probes={"calibrated": {"knn": [0.1] * PEERS}})
    document = RunDocument(staged.path).read()
    gain = document["nodes"][0]
    accuracy = {row["peer"]: row["knn_accuracy"] for row in rows_of(run, "peers") if row["round"] == 4}
    assert gain["frames"] == [2]
    assert gain["values"] == [[pytest.approx(100 * (accuracy[peer] - 0.1), abs=0.01) for peer in range(PEERS)]]


def test_document__its_flags_are_those_of_the_report(run: Path, tmp_path: Path) -> None:
    staged = Staged(run, tmp_path / "run")
    staged.end()
    told = {"flags": ["dropped-peers", "of-tomorrow"], "not_finite": {"1": {"round": 3, "reason": "its loss is nan"}}}
    path = staged.path / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    expected = ["flag dropped-peers: values that are not finite in peer 1", "flag of-tomorrow: of another version"]
    assert run_document(staged.path)["flags"] == expected


def test_document__its_time_is_that_of_all_processes(run: Path, tmp_path: Path) -> None:
    staged = Staged(run, tmp_path / "run")
    staged.live(ROUNDS)
    assert ["time", f"{ROUNDS}.0 s"] in RunDocument(staged.path).read()["facts"]  # of the process that runs
    staged.end()
    path = staged.path / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": {"rounds": 100.0, "controls": 21.0}}))
    assert ["time", "2 min 1 s"] in run_document(staged.path)["facts"]


def test_document__who_drops_out_does_not_stretch_the_scale_of_the_others(run: Path, tmp_path: Path) -> None:
    staged = Staged(run, tmp_path / "run")
    staged.live(5)
    accuracy = {row["peer"]: row["knn_accuracy"] for row in rows_of(run, "peers") if row["round"] == 4}
    calibrated = [accuracy[peer] - (0.7 if peer == 1 else 0.0) for peer in range(PEERS)]
    for dropped, end in ({}, 100), ({"1": {"round": 3, "reason": "its loss is not finite"}}, 1):
        staged.progress(probes={"calibrated": {"knn": calibrated}}, dropped=dropped)
        gain = RunDocument(staged.path).read()["nodes"][0]
        assert gain["values"][0][1] == close(70) and gain["scale"] == [-end, end]


def test_document__nothing_new_is_the_same_object(run: Path) -> None:
    reader = RunDocument(run)
    assert reader.read() is reader.read()


def test_document__a_change_costs_only_the_new_rows(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = Staged(run, tmp_path / "run")
    staged.live(2)
    staged.live(4, anew=True)
    reader = RunDocument(staged.path)
    old = reader.read()
    taken: list[tuple[str, int]] = []
    take = reader.reader.rows.take
    monkeypatch.setattr(
        reader.reader.rows, "take", lambda name, rows: (taken.append((name, rows.num_rows)), take(name, rows))
    )
    staged.live(6, anew=True)
    new = reader.read()
    assert {name for name, _ in taken} == {"rounds", "peers", "edges"} and dict(taken)["rounds"] == 2
    assert all(one is other for one, other in zip(old["links"]["values"], new["links"]["values"], strict=False))


@pytest.mark.parametrize("table", ["rounds", "peers", "edges"])
def test_document__a_damaged_table_is_left_out_and_named(run: Path, tmp_path: Path, table: str) -> None:
    staged = Staged(run, tmp_path / "run")
    staged.live(ROUNDS)
    staged.end()
    damaged(staged.path / "metrics" / f"{table}.parquet")
    document = run_document(staged.path)
    assert [flag for flag in document["flags"] if flag.startswith(f"metrics/{table}.parquet cannot be read (")]
    assert document["status"] == "finished" and document["headline"]
    assert bool(document["curves"]) and (table != "edges" or not any(map(any, document["links"]["values"])))


@pytest.mark.parametrize("name", ["config.toml", "summary.json", PROGRESS])
@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00\xff"])
def test_document__a_damaged_file_is_named(run: Path, tmp_path: Path, name: str, content: str) -> None:
    staged = Staged(run, tmp_path / "run")
    staged.live(ROUNDS)
    staged.end()
    (staged.path / name).write_text(content)
    document = run_document(staged.path)
    assert [flag for flag in document["flags"] if flag.startswith(f"{name} cannot be read (")]
    assert document["peers"]["count"] == PEERS and document["curves"]


def test_document__of_an_empty_folder_says_so(tmp_path: Path) -> None:
    document = run_document(tmp_path)
    assert document["status"] == "unknown" and document["flags"] == ["config.toml is missing"]
    assert document["frames"] == [] and document["peers"]["count"] == 0


def test_status__a_process_that_is_gone_is_lost() -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    started = started_at(gone.pid)
    zombie = progress_of(gone.pid, started)
    time.sleep(0.5)
    assert status_of(zombie, {})[0] == "lost"  # it has ended, though nobody has asked for its exit code
    gone.wait()
    status, message = status_of(progress_of(gone.pid, started, at=time.time()), {})
    assert status == "lost" and message == time.strftime("no sign of life since %H:%M", time.localtime())
    assert status_of(progress_of(os.getpid(), started_at(os.getpid())), {})[0] == "running"
    assert status_of(progress_of(os.getpid(), "1"), {})[0] == "lost"  # another process of the same number
    old = {"status": "finished", "message": "", "rounds": 5}
    assert status_of(progress_of(os.getpid(), started_at(os.getpid())), old)[0] == "running"  # it was resumed
    assert status_of(progress_of(gone.pid, started) | {"completed": 9}, old)[0] == "lost"
    assert status_of(progress_of(gone.pid, started) | {"completed": 5}, old)[0] == "finished"  # killed while drawing


def test_status__of_another_host_goes_by_age() -> None:
    now = time.time()
    assert status_of(progress_of(1, "1", "elsewhere", now - 30), {})[0] == "running"
    status, message = status_of(progress_of(1, "1", "elsewhere", now - 90_000), {})
    assert status == "lost" and message.startswith("no sign of life since 20")  # with its date


@pytest.fixture
def folder_of(tmp_path: Path) -> Callable[..., Path]:
    """The folder of a run that has only begun."""

    def make(**tables: Any) -> Path:
        folder = tmp_path / "begun"
        folder.mkdir()
        base = {"data": {"kind": "digits"}, "topology": {"kind": "ring"}}
        (folder / "config.toml").write_text(to_toml(config_from(base | tables)))
        return folder

    return make


def test_document__of_very_many_links_is_a_sample_of_bounded_size(folder_of: Callable[..., Path]) -> None:
    folder = folder_of(peers={"count": 1024}, topology={"kind": "complete"}, run={"rounds": 1000})
    document = run_document(folder)
    assert (
        document["links"]["left_out"] == 1024 * 1023 // 2 - 20_000 == 1024 * 1023 // 2 - len(document["links"]["list"])
    )
    degrees = [0] * 1024
    for teacher, student in document["links"]["list"]:
        degrees[teacher] += 1
        degrees[student] += 1
    assert min(degrees) > 10 and max(degrees) < 80  # evenly: the mean is 39
    assert len(json.dumps(document, separators=(",", ":"))) < 500_000


def test_document__messages_of_rounds_drawn_anew_are_counted(folder_of: Callable[..., Path]) -> None:
    folder = folder_of(peers={"count": 6}, topology={"kind": "random", "teachers": 2}, run={"rounds": 10})
    metrics = folder / "metrics"
    metrics.mkdir()
    rows = [
        {"round": 10, "student": student, "teacher": teacher, "total_variation": 0.5}
        for student in range(6)
        for teacher in range(6)
        if teacher != student
    ]
    write_table(metrics / "edges.parquet", rows)
    links = run_document(folder)["links"]
    assert links["directed"] and len(links["list"]) == 30
    assert sum(links["messages"][0]) == 10 * 6 * 2  # in each of ten rounds six students hear two teachers


def test_document__runs_no_code_that_a_config_names(folder_of: Callable[..., Path], tmp_path: Path) -> None:
    folder = folder_of(topology={"kind": "import", "target": "not_to_be_imported:links"})
    (tmp_path / "not_to_be_imported.py").write_text("raise SystemExit('imported')")
    document = run_document(folder)
    assert "given from Python" in document["links"]["note"] and document["links"]["messages"] is None
    assert "not_to_be_imported" not in sys.modules
    schedule = static(Round.from_mixing(np.full((PEERS, PEERS), 1 / PEERS)))  # the run itself has it at hand
    links = run_document(folder, schedule=schedule)["links"]
    assert len(links["list"]) == PEERS * (PEERS - 1) / 2 and links["messages"] is not None


def test_document__marks_peers_that_collapse_by_the_rule_of_the_verdict(folder_of: Callable[..., Path]) -> None:
    """Of 40 peers with values around the thresholds; the second frame of three is not the last word."""
    folder = folder_of(peers={"count": 40}, run={"rounds": 20}, evaluation={"every": 10})
    draw = np.random.default_rng(0)
    values = {
        (frame, peer): {measure.name: float(draw.choice([0.004, 0.02, 0.08, 0.3, 5.0, 9.0])) for measure in PEER}
        for frame in (0, 10, 20)
        for peer in range(40)
    }
    (folder / "metrics").mkdir()
    rows = [{"round": frame, "peer": peer, **row} for (frame, peer), row in values.items()]
    write_table(folder / "metrics" / "peers.parquet", rows)
    marks = run_document(folder)["peers"]["marks"]
    fallen = {
        frame: {peer for peer in range(40) if collapsed({peer: values[0, peer]}, {peer: values[frame, peer]})}
        for frame in (10, 20)
    }
    assert 5 < len(fallen[20]) < 35
    assert {int(peer): mark["from"] for peer, (mark,) in marks.items()} == {
        peer: 10 if peer in fallen[10] else 20 for peer in fallen[20]
    }


def test_layout_note__says_why_a_ring_is_no_circle() -> None:
    assert Graph(64, "ring", None).layout_note == Graph(1024, "complete", None).layout_note == ""
    assert "1,024 peers" in Graph(1024, "ring", None).layout_note


def test_document__groups_and_liars(folder_of: Callable[..., Path]) -> None:
    groups = [{"name": "chroma", "count": 2, "view": ["flip", "chroma"]}, {"count": 2, "norm": "none"}, {"count": 1}]
    lies = [{"peers": [3], "attack": {"kind": "random"}, "from_round": 4}]
    peers = run_document(folder_of(peers={"groups": groups, "adversaries": lies}))["peers"]
    assert peers["group_names"][0] == "chroma" and peers["groups"][0].startswith("chroma: ")
    assert peers["groups"][0].endswith("sees flip chroma")
    assert peers["group_names"][1:] == peers["groups"][1:] and peers["group_of"] == [0, 0, 1, 1, 2]
    (mark,) = peers["marks"]["3"]
    assert (mark["kind"], mark["from"]) == ("lying", 4) and "random (sigma 1.0) from round 4 on" in mark["words"]
    assert list(peers["marks"]) == ["3"]


def test_document__liars_have_a_table_from_the_start_and_what_became_of_their_lies(
    folder_of: Callable[..., Path],
) -> None:
    lies = [{"peers": [2], "attack": {"kind": "sign-flip"}}]
    folder = folder_of(peers={"count": 3, "adversaries": lies}, run={"rounds": 4})
    known = {"title": "liars", "names": ["liars", "what they send"], "rows": [["2", "sign-flip"]]}
    assert run_document(folder)["tables"] == [known]
    rows = [{"round": at, "loss": 1.0, "lies_dropped": at / 4, "lies_unusable": 2 * at} for at in (1, 2)]
    (folder / "metrics").mkdir()
    write_table(folder / "metrics" / "rounds.parquet", rows)
    (table,) = run_document(folder)["tables"]
    assert table["names"][2:] == ["lies dropped", "not finite"] and table["rows"] == [["2", "sign-flip", "38%", "6"]]


def test_document__curves_are_of_honest_peers(folder_of: Callable[..., Path]) -> None:
    lies = [{"peers": [2], "attack": {"kind": "sign-flip"}}]
    folder = folder_of(peers={"count": 3, "adversaries": lies}, run={"rounds": 4})
    rows = [
        {"round": number, "peer": peer, "loss": float(peer), "knn_accuracy": 0.1 * peer}
        for number in (2, 4)
        for peer in range(3)
    ]
    (folder / "metrics").mkdir()
    write_table(folder / "metrics" / "peers.parquet", rows)
    write_table(folder / "metrics" / "rounds.parquet", [{"round": number, "loss": 0.5} for number in (2, 4)])
    whole = run_document(folder)
    curves = {curve["name"]: curve for curve in whole["curves"]}
    assert (curves["loss"]["low"], curves["loss"]["high"]) == ([0, 0], [1, 1])
    assert curves["knn_accuracy"]["y"] == [5, 5] and curves["knn_accuracy"]["high"] == [10, 10]
    (of_peers,) = (curve for curve in whole["peer_curves"] if curve["name"] == "loss")
    assert of_peers["y"] == [[0, 1, 2]] * 2  # single peers: all of them
