"""Documents of runs with a simulated network: virtual time, absences, ages and messages of links; tables by hand."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coordinator.documents.changes import applied, changes
from coordinator.documents.document import RunDocument, run_document
from coordinator.experiment.config import config_from, to_toml
from coordinator.records.files.run_folder import to_arrow

ROUNDS = 4
ENDS = [0.5, 1.0, 4.0, 4.5]  # virtual seconds of the rounds
Rows = list[dict[str, Any]]


def rounds_table() -> Rows:
    """The second round loses three messages, and one peer is offline at its end; round 0 has no virtual time."""
    timed = [
        {"virtual_seconds": end, "online": 2 if t == 2 else 3, "lost": 3 * (t == 2), "mean_age": 1.0, "loss": 1.0 / t}
        | {"mean_age_seconds": 0.25 * t, "bytes_so_far": 100 * t}
        for t, end in enumerate(ENDS, start=1)
    ]
    return [{"round": 0, "relative_distance": 0.8}] + [{"round": t, **row} for t, row in enumerate(timed, start=1)]


def study(number: int, teacher: int, student: int, age: int, seconds: float) -> dict[str, Any]:
    heard = {"age": age, "age_seconds": seconds}
    return {"round": number, "seconds": ENDS[number - 1], "kind": "study", "peer": student, "other": teacher, **heard}


EVENTS: Rows = [
    {"round": 1, "seconds": 0.0, "kind": "publish", "peer": 0, "other": None, "age": None, "age_seconds": None},
    study(1, 0, 1, 0, 0.1),
    study(2, 0, 1, 2, 0.5),
    study(2, 1, 0, 4, 0.9),  # the same pair in the other direction
    study(3, 0, 1, 1, 7.0),
    study(4, 1, 2, 3, 1.0),
    study(2, 2, 2, 0, 0.0),  # a peer's own message is on no link
]
PRESENCE: Rows = [
    {"round": 0, "seconds": 0.0, "peer": 2, "online": False},
    {"round": 2, "seconds": 0.75, "peer": 2, "online": True},
    {"round": 3, "seconds": 3.25, "peer": 1, "online": False},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run of three peers on a ring, measured after 0, 2 and 4 of four rounds."""
    table = {
        "run": {"rounds": ROUNDS},
        "data": {"kind": "digits"},
        "peers": {"count": 3},
        "topology": {"kind": "ring"},
        "evaluation": {"every": 2},
    }
    path = tmp_path / "run"
    (path / "metrics").mkdir(parents=True)
    (path / "config.toml").write_text(to_toml(config_from(table)))
    edges = [
        {"round": t, "teacher": a, "student": b, "total_variation": 0.5}
        for t in (0, 2, 4)
        for a, b in itertools.permutations(range(3), 2)
    ]
    write(path, rounds=rounds_table(), edges=edges)
    (path / "summary.json").write_text(json.dumps({"status": "finished", "rounds": ROUNDS}))
    return path


def write(folder: Path, **tables: Rows) -> None:
    for name, rows in tables.items():
        pq.write_table(to_arrow(rows), folder / "metrics" / f"{name}.parquet")


def test_virtual__has_the_second_at_which_each_round_ended(folder: Path) -> None:
    document = run_document(folder)
    assert document["virtual"] == {
        "name": "virtual time",
        "unit": "s",
        "rounds": [0, 1, 2, 3, 4],
        "seconds": [0, *ENDS],
    }
    facts = dict(document["facts"])
    assert facts["virtual time"] == "4.5 s, 1.12 s a round" and facts["messages that did not arrive"] == "3"
    assert facts["mean age of messages"] == "0.625 s, 1 round"
    curves = {curve["name"]: curve for curve in document["curves"]}
    assert curves["online"]["y"] == [3, 2, 3, 3] and curves["lost"]["y"] == [0, 3, 0, 0]
    assert curves["mean_age_seconds"]["y"] == [0.25, 0.5, 0.75, 1]


def test_virtual__the_summary_has_the_last_word_on_ages(folder: Path) -> None:
    network = {"age_seconds": {"mean": 0.2}, "age_rounds": {"mean": 0.0}}
    (folder / "summary.json").write_text(json.dumps({"status": "finished", "rounds": ROUNDS, "network": network}))
    assert dict(run_document(folder)["facts"])["mean age of messages"] == "0.2 s"


def test_absences__begin_and_end_within_rounds(folder: Path) -> None:
    """0.75 s is half way through round 2, 3.25 s three quarters through round 3."""
    write(folder, network_presence=PRESENCE)
    assert run_document(folder)["peers"]["marks"] == {
        "1": [{"kind": "offline", "words": "offline since 3.25 s", "from": 2.75}],
        "2": [{"kind": "offline", "words": "offline from 0 s to 0.75 s", "from": 0, "until": 1.5}],
    }


