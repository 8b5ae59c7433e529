"""Ctrl-C on a terminal reaches the whole process group: the command, and Ray's processes beside it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coordinator import load_config, simulate

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.toml"


@pytest.mark.slow
def test_run__ctrl_c_under_ray_ends_cleanly_with_what_was_done(tmp_path: Path):
    command = [sys.executable, "-m", "coordinator", "run", str(CONFIG), "run.rounds=100000", "evaluation.every=50"]
    with subprocess.Popen(
        [*command, "peers.count=2", "--output", str(tmp_path)],
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
def test_resume__of_a_command_that_was_ended_under_ray(tmp_path: Path, sent: signal.Signals):
    """SIGKILL leaves it no time; SIGTERM, to it alone, leaves it the time for a checkpoint. Then `resume` goes on."""
    command = [sys.executable, "-m", "coordinator"]
    settings = ["run.rounds=400", "peers.count=2", "checkpoint.every=50", "evaluation.every=20"]
    environment = {**os.environ, "PYTHONPATH": str(CONFIG.parents[1])}
    with subprocess.Popen(
        [*command, "run", str(CONFIG), *settings, "--output", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("rounds ") and int(line.split()[1].partition("/")[0]) > 120:
                break
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


SLOW = """
import sys, time
import torch
import coordinator.simulate
from coordinator.cli import main

module, seconds = sys.modules["coordinator.simulate"], float(sys.argv.pop(1))
prepare = module.prepare

def slow(*arguments):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        torch.randn(300, 300) @ torch.randn(300, 300)
    return prepare(*arguments)

module.prepare = slow
main()
"""


@pytest.mark.parametrize("ends", ["refused", "refused again", "Ctrl-C", "Ctrl-C before Ray"])
def test_run__ends_in_order_while_data_is_still_loaded(tiny: Path, ends: str):
    """A thread that is in torch when the interpreter ends would take the process with it: `terminate called`."""
    settings = ["hosting.address=127.0.0.1:1"] if ends != "Ctrl-C" else []
    settings += ["hosting.pool=ray"] if ends != "Ctrl-C" else []
    seconds = 0.3 if ends == "Ctrl-C before Ray" else 0.0
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, "60", "run", "tiny.toml", *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CONFIG.parents[1])},
    ) as process:
        assert process.stdout is not None
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
