"""Which code is the user's, by the place of its file."""

import json
from pathlib import Path

import pytest
import torch
from beartype import beartype

from peers.base.own_code import is_own, is_own_file


def test_is_own_file__folders_of_installers_are_not_the_users_wherever_they_are(tmp_path: Path) -> None:
    assert is_own_file(str(tmp_path / "mine.py"))
    assert not is_own_file(str(tmp_path / "opt" / "torch" / "lib" / "site-packages" / "torch" / "nn.py"))
    assert not is_own_file(str(tmp_path / "usr" / "lib" / "python3" / "dist-packages" / "torch.py"))
    assert not is_own_file(json.__file__) and not is_own_file(str(torch.__file__))


def test_is_own_file__what_checks_a_functions_types_is_not_the_users() -> None:
    """So that an error in a function that is decorated so is told with the user's lines alone."""

    @beartype
    def divided(by: int) -> float:
        return 1 / by

    with pytest.raises(ZeroDivisionError) as error:
        divided(0)
    names = {frame.frame.code.path for frame in error.traceback}
    assert {name for name in map(str, names) if is_own_file(name)} == {__file__} and len(names) == 2


def test_is_own__scripts_and_notebooks_are() -> None:
    assert is_own("__main__") and not is_own("torch.nn") and not is_own("peers.base.own_code")
