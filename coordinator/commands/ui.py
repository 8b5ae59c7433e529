"""`peer-consensus ui`: runs MLflow's server on a folder's store, and ends it with the command, even if killed."""

import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

from coordinator.commands import ui_server
from coordinator.experiment.config import ConfigError
from coordinator.records.tracking.mlflow_store import FILE, bring_artifacts, page_of, store_uri
from coordinator.run.signals import Interrupts

HOST = "127.0.0.1"
ENDING = 5.0  # seconds that the server has to shut down
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def serve(output: Path, port: int) -> int:
    """Run the server until it ends or a signal arrives; returns its exit code. Raises: ConfigError."""
    store = (output / FILE).absolute()
    if not store.is_file():
        raise ConfigError(f"no MLflow store in '{output}': name the folder that was given to run as --output")
    _check_free(port)
    try:
        bring_artifacts(store)
    except OSError as error:
        missing = f"files of runs may be missing: '{store}' does not take where they are now ({error})"
        warnings.warn(missing, stacklevel=2)
    options = ["--backend-store-uri", store_uri(output), "--host", HOST, "--port", str(port), "--workers", "1"]
    # no shell and no outside input; -P: the script's folder is not on sys.path, so its files shadow no modules
    command = [sys.executable, "-P", ui_server.__file__, "server", *options]
    with Interrupts(handled=True):
        server = subprocess.Popen(command, env=QUIET | os.environ, stdin=subprocess.PIPE, start_new_session=True)
        try:
            _tell_when_up(server, port, store)
            return server.wait()
        finally:
            _end(server)


def _check_free(port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does when it binds
        try:
            trial.bind((HOST, port))
        except OSError as error:
            raise ConfigError(f"--port: {port} cannot be used ({error.strerror}): choose another") from None


def _tell_when_up(server: "subprocess.Popen[bytes]", port: int, store: Path) -> None:
    print("starting MLflow's server", flush=True)
    while server.poll() is None:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            print(f"http://{HOST}:{port}{page_of(store)}  (Ctrl-C ends it)", flush=True)
            return
        time.sleep(0.2)


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End the server's whole process group, because its child processes do not end with it."""
    try:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(ENDING)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
