"""Runs in a simulated network: what delays leave alone, and what survives a kill, a loss of hosts, another pool."""

import random
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tomli_w

from coordinator import ConfigError, Result, resume
from coordinator.records.files.run_folder import KEYS
from tests.coordinator.run.test_resume import METRICS, assert_same, killed_before, run

TIMES = ("virtual_seconds", "online", "lost", "mean_age", "mean_age_seconds")
UNEQUAL = {"kind": "lognormal", "seconds": 1.0, "sigma": 0.6}
SLOW_LINKS = {"kind": "lognormal", "seconds": 0.6, "sigma": 0.8}
SOME_LOST = {"kind": "bernoulli", "probability": 0.15}
COMING_AND_GOING = {"kind": "exponential", "up": 8.0, "down": 3.0}
CONTROLS = {"controls": ["alone", "stranger", "shuffled"]}
EVERY_CONTROL = {"controls": [*CONTROLS["controls"], "single-teacher"]}  # which draws from what has arrived
CLOCKS: dict[str, dict[str, Any]] = {
    "synchronous": {"churn": {**COMING_AND_GOING, "on_return": "fresh"}, "loss": SOME_LOST},
    "neighbours": {"churn": COMING_AND_GOING, "loss": SOME_LOST},
    "deadline": {"deadline": 0.5, "late": "use", "loss": SOME_LOST},
    "free-running": {"churn": {**COMING_AND_GOING, "on_return": "fresh", "leave": "crash"}, "loss": SOME_LOST},
    "gossip": {"wake_every": 2.0, "churn": COMING_AND_GOING, "loss": SOME_LOST},
}


def marked(clock: str) -> Any:
    """All clocks but one take their time."""
    return pytest.param(clock, marks=() if clock == "free-running" else pytest.mark.slow)


def world(clock: str, **settings: Any) -> dict[str, Any]:
    """The section of a network in which nothing is equal: peers, links, messages."""
    return {"clock": clock, "compute": UNEQUAL, "latency": SLOW_LINKS, **CLOCKS[clock], **settings}


def assert_only_times_differ(result: Result, plain: Result) -> None:
    """Every number of the summary and every row of the tables, but for the columns that only a network has."""
    for name in METRICS:
        assert result.summary[name] == plain.summary[name], name
    for name, keys in KEYS.items():
        left, right = (pq.read_table(each.folder / "metrics" / f"{name}.parquet") for each in (result, plain))
        order = [(key, "ascending") for key in keys]
        extra = set(left.column_names) - set(right.column_names)
        assert extra == (set(TIMES) if name == "rounds" else set())
        kept = sorted(right.column_names)
        assert left.select(kept).sort_by(order).equals(right.select(kept).sort_by(order)), name


LIMITS = {
    "random pair": {"topology": {"kind": "random-pair"}},
    "self-weight": {"topology": {"kind": "ring", "self_weight": 0.3}, "evaluation": CONTROLS},
    "vectorised": {"topology": {"kind": "ring"}, "hosting": {"execution": "vectorised"}},
    "matching of an odd number": {"topology": {"kind": "random-matching"}},
}
slowly = pytest.mark.slow


@pytest.mark.parametrize("name", [pytest.param(name, marks=slowly if name > "random pair" else ()) for name in LIMITS])
@pytest.mark.parametrize(
    "network",
    [
        {"clock": "synchronous", "compute": UNEQUAL, "latency": SLOW_LINKS},
        {"clock": "neighbours", "compute": UNEQUAL, "latency": SLOW_LINKS, "bandwidth": {"up": 2e3, "down": 2e3}},
        {"clock": "deadline", "deadline": 1.0},
        {"clock": "free-running"},
    ],
    ids=lambda each: each["clock"],
)
def test_simulate__delays_of_lock_step_clocks_and_a_perfect_network_change_no_number(
    tmp_path: Path, network: dict[str, Any], name: str
) -> None:
    sections = LIMITS[name]
    plain = run(tmp_path / "plain", **sections)
    timed = run(tmp_path / "timed", network=network, **sections)
    assert_only_times_differ(timed, plain)
    rows = pq.read_table(timed.folder / "metrics" / "rounds.parquet").to_pylist()[1:]
    seconds = [row["virtual_seconds"] for row in rows]
    assert seconds == sorted(seconds) and (seconds[-1] == 12.0) == ("compute" not in network)
    assert {(row["online"], row["lost"]) for row in rows} == {(3, 0)}


def test_simulate__without_the_section_no_file_has_a_trace_of_it(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert "network" not in (result.folder / "config.toml").read_text() and "network" not in result.summary
    columns = pq.read_table(result.folder / "metrics" / "rounds.parquet").column_names
    assert not set(TIMES) & set(columns)


@pytest.mark.parametrize("clock", [*map(marked, CLOCKS)])
def test_resume__after_a_kill_anywhere_nothing_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    """The messages under way, the peers that are away and the control runs included."""
    sections = {
        "network": world(clock),
        "topology": {"kind": "ring"},
        "evaluation": EVERY_CONTROL,
        "checkpoint": {"every": 3},
    }
    straight = run(tmp_path / "straight", **sections)
    for nth in random.Random(clock).sample(range(4, 60), 2):
        with killed_before(monkeypatch, "step", nth):
            run(tmp_path / f"killed-{nth}", **sections)
        (folder,) = (tmp_path / f"killed-{nth}").iterdir()
        resumed = resume(folder)
        assert_same(resumed, straight)
        assert resumed.summary["controls"] == straight.summary["controls"]


@pytest.mark.parametrize("clock", [*map(marked, CLOCKS)])
def test_resume__a_longer_run_is_the_run_of_so_many_rounds(tmp_path: Path, clock: str) -> None:
    sections = {"network": world(clock), "topology": {"kind": "ring"}, "evaluation": {"controls": ["alone"]}}
    longer = run(tmp_path / "longer", **{**sections, "run": {"rounds": 20}})
    short = run(tmp_path / "short", **sections)
    resumed = resume(short.folder, rounds=20)
    assert {name: resumed.summary[name] for name in METRICS} == {name: longer.summary[name] for name in METRICS}


def test_resume__another_network_is_refused_but_not_another_list_of_events(tmp_path: Path) -> None:
    result = run(tmp_path, network=world("neighbours"))
    config = (result.folder / "config.toml").read_text()
    (result.folder / "config.toml").write_text(config.replace("probability = 0.15", "probability = 0.25"))
    with pytest.raises(ConfigError, match=r"^network\.loss\.probability: the checkpoint was made with 0\.15"):
        resume(result.folder, rounds=16)
    ideal = {name: section for name, section in tomllib.loads(config).items() if name != "network"}
    (result.folder / "config.toml").write_text(tomli_w.dumps(ideal))
    with pytest.raises(ConfigError, match=r"^network: the checkpoint was made with this section, but .* put it back"):
        resume(result.folder, rounds=16)
    (result.folder / "config.toml").write_text(config.replace("events = true", "events = false"))
    resume(result.folder, rounds=16)
