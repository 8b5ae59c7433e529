"""The script that checks what runs on a GPU: its steps on a CPU, also where neither Ray nor MLflow is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "benchmarks" / "gpu.py"
WITHOUT = (
    "import runpy, sys; sys.modules.update(ray=None, mlflow=None); runpy.run_path(sys.argv[0], run_name='__main__')"
)


def outcomes(start: list[str], *arguments: str) -> dict[str, dict[str, Any]]:
    """The entries by name; the script must end with 0."""
    command = [sys.executable, *start, "--device", "cpu", "--quick", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return {entry["name"]: entry for entry in json.loads(done.stdout)["checks"]}


def test_gpu_script__runs_in_one_process_without_ray_and_mlflow():
    """The checks that need them are skipped, and say why."""
    code = WITHOUT.replace("sys.argv[0]", repr(str(SCRIPT)))
    code = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); {code}"
    found = outcomes(["-c", code], "--only", "equality", "fractions", "out-of-memory")
    assert found["equality"]["outcome"] == "passed" and found["equality"]["figures"]["same_bits"]
    assert found["fractions"]["outcome"] == "skipped" and found["fractions"]["reason"].startswith("ray cannot be")
    assert found["out-of-memory"]["reason"] == "needs a CUDA device"


@pytest.mark.slow
@pytest.mark.parametrize("apart", [(), ("--apart", "--only", "equality", "repeats")])
def test_gpu_script__all_checks_pass_on_a_cpu_or_are_skipped(apart: tuple[str, ...], tmp_path: Path):
    found = outcomes([str(SCRIPT)], *apart, "--output", str(tmp_path / "found.json"))
    assert {entry["outcome"] for entry in found.values()} <= {"passed", "skipped"}
    assert {entry["name"] for entry in json.loads((tmp_path / "found.json").read_text())["checks"]} == found.keys()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_gpu_script__says_in_one_line_that_there_is_no_gpu():
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("there is no CUDA device here") and done.stderr.count("\n") == 1
