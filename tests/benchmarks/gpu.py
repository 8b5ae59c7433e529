"""Checks and times everything that the project runs on a GPU: one entry a check, with figures and a reason.

A check that fails, raises, hangs or kills its process does not stop the others, since each has a process of its own.
Exit status: 0 if none failed, 1 if any did, 2 if there is no CUDA device. On a machine without one, `--device cpu
--quick` goes through the same steps in tiny sizes. Checks that need Ray are skipped where it cannot be imported.
"""

import argparse
import gc
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import torch
from gpu_checks import CHECKS, check_possible
from gpu_runs import MIB, Mismatch, Place, Skipped

PATIENCE = 15.0  # seconds in which a process that is told to end may clear up


def main() -> None:
    asked = parsed()
    if asked.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device here; --device cpu --quick goes through the same steps", file=sys.stderr)
        sys.exit(2)
    start, entries = time.perf_counter(), []
    for name in asked.only:
        left = asked.budget - (time.perf_counter() - start)
        entries.append(entry(name, asked, left))
        print(f"{name}: {entries[-1]['outcome']} {entries[-1]['reason']}".strip(), file=sys.stderr, flush=True)
        text = report(asked, entries, time.perf_counter() - start)
        if asked.output:
            asked.output.write_text(text)  # after each check, in case that this process is ended
    print(text, end="")
    sys.exit(int(any(each["outcome"] == "failed" for each in entries)))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="of the peers")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, all in this process")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS), help="these checks, in this order")
    parser.add_argument("--output", type=Path, help="file that gets the JSON, too, after each check")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds of a check in a process of its own")
    parser.add_argument("--budget", type=float, default=460.0, help="seconds in all: what is left then is skipped")
    parser.add_argument(
        "--apart", action=argparse.BooleanOptionalAction, help="each check in a process of its own; not if --quick"
    )
    asked = parser.parse_args()
    asked.apart = not asked.quick if asked.apart is None else asked.apart
    return asked


def entry(name: str, asked: argparse.Namespace, left: float) -> dict[str, Any]:
    """What a check found. left: the seconds that are left for all."""
    start = time.perf_counter()
    if left <= 0:
        found = {"outcome": "skipped", "figures": {}, "reason": f"no time left of {asked.budget:g} s"}
    elif asked.apart:
        found = made_apart(name, asked, min(asked.limit, left))
    else:
        found = made_here(name, Place(asked.device, asked.quick))
    return {"name": name, **found, "seconds": round(time.perf_counter() - start, 2)}


def made_here(name: str, place: Place) -> dict[str, Any]:
    """Make a check in this process; an error that it raises is its reason, and its traceback goes to stderr."""
    figures: dict[str, Any] = {}
    outcome, reason = "passed", ""
    signal.signal(signal.SIGTERM, time_up)
    try:
        check_possible(CHECKS[name], place)
        CHECKS[name].make(place, figures)
    except Skipped as why:
        outcome, reason = "skipped", str(why)
    except Mismatch as found:
        outcome, reason = "failed", str(found)
    except Exception as error:
        traceback.print_exc()
        first = (str(error).splitlines() or [""])[0]
        outcome, reason = "failed", f"{type(error).__name__}: {first}"
    gc.collect()
    if place.device == "cuda":
        with suppress(RuntimeError):  # of a device that an error has made unusable
            torch.cuda.empty_cache()
    return {"outcome": outcome, "figures": figures, "reason": reason}


def time_up(*_: object) -> NoReturn:
    """What a check's process does when it is told to end: the figures so far are kept."""
    raise Mismatch("not done in time")


def made_apart(name: str, asked: argparse.Namespace, limit: float) -> dict[str, Any]:
    """Make a check in a process of its own, which is ended after `limit` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder) / "found.json", Path(folder) / "errors.txt"
        command = [sys.executable, __file__, "--no-apart", "--only", name, "--device", asked.device]
        command += ["--output", str(output), *(["--quick"] if asked.quick else [])]
        reason = ""
        with errors.open("w") as written:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=written, start_new_session=True)
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                reason = f"not done after {limit:.0f} s"
                end(process)
        print("".join(line for line in errors.open() if not line.startswith(f"{name}: ")), end="", file=sys.stderr)
        if output.is_file():
            made: dict[str, Any] = json.loads(output.read_text())["checks"][0]
            return {key: made[key] for key in ("outcome", "figures", "reason")}
    reason = reason or f"its process ended with {process.returncode} before it was done"
    return {"outcome": "failed", "figures": {}, "reason": reason}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those of its group, gently at first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)


def report(asked: argparse.Namespace, entries: list[dict[str, Any]], seconds: float) -> str:
    """The result as JSON, with the kind of machine."""
    machine: dict[str, Any] = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if asked.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        machine |= {"gpu": properties.name, "gpu_mib": properties.total_memory // MIB, "cuda": torch.version.cuda}
        machine["cudnn"] = torch.backends.cudnn.version()
    about = {"benchmark": "gpu", "device": asked.device, "quick": asked.quick, "seconds": round(seconds, 1)}
    return json.dumps(plain({"machine": machine, **about, "checks": entries}), indent=2, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """The value as JSON knows it: numbers that are not finite become text."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    main()
