"""Jobs on a Ray cluster: what is sent, what comes back, and one that runs on a head and two workers on loopback."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import ray.job_submission

from coordinator.commands import submit

ROOT = Path(__file__).parents[3]
ADDRESS = "http://127.0.0.1:8265"
METRICS = ("rounds", "bytes_exchanged", "probes", "flags", "consensus", "relative_weight_change", "digest")
Cli = Callable[..., tuple[Any, str, str]]


class Dashboard:
    """Stands in for Ray's client: one job, whose log grows while it is asked for."""

    sent: dict[str, Any]

    def __init__(self, address: str = ADDRESS) -> None:
        self.statuses, self.logs = ["PENDING", "RUNNING", "FAILED"], ["", "loading\nround", "loading\nround 1\nend"]
        self.code: int | None = 2

    def submit_job(self, **sent: Any) -> str:
        Dashboard.sent = sent
        return "job-1"

    def get_job_status(self, job: str) -> Any:
        return SimpleNamespace(value=self.statuses[0])

    def get_job_logs(self, job: str) -> str:
        if len(self.statuses) > 1:
            self.statuses.pop(0)
            return self.logs.pop(0)
        return self.logs[0]

    def get_job_info(self, job: str) -> Any:
        if job != "job-1":
            raise RuntimeError("Request failed with status code 404: Job x does not exist.")
        return SimpleNamespace(status=SimpleNamespace(value="FAILED"), driver_exit_code=self.code, message="it broke")

    def stop_job(self, job: str) -> bool:
        return True


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> type[Dashboard]:
    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", Dashboard)
    monkeypatch.setattr(submit, "POLL", 0.0)
    return Dashboard


def test_submit__ships_the_folder_and_passes_the_exit_code_on(cli: Cli, tiny: Path, dashboard: type[Dashboard]):
    model = 'peers.model={ kind = "mlp", hidden = [4] }'
    code, out, _ = cli("submit", "tiny.toml", model, "run.rounds=3", "--output", "~/my runs")
    assert code == 2
    assert out.splitlines() == ["job-1: submitted; its run will be in ~/my runs there", "loading", "round 1", "end"]
    entrypoint = f"python -m coordinator run tiny.toml '{model}' run.rounds=3 --output ~/'my runs'"
    assert dashboard.sent["entrypoint"] == entrypoint
    environment = dashboard.sent["runtime_env"]
    assert environment["working_dir"] == str(tiny.parent)
    assert {".git/", "/runs/", "/data/", "mlflow.db"} <= set(environment["excludes"])


def test_submit__what_is_excluded_is_not_packed(tmp_path: Path):
    """Ray's own packing, with our list: code named data stays, folders of data go."""
    from ray._private.runtime_env.packaging import _get_excludes

    excluded = _get_excludes(tmp_path, list(submit.NOT_SHIPPED))
    for name, there in {
        ".git/config": False,
        "runs/a/summary.json": False,
        "data/train.parquet": False,
        "mlflow.db": False,
        "peers/__pycache__/a.pyc": False,
        "peers/data.py": True,
        "peers/data/digits.csv": True,
        "configs/quickstart.toml": True,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        assert any(
            excluded(each) for each in (path, *path.parents) if each != tmp_path and tmp_path in each.parents
        ) is (not there), name


def test_submit__no_follow_status_and_stop(cli: Cli, tiny: Path, dashboard: type[Dashboard]):
    code, out, _ = cli("submit", "tiny.toml", "--no-follow")
    assert (code, out) == (0, "job-1: submitted; its run will be in ~/peer-consensus-runs there\n")
    assert cli("submit", "--status", "job-1")[:2] == (0, "job-1: FAILED (exit code 2): it broke\n")
    assert cli("submit", "--stop", "job-1")[:2] == (0, "job-1: asked to stop\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["tiny.toml", "run.rounds=0"], "error: run.rounds: must be greater than or equal to 1, got 0"),
        (["none.toml"], "error: config: no file 'none.toml'"),
        (["../elsewhere.toml"], "error: config: '../elsewhere.toml' must lie in the current folder"),
        (
            ["tiny.toml", "--address", "ray://x:1"],
            "error: --address: must be a Ray dashboard's, such as http://HEAD:8265",
        ),
        ([], "error: submit: name an experiment file, or a job by --stop or --status"),
        (["--status", "job-9"], f"error: --address: '{ADDRESS}' knows no such job (Request failed"),
    ],
)
def test_submit__what_is_wrong_is_one_line(
    cli: Cli, tiny: Path, dashboard: type[Dashboard], arguments: list[str], line: str
):
    shutil.copy(tiny, tiny.parents[1] / "elsewhere.toml")
    code, _, err = cli("submit", *arguments)
    assert code == 2 and err.count("\n") == 1 and err.startswith(line), err


