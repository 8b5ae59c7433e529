"""Runs on a Ray cluster by its job API: send the current folder there, follow the log, return the exit code."""

import os
import shlex
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coordinator.commands.shipping import NOT_SHIPPED, check_shipped, needed_by
from coordinator.experiment.config import ConfigError, load_config, read_table, with_override
from coordinator.experiment.redaction import first_line

OUTPUT = "~/peer-consensus-runs"  # not in the job's own folder, which Ray deletes
REDIRECTIONS = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
POLL = 2.0  # seconds
ENDED = {"SUCCEEDED", "FAILED", "STOPPED"}
STOPPED = 130
Print = Callable[[str], None]


def connect(address: str) -> Any:
    """Ray's client for a dashboard such as http://HEAD:8265. Raises: ConfigError."""
    from ray.job_submission import JobSubmissionClient

    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"--address: must be a Ray dashboard's, such as http://HEAD:8265, got '{address}'")
    with _without_redirection():
        return _ask_dashboard(address, lambda: JobSubmissionClient(address), of_a_job=False)


def submit(address: str, config: Path, overrides: Sequence[str], output: str = OUTPUT) -> tuple[Any, str]:
    """Send the current folder to the cluster and start a run there; returns the client and the job's id.

    output: a folder on the head node, or one that all nodes reach. Raises: ConfigError, before anything is sent, if
    the config is invalid.
    """
    shipped, here = _checked(config, overrides), Path.cwd().resolve()
    if not output.startswith(("/", "~/")):
        raise ConfigError(
            f"--output: must be a folder of the cluster, from / or ~/, got '{output}': the job's own folder is thrown "
            "away"
        )
    client = connect(address)
    command = ["python", "-m", "coordinator", "run", shipped.as_posix(), *overrides]
    entrypoint = " ".join(map(shlex.quote, command)) + f" --output {_for_shell(output)}"
    environment = {"working_dir": str(here), "excludes": list(NOT_SHIPPED)}
    job = _ask_dashboard(
        address, lambda: client.submit_job(entrypoint=entrypoint, runtime_env=environment), of_a_job=False
    )
    return client, job


def _checked(config: Path, overrides: Sequence[str]) -> Path:
    """The config's path in the current folder. Raises: ConfigError, if a file that it needs would not be sent."""
    loaded, here = load_config(config, overrides), Path.cwd().resolve()
    table = read_table(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # load_config has warned already
        for override in overrides:
            table = with_override(table, override)
    try:
        shipped = config.resolve().relative_to(here)
    except ValueError:
        raise ConfigError(
            f"config: '{config}' must lie in the current folder, which is what the cluster gets: change to its folder"
        ) from None
    check_shipped(here, {"config": here / shipped, **needed_by(loaded, table, here)})
    return shipped


def follow(client: Any, job: str, address: str, tell: Print) -> int:
    """Print a job's log until it ends; returns its exit code. Retries while the dashboard does not answer."""
    printed, missed = 0, 0
    while True:
        try:
            status = str(client.get_job_status(job).value)
            log = client.get_job_logs(job)
            missed = 0
        except (OSError, RuntimeError) as error:
            missed += 1
            if missed == 30:
                raise ConfigError(f"--address: '{address}' does not answer any more: {first_line(error)}") from None
            time.sleep(POLL)
            continue
        whole = len(log) if status in ENDED else log.rfind("\n") + 1
        for line in log[printed:whole].splitlines():
            tell(line)
        printed = max(printed, whole)
        if status in ENDED:
            return _exit_code(client, job, status, tell)
        time.sleep(POLL)


def stop(address: str, job: str) -> str:
    """Stop a job: its run gets SIGTERM and time to write a checkpoint. Raises: ConfigError."""
    client = connect(address)
    was_running = _ask_dashboard(address, lambda: client.stop_job(job))
    return f"{job}: asked to stop" if was_running else f"{job}: had ended before"


def status_of(address: str, job: str) -> str:
    """The status of a job in one line. Raises: ConfigError."""
    client = connect(address)
    info = _ask_dashboard(address, lambda: client.get_job_info(job))
    code = "" if info.driver_exit_code is None else f" (exit code {info.driver_exit_code})"
    return f"{job}: {info.status.value}{code}{': ' + first_line(info.message) if info.message else ''}"


@contextmanager
def _without_redirection() -> Iterator[None]:
    """Unset the variables that would override the address given to Ray's client."""
    removed = {name: os.environ.pop(name) for name in REDIRECTIONS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(removed)


def _exit_code(client: Any, job: str, status: str, tell: Print) -> int:
    info = client.get_job_info(job)
    if status == "SUCCEEDED":
        return 0
    if status == "STOPPED":
        tell(f"{job} was stopped")
        return STOPPED
    if info.driver_exit_code is None:
        tell(f"{job} failed: {first_line(info.message)}")
    return int(info.driver_exit_code or 1)


def _for_shell(output: str) -> str:
    """The path quoted for a shell, except for a leading `~/`, which the cluster expands."""
    return "~/" + shlex.quote(output[2:]) if output.startswith("~/") else shlex.quote(output)


def _ask_dashboard(address: str, ask: Callable[[], Any], of_a_job: bool = True) -> Any:
    """Call `ask` and return the dashboard's answer. Raises: ConfigError, in one line, if it fails or refuses."""
    from ray.exceptions import RayError

    try:
        return ask()
    except (OSError, RuntimeError, ValueError, RayError) as error:
        why, text = first_line(error), str(error)
        if any(sign in text for sign in ("401", "403", "nauthenticated", "token")):
            raise ConfigError(
                f"--address: '{address}' wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
                f"RAY_AUTH_TOKEN_PATH to the cluster's ({why})"
            ) from None
        if of_a_job and "404" in text:
            raise ConfigError(f"--address: '{address}' knows no such job ({why})") from None
        if "exceeds the maximum size" in text:
            raise ConfigError(
                f"submit: the current folder is too large to be shipped ({why}): name what is not needed in .rayignore"
            ) from None
        raise ConfigError(f"--address: no Ray dashboard answers at '{address}': {why}") from None
