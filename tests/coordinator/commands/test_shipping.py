import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator.commands import submit
from coordinator.commands.shipping import NOT_SHIPPED, check_shipped
from coordinator.experiment.config import ConfigError

Cli = Callable[..., tuple[Any, str, str]]


def refusal(folder: Path, **needed: str) -> str:
    """The one line with which the folder is refused."""
    with pytest.raises(ConfigError) as error:
        check_shipped(folder, {name: folder / path for name, path in needed.items()})
    assert "\n" not in str(error.value)
    return str(error.value)


def test_check_shipped__is_what_ray_packs(tmp_path: Path) -> None:
    """Every file that Ray's own packing takes is found shipped, and no other one."""
    from ray._private.runtime_env.packaging import _zip_files

    for name in (
        ".git/a",
        "runs/a",
        "data/a",
        "sub/data/a",
        "sub/runs/a",
        "a.txt",
        "sub/b.csv",
        "ignored/a",
        "sub/c.log",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".gitignore").write_text("ignored/\n")
    (tmp_path / "sub" / ".rayignore").write_text("*.log\n")
    (tmp_path / "link").symlink_to("sub")
    (tmp_path / "nowhere").symlink_to("gone")
    _zip_files(str(tmp_path), list(NOT_SHIPPED), str(tmp_path.parent / "p.zip"), include_gitignore=True)
    import zipfile

    packed = {name.rstrip("/") for name in zipfile.ZipFile(tmp_path.parent / "p.zip").namelist()}
    files = {each for root, _, names in os.walk(tmp_path, followlinks=True) for each in (Path(root, n) for n in names)}
    for path in (each for each in files if each.exists()):
        name = path.relative_to(tmp_path).as_posix()
        if name in packed:
            check_shipped(tmp_path, {"config": path})
        else:
            assert refusal(tmp_path, config=name).startswith(f"config: '{name}' is not sent to the cluster, which gets")
    assert packed >= {"a.txt", "sub/data/a", "link/b.csv"} and not packed & {"ignored/a", "sub/c.log", "data/a"}


def test_check_shipped__a_folder_of_which_a_file_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.parquet", "b.parquet"):
        (tmp_path / "images" / name).write_text("x")
    check_shipped(tmp_path, {"data.path": tmp_path / "images"})
    (tmp_path / ".rayignore").write_text("b.*\n")
    assert refusal(tmp_path, **{"data.path": "images"}).startswith("data.path: 'images/b.parquet' is not sent to the")


def test_check_shipped__what_packing_would_wait_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("sub/s")
        os.mkfifo("sub/f")
        Path("sub/z").symlink_to("/dev/zero")
        for name in ("f", "s", "z"):
            line = f"submit: '{tmp_path}/sub/{name}' is no file, but a pipe, a socket or a device, and cannot be sent: "
            assert refusal(tmp_path).startswith(line)
            with (tmp_path / ".rayignore").open("a") as ignored:
                ignored.write(f"/sub/{name}\n")
    check_shipped(tmp_path, {})


def test_check_shipped__a_name_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9").write_text("x")
    assert refusal(tmp_path) == (
        f"submit: the name '{tmp_path}/caf\\udce9' is not text in UTF-8: rename it, or remove it"
    )


def test_check_shipped__links_that_lead_back(tmp_path: Path) -> None:
    (tmp_path / "itself").symlink_to("itself")
    check_shipped(tmp_path, {})  # one to nothing, which is left out
    for folder, other in (("p", "q"), ("q", "p")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").symlink_to(f"../{other}")
    assert "is a link that leads back to one above it" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_check_shipped__what_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0)
    assert "secret' cannot be read (Permission denied), and cannot be sent" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["runs/a.toml"], "config: 'runs/a.toml' is not sent to the cluster, which gets the current folder without "),
        (["secret/b.toml"], "config: 'secret/b.toml' is not sent to the cluster, which gets the current folder "),
        (["tiny.toml", "topology={kind='file',path='data/e.csv'}"], "topology.path: 'data/e.csv' is not sent to the "),
        (["tiny.toml", "topology={kind='file',path='e.csv'}"], "topology.path: 'e.csv' is not in the current folder: "),
        (["tiny.toml", "data={kind='mnist'}"], "data.root: 'data/e.csv' is not sent to the cluster"),
        (["tiny.toml", "data={kind='mnist',root='../x'}"], "data.root: '"),
        (
            ["tiny.toml", "data={kind='image-folder',path='data'}"],
            "data.path: 'data/e.csv' is not sent to the cluster",
        ),
        (
            ["tiny.toml", "checkpoint.path=c"],
            "checkpoint.path: 'c' would lie in the job's own folder, which is thrown ",
        ),
        (["tiny.toml", "--output", "runs"], "--output: must be a folder of the cluster, from / or ~/, got 'runs': "),
    ],
)
def test_submit__what_the_job_would_not_have(
    arguments: list[str], line: str, cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("runs/a.toml", "secret/b.toml", "data/e.csv"):
        Path(name).parent.mkdir()
        Path(name).write_text(tiny.read_text())
    Path(".gitignore").write_text("secret\n")
    monkeypatch.setattr(submit, "connect", lambda address: pytest.fail("asked before all was checked"))
    code, _, err = cli("submit", *arguments)
    assert code == 2 and err.count("\n") == 1 and err.startswith(f"error: {line}"), err


def test_submit__paths_of_the_cluster_are_its_own_matter(cli: Cli, tiny: Path) -> None:
    for data in ("{kind='mnist',root='/there'}", "{kind='mnist',root='~/there'}", "{kind='mnist',download=true}"):
        code, _, err = cli("submit", "tiny.toml", f"data={data}", "--address", "http://127.0.0.1:9")
        assert code == 2 and err.startswith("error: --address: no Ray dashboard answers at 'http://127.0.0.1:9'"), err
