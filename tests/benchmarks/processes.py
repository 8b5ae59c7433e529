"""This process and all below it: their ids, memory and CPU time. Imports nothing of the project."""

import os
from pathlib import Path


def tree() -> list[int]:
    """The ids of this process and of all below it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return found


def tree_memory() -> int:
    """Bytes of this process and all below it, pages that they share counted once (proportional set size)."""
    total = 0
    for process in tree():
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def tree_seconds() -> float:
    """CPU seconds of this process and all below it, with those that have ended."""
    total = 0
    for process in tree():
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")
