"""Ctrl-C on a terminal reaches the whole process group: the command, and Ray's processes beside it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from coordinator import load_config, resume, simulate
from coordinator.records.events import Phase, RoundCompleted, RunEvent
from coordinator.reports.sentences import in_words
from coordinator.run.signals import Interrupts

Started = Callable[..., AbstractContextManager[Any]]
CONFIG = Path(__file__).parents[3] / "configs" / "quickstart.toml"


@pytest.mark.slow
def test_run__ctrl_c_under_ray_ends_cleanly_with_what_was_done(started: Started, tmp_path: Path):
    command = [sys.executable, "-m", "coordinator", "run", str(CONFIG), "run.rounds=100000", "evaluation.every=50"]
    with started([*command, "peers.count=2", "--output", str(tmp_path)]) as process:
        process.reach(100)
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 130
    assert "interrupted: in the rounds, with round " in rest and "Traceback" not in rest
    (folder,) = tmp_path.glob("quickstart-*")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "interrupted" and summary["rounds"] >= 100
    assert f"results  {folder}" in rest


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_resume__of_a_command_that_was_ended_under_ray(started: Started, tmp_path: Path, sent: signal.Signals):
    """SIGKILL leaves it no time; SIGTERM, to it alone, leaves it the time for a checkpoint. Then `resume` goes on."""
    command = [sys.executable, "-m", "coordinator"]
    settings = ["run.rounds=400", "peers.count=2", "checkpoint.every=50", "evaluation.every=20"]
    environment = {**os.environ, "PYTHONPATH": str(CONFIG.parents[1])}
    with started([*command, "run", str(CONFIG), *settings, "--output", str(tmp_path)]) as process:
        process.reach(121)
        os.kill(process.pid, sent)
        rest = process.stdout.read()
        code = process.wait(timeout=60)
    (folder,) = tmp_path.glob("quickstart-*")
    if sent == signal.SIGTERM:
        assert code == 130 and f"go on with: peer-consensus resume {folder}" in rest
    else:
        assert code == -signal.SIGKILL and not (folder / "summary.json").exists()
    done = subprocess.run([*command, "resume", str(folder)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    straight = simulate(
        load_config(CONFIG, [*settings, "hosting.pool=in-process", "tracking.enabled=false"]), tmp_path / "straight"
    ).summary
    for name in ("rounds", "bytes_exchanged", "probes", "flags", "consensus", "digest"):
        assert summary[name] == straight[name], name


# ---- without Ray ----

HANGING = """
import sys, time
from coordinator.run import signals
signals.GRACE = float(sys.argv[1])
with signals.Interrupts(handled=True):
    said = "ready"
    while True:
        try:
            print(said, flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            said = "hangs"
"""


@pytest.mark.parametrize(("grace", "signals"), [(0.2, 2), (60.0, 3)])
def test_interrupts__what_hangs_is_ended_after_the_second_signal(started: Started, grace: float, signals: int):
    """Whatever does not heed KeyboardInterrupt: a second signal gives it some time, a third none."""
    with started([sys.executable, "-c", HANGING, str(grace)], stderr=None) as process:
        sent = cycle([signal.SIGTERM, signal.SIGINT])  # the same one twice in a moment is one
        for expected in ["ready", "hangs", "hangs"][:signals]:
            assert process.stdout.readline().strip() == expected
            process.send_signal(next(sent))
        assert process.wait(timeout=30) == 130


def test_interrupts__a_hangup_that_comes_twice_is_one(capfd: pytest.CaptureFixture[str]):
    """Kernel and shell both send it when a terminal goes away."""
    before = signal.getsignal(signal.SIGHUP)
    with Interrupts(handled=True) as interrupts:
        interrupts.gentle = True
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        assert interrupts.stop_requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGHUP) == before
    assert capfd.readouterr().err.count("interrupted: the rounds in flight end first") == 1


def test_interrupts__one_whose_exception_was_lost_ends_the_run_before_its_rounds():
    """Python discards what a handler raises while a callback runs, such as one of the garbage collector."""
    with Interrupts(handled=True) as interrupts:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.gentle = True
        assert not interrupts.stop_requested


def test_interrupts__what_is_ignored_stays_ignored():
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts(handled=True) as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not interrupts.stop_requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_interrupts__an_inner_block_takes_the_signals_back():
    """Whoever has taken them meanwhile, as Ray does, gets them back after the block, and no later."""
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts(handled=True) as interrupts:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: None)
        with interrupts:
            interrupts.gentle = True
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupts.stop_requested
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    "sent",
    [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGHUP, signal.SIGINT))],
)
def test_run__any_of_the_signals_leaves_a_checkpoint(started: Started, tiny: Path, sent: signal.Signals):
    command = [sys.executable, "-m", "coordinator", "run", str(tiny), "run.rounds=100000", "evaluation.every=50"]
    with started([*command, "checkpoint.every=100000", "checkpoint.seconds=0"]) as process:
        process.reach(1)
        process.send_signal(sent)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 130, rest
    (folder,) = (tiny.parent / "runs").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "interrupted" and f"go on with: peer-consensus resume {folder}" in rest
    assert "Traceback" not in rest and summary["rounds"] > 0
    (only,) = (folder / "checkpoints").iterdir()
    assert only.name == f"round-{summary['rounds']:06d}"


@pytest.mark.parametrize("every", [2, 100], ids=["between checkpoints", "before any"])
def test_simulate__asked_to_end_while_alone_leaves_a_checkpoint_and_no_verdict(
    small: dict[str, Any], tmp_path: Path, every: int
):
    """What was only begun alone is no control, and need not be begun again."""
    config = load_config({**small, "run": {"rounds": 9}, "checkpoint": {"every": every, "seconds": 0}})
    interrupts = Interrupts()

    class Asking:
        def observe(self, event: RunEvent) -> None:
            if isinstance(event, RoundCompleted):
                interrupts.stop_requested |= event.phase is Phase.ALONE and event.completed == 3

    first = simulate(config, tmp_path / "asked", [Asking()], interrupts=interrupts)
    assert first.status == "interrupted" and "alone" not in first.summary["probes"]["knn"]
    saved = [int(each.name.removeprefix("alone-")) for each in (first.folder / "checkpoints").glob("alone-*")]
    assert 3 <= max(saved) < 9
    straight = simulate(config, tmp_path / "straight")
    assert resume(first.folder).summary["probes"] == straight.summary["probes"]


SLOW = """
import sys, time
import torch
import coordinator.run.simulate
from coordinator.cli import main

module, seconds = sys.modules["coordinator.run.simulate"], float(sys.argv.pop(1))
prepare = module.prepare

def slow(*arguments):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        torch.randn(300, 300) @ torch.randn(300, 300)
    return prepare(*arguments)

module.prepare = slow
main()
"""


AGAIN = pytest.param("refused again", marks=pytest.mark.slow)


@pytest.mark.parametrize("ends", ["refused", AGAIN, "Ctrl-C", "Ctrl-C before Ray"])
def test_run__ends_in_order_while_data_is_still_loaded(started: Started, tiny: Path, ends: str):
    """A thread that is in torch when the interpreter ends would take the process with it: `terminate called`."""
    settings = ["hosting.address=127.0.0.1:1"] if ends != "Ctrl-C" else []
    settings += ["hosting.pool=ray"] if ends != "Ctrl-C" else []
    seconds = 0.3 if ends == "Ctrl-C before Ray" else 0.0
    with started([sys.executable, "-c", SLOW, "60", "run", "tiny.toml", *settings]) as process:
        if "Ctrl-C" in ends:
            assert "loading" in process.stdout.readline()
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
        started = time.monotonic()
        rest = process.stdout.read().splitlines()
        code = process.wait(timeout=60)
    assert time.monotonic() - started < 45  # the data would take longer
    if "Ctrl-C" in ends:
        assert (code, rest[-1]) == (130, "interrupted before anything was run")
    else:
        assert code == 2 and rest[-1].startswith("error: hosting.address: no Ray cluster at '127.0.0.1:1'")


@pytest.mark.slow
def test_run__a_signal_to_the_whole_group_ends_it_in_order(tmp_path: Path):
    """As `timeout` sends it: Ray's processes get SIGTERM too and are gone at once, but the run writes what it has."""
    command = [sys.executable, "-m", "coordinator", "run", str(CONFIG), "run.rounds=100000", "evaluation.every=50"]
    with subprocess.Popen(
        [*command, "peers.count=2", "checkpoint.every=50", "--output", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(CONFIG.parents[1])},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("rounds ") and int(line.split()[1].partition("/")[0]) >= 100:
                break
        os.killpg(process.pid, signal.SIGTERM)
        rest = process.stdout.read()
        code = process.wait(timeout=90)
    (folder,) = tmp_path.glob("quickstart-*")
    print(rest, code)
    assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"
    assert f"go on with: peer-consensus resume {folder}" in rest and code == 130


def test_interrupts__the_same_signal_twice_in_a_moment_is_one(monkeypatch: pytest.MonkeyPatch):
    """Some commands that run another, such as timeout, signal it twice."""
    now = [100.0]
    monkeypatch.setattr("coordinator.run.signals.time.monotonic", lambda: now[0])
    with Interrupts(handled=True) as interrupts:
        interrupts.gentle = True
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.stop_requested
        now[0] += 1.0
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_simulate__interrupted_says_as_of_when_it_was_measured(small: dict[str, Any], tmp_path: Path):
    """What was last measured before round 0 is not told as how the peers are now."""
    evaluation = {"every": 20, "probe_batch": 20, "probes": []}
    table = {**small, "run": {"rounds": 50}, "evaluation": evaluation, "checkpoint": {"every": 2, "seconds": 0}}
    for last, measured, said in ((5, 0, "consensus: not measured since the first round"), (25, 20, "(as of round 20)")):
        interrupts = Interrupts()

        class Asking:
            def observe(self, event: RunEvent, last: int = last, interrupts: Interrupts = interrupts) -> None:
                interrupts.stop_requested |= isinstance(event, RoundCompleted) and event.completed == last

        summary = simulate(load_config(table), tmp_path, [Asking()], interrupts=interrupts).summary
        assert summary["measured_at"] == measured < last <= summary["rounds"] and said in in_words(summary)[0]