def test_submit__no_dashboard_there(cli: Cli, tiny: Path):
    code, _, err = cli("submit", "tiny.toml", "--address", "http://127.0.0.1:9")
    assert code == 2 and err.count("\n") == 1
    assert err.startswith("error: --address: no Ray dashboard answers at 'http://127.0.0.1:9': ")


def test_submit__a_server_that_is_no_dashboard(cli: Cli, tiny: Path):
    """It does not know the address that every dashboard does; there is no word of a job."""

    class Other(Recorder):
        known = ""

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        for arguments in (["tiny.toml"], ["--status", "job-1"]):
            code, _, err = cli("submit", *arguments, "--address", address)
            assert code == 2 and err.count("\n") == 1
            assert err.startswith(f"error: --address: no Ray dashboard answers at '{address}': "), err
        server.shutdown()


class Recorder(BaseHTTPRequestHandler):
    """A dashboard that notes what it is asked and knows no job."""

    asked: ClassVar[list[tuple[int, str]]] = []
    known = "/api/version"

    def do_GET(self) -> None:
        Recorder.asked.append((self.server.server_address[1], self.path))  # type: ignore[index]
        known = self.path == self.known
        body = json.dumps({"version": "4", "ray_version": ray.__version__, "ray_commit": "0"} if known else {}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_POST = do_GET

    def log_message(self, *_: Any) -> None: ...


@pytest.mark.parametrize("variable", ["RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"])
def test_submit__asks_the_address_that_it_is_given(
    cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch, variable: str
):
    """Ray's own client prefers what these variables name."""
    Recorder.asked.clear()
    with ExitStack() as opened:
        servers = [opened.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Recorder)) for _ in range(2)]
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            opened.callback(server.shutdown)
        meant, other = (server.server_address[1] for server in servers)
        monkeypatch.setenv(variable, f"http://127.0.0.1:{other}")
        address = f"http://127.0.0.1:{meant}"
        for arguments in (["tiny.toml"], ["--status", "job-1"], ["--stop", "job-1"]):
            code, _, err = cli("submit", *arguments, "--address", address)
            assert code == 2 and err.count("\n") == 1 and f"'{address}'" in err, err
        assert {port for port, _ in Recorder.asked} == {meant} and len({path for _, path in Recorder.asked}) > 2
    assert os.environ[variable] == f"http://127.0.0.1:{other}"


def test_follow__outlives_a_dashboard_that_is_away_for_a_while(dashboard: type[Dashboard]):
    client, answers, told = Dashboard(), iter([False, True, False, False]), list[str]()
    get = client.get_job_status

    def flaky(job: str) -> Any:
        if not next(answers, True):
            raise ConnectionError("away")
        return get(job)

    client.get_job_status = flaky  # type: ignore[method-assign]
    assert submit.follow(client, "job-1", ADDRESS, told.append) == 2 and told == ["loading", "round 1", "end"]
    client = Dashboard()
    client.statuses, client.logs = ["STOPPED"], [""]
    assert submit.follow(client, "job-1", ADDRESS, told.append) == 130 and told[-1] == "job-1 was stopped"


def test_run__address_is_a_shorthand(cli: Cli, tiny: Path):
    code, _, err = cli("run", "tiny.toml", "hosting.pool=ray", "--address", "127.0.0.1:9")
    assert code == 2 and err.startswith("error: hosting.address: no Ray cluster at '127.0.0.1:9'")
    code, _, err = cli("run", "tiny.toml", "hosting.address=auto", "--address", "auto")
    assert (code, err) == (2, "error: --address: hosting.address is given as well: leave one of them out\n")


