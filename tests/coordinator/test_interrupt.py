"""Ctrl-C on a terminal reaches the whole process group: the command, and Ray's processes beside it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
            if line.startswith("rounds 100/"):
                break
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 130
    assert "interrupted: in the rounds, with round " in rest and "Traceback" not in rest
    (folder,) = tmp_path.glob("quickstart-*")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "interrupted" and summary["rounds"] >= 100
    assert f"results  {folder}" in rest
