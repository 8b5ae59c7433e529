from pathlib import Path

import pytest

from peers.base import memory

GIB = 2**30


def machine(path: Path, left: int) -> Path:
    file = path / "meminfo"
    file.write_text(f"MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable: {left // 1024} kB\nSwapFree:  1024 kB\n")
    return file


def group(path: Path, names: tuple[str, str, str], limit: str, usage: int, cache: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / names[0]).write_text(limit + "\n")
    (path / names[1]).write_text(f"{usage}\n")
    (path / "memory.stat").write_text(f"anon 5\n{names[2]} {cache}\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def test_available__what_the_machine_has_left(tmp_path: Path) -> None:
    assert memory.available(machine(tmp_path, 8 * GIB), tmp_path / "none") == 8 * GIB + 2**20
    assert memory.available(tmp_path / "none", tmp_path / "none") > 2**28  # all of it, where the system does not tell


@pytest.mark.parametrize(("names", "line", "base"), [(V2, "0::/job/step", ""), (V1, "9:memory:/job/step", "memory")])
def test_available__the_tightest_of_all_limits(
    tmp_path: Path, names: tuple[str, str, str], line: str, base: str
) -> None:
    (tmp_path / "cgroup").write_text(f"3:cpu,cpuacct:/elsewhere\n{line}\n")
    unlimited = "max" if names == V2 else str(2**63 - 4096)
    group(tmp_path / "sys" / base / "job" / "step", names, unlimited, 2 * GIB, 0)
    group(tmp_path / "sys" / base / "job", names, str(4 * GIB), 3 * GIB, GIB // 2)  # the page cache can be given back
    arguments = tmp_path / "cgroup", tmp_path / "sys"
    assert memory.available(machine(tmp_path, 8 * GIB), *arguments) == GIB + GIB // 2
    assert memory.available(machine(tmp_path, GIB), *arguments) == GIB + 2**20
    (tmp_path / "cgroup").write_text(line.replace("/job/step", "/unseen/from/a/container") + "\n")
    group(tmp_path / "sys" / base, names, str(3 * GIB), GIB, 0)
    assert memory.available(machine(tmp_path, 8 * GIB), *arguments) == 2 * GIB


def test_require__says_what_is_needed_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 3 * GIB)
    memory.require(3 * GIB, "data: this", "do that")
    with pytest.raises(ValueError, match=r"^data: this need 2,000\.0 GiB of memory, and 3\.0 GiB are left; do that$"):
        memory.require(2000 * GIB, "data: this", "do that")