# ---- for real ----


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.5)
    raise AssertionError(f"nothing listens on {port}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own
def test_submit__across_a_head_and_two_workers_with_a_token_and_mlflow(
    started: Callable[..., AbstractContextManager[Any]], tmp_path: Path
):
    """The steps of docker/compose.yaml by hand on loopback; the numbers are those of `run` on this machine."""
    gcs, dashboard, client, mlflow, *agents = free_ports(10)
    short = Path(tempfile.mkdtemp(dir="/tmp"))  # sockets in it have names of at most 107 characters
    token = short / "token"
    token.write_text(secrets.token_hex(32))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HOME": str(tmp_path),
    }
    start = ["ray", "start", "--block", "--node-ip-address", "127.0.0.1", "--disable-usage-stats"]
    head = [*start, "--head", "--port", str(gcs), "--dashboard-port", str(dashboard), "--temp-dir", str(short)]
    head += [
        "--ray-client-server-port",
        str(client),
        "--num-cpus",
        "1",
        "--dashboard-agent-listen-port",
        str(agents[0]),
    ]
    worker = [*start, "--address", f"127.0.0.1:{gcs}", "--num-cpus", "1"]
    workers = [  # each with a folder of its own, as on a machine of its own
        [*worker, "--dashboard-agent-listen-port", str(port), "--temp-dir", str(short / f"w{number}")]
        for number, port in enumerate(agents[1:3])
    ]
    server = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}", "--workers", "1"]
    server += ["--host", "127.0.0.1", "--port", str(mlflow), "--artifacts-destination", str(tmp_path / "artifacts")]
    config = ROOT / "configs" / "quickstart.toml"
    settings = ["run.rounds=20", "evaluation.controls=[]", "peers.count=3", f"tracking.uri=http://127.0.0.1:{mlflow}"]
    settings += [f"checkpoint.path={tmp_path / 'shared'}", "checkpoint.every=10", "hosting.evaluators=0"]
    command = [sys.executable, "-m", "coordinator"]
    try:
        with ExitStack() as stack:
            quiet = {"env": environment, "stdout": subprocess.DEVNULL, "limit": 900.0}
            for each in (head, server):
                stack.enter_context(started(each, **quiet))
            wait_for(gcs)
            with started(workers[0], **quiet), started(workers[1], **quiet):
                wait_for(dashboard)
                wait_for(mlflow)
                address = ["--address", f"http://127.0.0.1:{dashboard}"]
                bare = {name: value for name, value in environment.items() if not name.startswith("RAY_AUTH")}
                refused = subprocess.run(
                    [*command, "submit", "configs/quickstart.toml", *address],
                    cwd=ROOT,
                    env=bare,
                    capture_output=True,
                    text=True,
                )
                assert refused.returncode == 2 and "wants a token: set RAY_AUTH_MODE=token" in refused.stderr, refused
                output = ["--output", str(tmp_path / "cluster")]
                done = subprocess.run(
                    [*command, "submit", "configs/quickstart.toml", *settings, *address, *output],
                    cwd=ROOT,
                    env=environment,
                    capture_output=True,
                    text=True,
                )
                assert done.returncode == 0, done.stdout + done.stderr
                remote = ["--address", f"ray://127.0.0.1:{client}"]
                over_client = subprocess.run(
                    [*command, "run", str(config), *settings, *remote, "--output", str(tmp_path / "client")],
                    cwd=ROOT,
                    env=environment,
                    capture_output=True,
                    text=True,
                )
    finally:
        shutil.rmtree(short, ignore_errors=True)
    (folder,) = (tmp_path / "cluster").glob("quickstart-*")
    here = subprocess.run(
        [*command, "run", str(config), *settings, "tracking.enabled=false", "--output", str(tmp_path / "here")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert here.returncode == 0, here.stderr
    summary = json.loads((folder / "summary.json").read_text())
    (local,) = (tmp_path / "here").glob("quickstart-*")
    expected = json.loads((local / "summary.json").read_text())
    for name in METRICS:
        assert summary[name] == expected[name], name
    assert summary["faults"] == [] and len(list((tmp_path / "shared").glob("quickstart-*/round-000020"))) >= 1
    from mlflow import MlflowClient

    (run,) = [
        each
        for each in MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").search_runs(["1"])
        if each.info.run_name == folder.name
    ]
    gain = run.data.metrics["probes/linear/gain"]  # in points
    assert run.info.status == "FINISHED" and gain == pytest.approx(100 * expected["probes"]["linear"]["gain"])
    print("client:", over_client.returncode, over_client.stderr[-600:])
    (far,) = (tmp_path / "client").glob("quickstart-*")
    assert over_client.returncode == 0, over_client.stderr
    assert json.loads((far / "summary.json").read_text())["digest"] == expected["digest"]
