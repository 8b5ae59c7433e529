"""How much memory is free on this machine, and an error for what does not fit."""

import os
from pathlib import Path


def available(
    meminfo: Path = Path("/proc/meminfo"),
    groups: Path = Path("/proc/self/cgroup"),
    root: Path = Path("/sys/fs/cgroup"),
) -> int:
    """Bytes that this process may still use: the machine's free memory with swap, or what a container's limit leaves.

    On systems that do not report free memory (other than Linux), the total memory of the machine.
    """
    return min([_machine(meminfo), *_limits(groups, root)])


def require(num_bytes: int, what: str, advice: str) -> None:
    """Raise an error if `num_bytes` are not available; its message is "`what` need ...; `advice`".

    Raises: ValueError.
    """
    if num_bytes > (free := available()):
        raise ValueError(
            f"{what} need {format_bytes(num_bytes)} of memory, and {format_bytes(free)} are left; {advice}"
        )


def format_bytes(num_bytes: int) -> str:
    """A number of bytes in GiB, or in MiB below 1 GiB."""
    return f"{num_bytes / 2**20:,.1f} MiB" if num_bytes < 2**30 else f"{num_bytes / 2**30:,.1f} GiB"


def _machine(meminfo: Path) -> int:
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return sum(int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _limits(groups: Path, root: Path) -> list[int]:
    """The free memory of each control group of this process, for cgroups v1 and v2."""
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return []
    free = []
    for _, controllers, path in lines:
        if controllers == "":
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        parts = Path(path).parts[1:]
        for depth in range(len(parts) + 1):  # limits of parents apply as well; inside a container, most are not visible
            free += _free_in_group(base.joinpath(*parts[:depth]), *names)
    return free


def _free_in_group(group: Path, limit: str, usage: str, cache: str) -> list[int]:
    """The limit minus the memory in use, not counting the page cache; empty if there is no limit."""
    try:
        maximum, used = int((group / limit).read_text()), int((group / usage).read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # absent, or "max"
        return []
    return [max(0, maximum - used + int(statistics.get(cache, 0)))]
