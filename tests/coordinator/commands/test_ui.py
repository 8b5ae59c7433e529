import json
import os
import re
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from coordinator.experiment.config import TrackingConfig
from coordinator.records.tracking.mlflow import Tracker
from coordinator.records.tracking.mlflow_store import store_uri
from coordinator.reports.markdown import NOTE, escaped

ROOT = Path(__file__).parents[3]
CHROMIUM = Path("/usr/bin/chromium")
ENDINGS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL]
Served = Callable[..., AbstractContextManager[Any]]
Cli = Callable[..., tuple[Any, str, str]]
FAKE = """
import subprocess, sys
if sys.argv[-1] != "worker":
    sys.exit(subprocess.call([sys.executable, "-m", "mlflow", *sys.argv[1:], "worker"]))
import json, os, signal, socket, time
if os.environ.get("STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listening = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])))
print(json.dumps(sys.argv[1:-1]), flush=True)
time.sleep(600)
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture
def served(started: Callable[..., AbstractContextManager[Any]]) -> Callable[..., AbstractContextManager[Any]]:
    """`peer-consensus ui` in a process of its own."""

    def serve(runs: Path, port: int, **environment: str) -> AbstractContextManager[Any]:
        paths = os.pathsep.join([environment.pop("PATHS", ""), str(ROOT)]).lstrip(os.pathsep)
        command = [sys.executable, "-m", "coordinator", "ui", str(runs), "--port", str(port)]
        return started(command, env={**os.environ, "PYTHONPATH": paths, **environment})

    return serve


def told_address(ui: Any, port: int) -> list[str]:
    """What it says until it says where it listens."""
    lines = []
    for line in ui.stdout:
        lines.append(line)
        if re.fullmatch(
            rf"http://127\.0\.0\.1:{port}/#/\S+workflowType=machine_learning\S*  \(Ctrl-C ends it\)\n", line
        ):
            return lines
    raise AssertionError(f"no address in {lines}")


@contextmanager
def browser(profile: Path) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    flags = ("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking")
    for flag in (
        *flags,
        "disable-component-update",
        "disable-sync",
        f"user-data-dir={profile}",
        "window-size=2400,900",
    ):
        options.add_argument(f"--{flag}")
    page = Chrome(options, Service("/usr/bin/chromedriver"))
    try:
        yield page
    finally:
        page.quit()


def text_with(page: Chrome, expected: str) -> str:
    """The text of the page, as soon as it has `expected`."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        with suppress(StaleElementReferenceException, NoSuchElementException):
            text = page.find_element(By.TAG_NAME, "body").text
            if expected in text:
                return text
        time.sleep(0.5)
    raise AssertionError(f"no '{expected}' in: {text}")


def ends(port: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while listens(port):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize(("sent", "stubborn"), [(signal.SIGTERM, "yes"), (signal.SIGKILL, "")])
def test_ui__leaves_nothing_behind(served: Served, tmp_path: Path, sent: signal.Signals, stubborn: str) -> None:
    """In place of MLflow a module that, as MLflow does, starts the process that listens, and waits for it."""
    (tmp_path / "fake" / "mlflow").mkdir(parents=True)
    (tmp_path / "fake" / "mlflow" / "__init__.py").touch()
    (tmp_path / "fake" / "mlflow" / "__main__.py").write_text(FAKE)
    runs, port = tmp_path / "a%20b", free_port()
    runs.mkdir()
    (runs / "mlflow.db").touch()
    with served(runs, port, PATHS=str(tmp_path / "fake"), STUBBORN=stubborn) as ui:
        lines = told_address(ui, port)
        assert listens(port)
        ui.send_signal(sent)
        assert ui.wait(60) == (-signal.SIGKILL if sent == signal.SIGKILL else 130)
        assert ends(port, 30)
    command = json.loads(next(line for line in lines if line.startswith("[")))
    assert command[0] == "server"
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--backend-store-uri"] == store_uri(runs) and options["--host"] == "127.0.0.1"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("sent", ENDINGS)
def test_ui__mlflows_own_server_ends_with_it(served: Served, runs: Path, tmp_path: Path, sent: signal.Signals) -> None:
    """On a folder with an odd name that has been moved: it has the run and its file, and its port is free at once."""
    (runs / "a-run").mkdir()
    (runs / "a-run" / "summary.json").write_text('{"a": 1}')
    tracker = Tracker(TrackingConfig(), runs, "a-run")
    tracker.log_folder(runs / "a-run")
    tracker.close("FINISHED")
    moved, port = tmp_path / "100% a?b", free_port()
    runs.rename(moved)
    with served(moved, port) as ui:
        identity = MlflowClient(store_uri(moved)).get_run(tracker.run_id).info.experiment_id
        assert f"/#/experiments/{identity}/runs?" in told_address(ui, port)[-1]
        file = f"http://127.0.0.1:{port}/get-artifact?path=summary.json&run_uuid={tracker.run_id}"
        with urllib.request.urlopen(file, timeout=60) as answer:
            assert json.load(answer) == {"a": 1}
        ui.send_signal(sent)
        assert ui.wait(60) == (-signal.SIGKILL if sent == signal.SIGKILL else 130)
        assert ends(port, 30)
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium")
def test_ui__its_address_shows_runs_with_their_verdicts(served: Served, runs: Path, tmp_path: Path) -> None:
    """In MLflow's page, as a browser has it: training, not traces; gains and verdicts are columns, names are text."""
    name = "<b>bold</b> | `x`"
    tracker = Tracker(TrackingConfig(), runs, "a-run")
    tracker.log_metrics({"consensus/agreement": 0.25}, 3)
    tracker.log_final({"probes/linear/gain": 2.75})
    tracker.log_tags({"verdict.linear": "learned (this run)", NOTE: f"**{escaped(name)}**"})
    tracker.close("FINISHED")
    port = free_port()
    with served(runs, port) as ui, browser(tmp_path / "profile") as page:
        address = told_address(ui, port)[-1].split()[0]
        page.get(address)
        shown = text_with(page, "learned (this run)")
        assert {"probes/linear/gain", "2.75", "consensus/agreement", "verdict.linear"} <= set(shown.splitlines())
        assert "Model registry" in shown and "Judges" not in shown
        page.get(address.replace("/runs?", f"/runs/{tracker.run_id}?"))
        assert name in text_with(page, name).splitlines()


def test_ui__folder_without_a_store(cli: Cli, tiny: Path) -> None:
    code, out, err = cli("ui", "nothing")
    assert (code, out) == (2, "")
    assert err == "error: no MLflow store in 'nothing': name the folder that was given to run as --output\n"


def test_ui__port_that_cannot_be_used(cli: Cli, runs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = cli("ui", str(runs), "--port", str(port))
    assert (code, out) == (2, "")
    assert err == f"error: --port: {port} cannot be used (Address already in use): choose another\n"
    code, out, err = cli("ui", str(runs), "--port", "70000")
    assert (code, out) == (2, "") and re.fullmatch("error: .*'--port'.*65535.*\n", err)