def test_absences__too_many_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.documents.network.MOST_ABSENCES", 1)
    write(folder, network_presence=PRESENCE)
    document = run_document(folder)
    assert document["peers"]["marks"] == {} and document["links"]["note"].endswith("there are too many.")


def test_links__ages_and_messages_are_those_since_the_frame_before(folder: Path) -> None:
    write(folder, events=EVENTS)
    links = run_document(folder)["links"]
    assert links["list"] == [[0, 1], [0, 2], [1, 2]]  # both directions, each pair once
    assert links["messages"] == [[0, 0, 0], [3, 0, 0], [1, 0, 1]]
    seconds, rounds = links["colourings"]
    assert (seconds["name"], seconds["unit"], rounds["unit"]) == ("age_seconds", "s", "rounds")
    assert seconds["frames"] == rounds["frames"] == [1, 2]
    assert seconds["values"] == [[0.5, None, None], [7, None, 1]] and seconds["scale"][1] >= 7
    assert rounds["values"] == [[2, None, None], [1, None, 3]]


def test_links__gossip_has_no_ages_in_rounds(folder: Path) -> None:
    """Every peer counts its own acts there: the difference of two counts may even be below 0."""
    config = folder / "config.toml"
    config.write_text(config.read_text() + '\n[network]\nclock = "gossip"\n')
    write(folder, events=EVENTS)
    assert [each["name"] for each in run_document(folder)["links"]["colourings"]] == ["age_seconds"]


def test_links__ages_of_an_unknown_number_of_pieces_are_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long table, which is read piece by piece."""
    write(folder, events=EVENTS)
    whole = run_document(folder)
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda self, columns: (batch for batch in self.read(columns=columns).to_batches(max_chunksize=2)),
    )
    assert run_document(folder) == whole


def test_links__without_events_the_mean_of_the_run_is_at_the_last_frame(folder: Path) -> None:
    rows = [
        {"teacher": 0, "student": 1, "heard": 3, "mean_age": 1.0, "mean_age_seconds": 2.0},
        {"teacher": 1, "student": 0, "heard": 1, "mean_age": 5.0, "mean_age_seconds": 6.0},
        {"teacher": 1, "student": 2, "heard": 0, "mean_age": None, "mean_age_seconds": None},
    ]
    write(folder, network_edges=rows)
    links = run_document(folder)["links"]
    assert [(each["frames"], each["values"]) for each in links["colourings"]] == [
        ([2], [[3, None, None]]),
        ([2], [[2, None, None]]),
    ]
    assert links["messages"] == [[0] * 3, [4] * 3, [4] * 3]  # as the topology has them


def test_document__without_a_network_has_none_of_it(folder: Path) -> None:
    plain = [{"round": row["round"], "loss": row.get("loss")} for row in rounds_table()]
    write(folder, rounds=plain)
    document = run_document(folder)
    assert "virtual" not in document and "colourings" not in document["links"]
    assert "virtual time" not in dict(document["facts"])


def test_document__what_is_added_to_virtual_time_is_all_that_is_sent(folder: Path) -> None:
    live = folder / "metrics" / ".live"
    live.mkdir()
    (folder / "metrics" / "rounds.parquet").unlink()
    (folder / "summary.json").unlink()
    reader = RunDocument(folder)
    documents = []
    for known in (2, 3, 5):
        pq.write_table(to_arrow(rounds_table()[:known]), live / "rounds-000000.parquet")
        documents.append(reader.read())
    for before, after in itertools.pairwise(documents):
        change = changes(before, after)
        assert set(change["append"]["virtual"]) == {"rounds", "seconds"} and applied(before, change) == after
    assert documents[-1]["virtual"]["seconds"] == [0, *ENDS]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("events", [{**EVENTS[1], "round": "x"}]),
        ("events", [{**EVENTS[1], "other": None}]),
        ("network_presence", [{"seconds": 0.5, "peer": None, "online": True}]),
        ("network_edges", [{"teacher": 0, "student": 1, "heard": 0.5, "mean_age": 1, "mean_age_seconds": 1}]),
    ],
)
def test_document__a_table_that_no_run_writes_is_named(folder: Path, name: str, rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(rows), folder / "metrics" / f"{name}.parquet")
    document = run_document(folder)
    assert [flag for flag in document["flags"] if flag.startswith(f"metrics/{name}.parquet cannot be read (")]
    assert document["virtual"]["rounds"] == [0, 1, 2, 3, 4]


def test_document__another_events_file_takes_the_place_of_the_first(folder: Path, tmp_path: Path) -> None:
    write(folder, events=EVENTS)
    reader = RunDocument(folder)
    reader.read()
    write(folder, events=[study(2, 0, 1, 0, 0.25)])
    other = shutil.copytree(folder, tmp_path / "other")
    assert reader.read()["links"] == run_document(other)["links"]
