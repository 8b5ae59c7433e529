"""The wheel holds all that a run needs: an editable install would hide a folder that was left out."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("coordinator", "peers", "topologies")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def call(*command: str, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages as the wheel installs them."""
    pytest.importorskip("setuptools", "77", reason="the wheel is built by setuptools of 77 or later")
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source")  # setuptools leaves its own folders there, and takes what they hold
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    call(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(source))
    call(*PIP, "install", "--no-deps", "--target", str(target), *map(str, wheels.glob("*.whl")))
    return target


def test_wheel__holds_every_module(installed: Path) -> None:
    for package in PACKAGES:
        files = {path.relative_to(installed) for path in (installed / package).rglob("*.py")}
        assert files == {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
        assert (installed / package / "py.typed").is_file()


def test_wheel__runs_an_experiment(installed: Path, tiny: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    where = call(sys.executable, "-c", "import coordinator; print(coordinator.__file__)", env=environment)
    assert Path(where.strip()).is_relative_to(installed)
    out = call(sys.executable, "-m", "coordinator", "run", str(tiny), "--json", env=environment)
    assert json.loads(out)["status"] == "finished"
