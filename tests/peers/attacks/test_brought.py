"""Attacks of the user's own: what they get, and what is refused of what they return."""

import numpy as np
import pytest
import torch

from peers.attacks.brought import ImportedAttack
from peers.attacks.config import Scene
from peers.base.brought_errors import BroughtError


def scene(distribution: bool) -> Scene:
    messages = torch.softmax(torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)), dim=2)
    return Scene(messages[3], messages[:3], torch.full((3,), 0.25), messages[0], distribution, lies_weight=0.25)


def lie(target: str, distribution: bool) -> torch.Tensor:
    return ImportedAttack(target=target).lie(scene(distribution), np.random.default_rng(0))


def test_brought_attacks__get_what_the_liar_would_send_and_the_honest_messages() -> None:
    found = lie("peers.attacks.brought:negative_mean", True)
    torch.testing.assert_close(found, torch.softmax(-scene(True).honest.mean(dim=0), dim=1))


@pytest.mark.parametrize(
    ("target", "distribution", "message"),
    [
        ("torch:add", False, r"must return what is sent, of shape \(3, 5\), got torch.float32 of shape \(3, 3, 5\)"),
        ("builtins:isinstance", False, "raised TypeError"),
        ("peers.base.means:wide", False, r"must take \(own, honest\), but takes \(\w+\): change its arguments$"),
        ("operator:is_", False, "got a bool: keep samples and outputs$"),
    ],
)
def test_brought_attacks__that_send_something_else_are_told(target: str, distribution: bool, message: str) -> None:
    with pytest.raises(BroughtError, match=message) as refused:
        lie(target, distribution)
    assert str(refused.value).startswith(f"peers.adversaries.attack '{target}': ")


def test_brought_attacks__have_to_send_distributions_where_those_are_exchanged(tmp_path, monkeypatch) -> None:
    code = "def doubled(own, honest):\n    return 2 * own\ndef divided(own, honest):\n    return own / 0\n"
    (tmp_path / "lies_of_mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.testing.assert_close(lie("lies_of_mine:doubled", False), 2 * scene(False).own)
    with pytest.raises(BroughtError, match=r"must return distributions where exchange\.what is 'probabilities'"):
        lie("lies_of_mine:doubled", True)
    assert torch.isinf(lie("lies_of_mine:divided", True)).all()  # its students leave it out
