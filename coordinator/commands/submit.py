"""Runs on a Ray cluster by its job API: the working tree goes there, the log and the exit code come back."""

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

OUTPUT = "~/peer-consensus-runs"  # the job's own folder is thrown away
REDIRECTIONS = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
POLL = 2.0  # seconds
ENDED = {"SUCCEEDED", "FAILED", "STOPPED"}
STOPPED = 130
Print = Callable[[str], None]


def connect(address: str) -> Any:
    """Ray's client of a dashboard at http://HEAD:8265. Raises: ConfigError."""
    from ray.job_submission import JobSubmissionClient

    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"--address: must be a Ray dashboard's, such as http://HEAD:8265, got '{address}'")
    with _without_redirection():
        return _asked(address, lambda: JobSubmissionClient(address), of_a_job=False)


def submit(address: str, config: Path, overrides: Sequence[str], output: str = OUTPUT) -> tuple[Any, str]:
    """Ship the current folder and start a run there; returns the client and the job's id.

    output: a folder of the head, or one that all nodes reach. Raises: ConfigError, before anything is sent, on a config
    that cannot be run.
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
    job = _asked(address, lambda: client.submit_job(entrypoint=entrypoint, runtime_env=environment), of_a_job=False)
    return client, job


def _checked(config: Path, overrides: Sequence[str]) -> Path:
    """The config's path in the current folder, of which all that it needs is sent. Raises: ConfigError."""
    loaded, here = load_config(config, overrides), Path.cwd().resolve()
    table = read_table(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # told by load_config
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
    """Print a job's log until it ends; returns its exit code. A dashboard that is away for a while is asked again."""
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
    """Ask a job to end; its run gets SIGTERM and time to write a checkpoint. Raises: ConfigError."""
    client = connect(address)
    asked = _asked(address, lambda: client.stop_job(job))
    return f"{job}: asked to stop" if asked else f"{job}: had ended before"


def status_of(address: str, job: str) -> str:
    """A line on a job. Raises: ConfigError."""
    client = connect(address)
    info = _asked(address, lambda: client.get_job_info(job))
    code = "" if info.driver_exit_code is None else f" (exit code {info.driver_exit_code})"
    return f"{job}: {info.status.value}{code}{': ' + first_line(info.message) if info.message else ''}"


@contextmanager
def _without_redirection() -> Iterator[None]:
    """Ray's client asks the dashboard that these variables name, whatever it is told."""
    kept = {name: os.environ.pop(name) for name in REDIRECTIONS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


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
    """Quoted, but for a home that the cluster is to fill in."""
    return "~/" + shlex.quote(output[2:]) if output.startswith("~/") else shlex.quote(output)


def _asked(address: str, ask: Callable[[], Any], of_a_job: bool = True) -> Any:
    """What the dashboard answers. Raises: ConfigError, in one line, where it does not or will not."""
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
