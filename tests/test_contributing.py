"""The examples of CONTRIBUTING.md: applied to a copy of the code as the page says, their tests pass there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("peers", "coordinator", "topologies")
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(python|diff)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ALL_KINDS = (  # these know none by name
    "tests/peers/base/test_section.py",
    "tests/peers/exchange/test_objectives.py",
    "tests/peers/attacks/test_attacks.py",
    "tests/peers/pooling/test_bounds.py",
)
PIECES = "huber or bipartite or unanimity or second or midrange"


def blocks() -> list[tuple[str, str, str]]:
    """Language, file and text of every example that is not commented out."""
    return BLOCK.findall(re.sub(r"<!--.*?-->", "", PAGE, flags=re.DOTALL))


def changed(text: str, diff: str) -> str:
    """The text with the lines of ` ` and `-`, which it must have once, replaced by those of ` ` and `+`."""
    lines = [(line[:1], line[1:] + "\n") for line in diff.splitlines()]
    assert {mark for mark, _ in lines} <= {" ", "-", "+"}
    old = "".join(line for mark, line in lines if mark != "+")
    assert text.count(old) == 1, f"CONTRIBUTING.md changes lines that the file does not have once:\n{old}"
    return text.replace(old, "".join(line for mark, line in lines if mark != "-"))


def applied(folder: Path) -> list[str]:
    """Copy the code and apply the page to it; gives the tests that the page adds."""
    for name in CODE:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    added = []
    for language, name, text in blocks():
        file = folder / name
        if name.startswith("tests/"):
            added.append(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif language == "diff":
            file.write_text(changed(file.read_text(encoding="utf-8"), text), encoding="utf-8")
        else:
            file.write_text(f"{file.read_text(encoding='utf-8')}\n\n{text}", encoding="utf-8")
    return added


def test_examples__their_tests_pass_and_tests_over_all_kinds_find_them(tmp_path: Path) -> None:
    added = applied(tmp_path)
    assert len(added) == 5
    for name in (*ALL_KINDS, "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-n", "0", "-p", "no:cacheprovider", "-k", PIECES, *added, *ALL_KINDS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    of_pages = ("test_huber__", "test_bipartite__", "test_unanimity__", "test_second_best__", "test_midrange__")
    of_all_kinds = (
        "vmap_over_students_equals_the_loop[huber]",
        "send_what_a_reader_accepts[True-second-best]",
        "keep_distributions[midrange]",
    )
    for name in (*of_pages, *of_all_kinds):
        assert re.search(re.escape(name) + r".* PASSED", done.stdout), name


def test_page__names_files_that_exist() -> None:
    named = re.findall(r"`((?:peers|coordinator|topologies|tests|\.ci)/[\w/.]+)`", PAGE)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert named and not missing


def test_changed__refuses_lines_that_are_not_there() -> None:
    assert changed("a\nb\nc\n", " b\n-c\n+d\n") == "a\nb\nd\n"
    with pytest.raises(AssertionError, match="does not have once"):
        changed("a\nb\n", " c\n+d\n")
