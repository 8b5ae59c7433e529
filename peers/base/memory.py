"""How much memory this machine has left, and the refusal of what it does not hold."""

import os
from pathlib import Path


def available(
    meminfo: Path = Path("/proc/meminfo"),
    groups: Path = Path("/proc/self/cgroup"),
    root: Path = Path("/sys/fs/cgroup"),
) -> int:
    """Bytes that this process may still use: what the machine has left, swap included, or a container's or job's limit.

    Where the system does not tell what is left (it is not Linux), all that the machine has.
    """
    return min([_machine(meminfo), *_limits(groups, root)])


def require(num_bytes: int, what: str, advice: str) -> None:
    """Refuse what would not fit. `what` is the start of the line, up to "need"; `advice` its end.

    Raises: ValueError.
    """
    if num_bytes > (left := available()):
        raise ValueError(f"{what} need {told(num_bytes)} of memory, and {told(left)} are left; {advice}")


def told(num_bytes: int) -> str:
    """Bytes in GiB, or MiB where they are few."""
    return f"{num_bytes / 2**20:,.1f} MiB" if num_bytes < 2**30 else f"{num_bytes / 2**30:,.1f} GiB"


def _machine(meminfo: Path) -> int:
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return sum(int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _limits(groups: Path, root: Path) -> list[int]:
    """What each control group that this process is in has left, of both versions of the kernel's interface."""
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return []
    left = []
    for _, controllers, path in lines:
        if controllers == "":
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        parts = Path(path).parts[1:]
        for depth in range(len(parts) + 1):  # a limit further up binds as well; seen from a container, most are absent
            left += _left(base.joinpath(*parts[:depth]), *names)
    return left


def _left(group: Path, limit: str, usage: str, cache: str) -> list[int]:
    """The limit less what is in use, of which the page cache is given back; empty where there is no limit."""
    try:
        most, used = int((group / limit).read_text()), int((group / usage).read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # not there, or "max"
        return []
    return [max(0, most - used + int(statistics.get(cache, 0)))]
