"""Messages that bring weights: without ages they teach what outputs would, to the bit; with ages, the older network."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from peers.exchange.assignment import Link, Links, Study
from peers.exchange.messages import Message
from peers.hosting.host import PeerHost
from peers.learning.checkpoint_messages import checkpoint_bytes
from peers.learning.settings import Execution, initial_network
from tests.peers.hosting.test_step import (
    COUNT,
    DATASET,
    EXECUTIONS,
    FEW,
    VARIANTS,
    advance_all,
    hosts_of,
    named,
    open_part,
    settings_of,
    step_all,
)


class Noisy(torch.nn.Module):
    """Draws in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(self.layer(images.flatten(1)), 0.3)


@pytest.mark.parametrize(
    ("run", "changes"),
    [(advance_all if number % 2 else step_all, changes) for number, changes in enumerate(VARIANTS)],
    ids=lambda value: named(value) if isinstance(value, dict) else value.__name__,
)
def test_checkpoint__teaches_what_outputs_would_to_the_bit(run: Any, changes: dict[str, Any]):
    own = 0.25
    settings = settings_of(**changes)
    digests, outputs = run("loop", settings, own)
    same, weights = run("loop", [replace(each, message="checkpoint") for each in settings], own)
    assert same == digests
    for one, other in zip(outputs, weights, strict=True):
        assert [each[:2] for each in one] == [each[:2] for each in other]
    sizes = [checkpoint_bytes(initial_network(each, DATASET.shape)) for each in settings]
    assert [each[2] for each in weights[0]] == sizes


@pytest.mark.parametrize("changes", FEW[:3], ids=named)
def test_checkpoint__stacked_peers_learn_what_the_loop_does(changes: dict[str, Any]):
    settings = [replace(each, message="checkpoint") for each in settings_of(**changes)]
    _, loop = step_all("loop", settings, 0.25)
    _, stacked = step_all("vectorised", settings, 0.25)
    for one, other in zip(loop, stacked, strict=True):
        assert np.allclose([each[0] for each in one], [each[0] for each in other], rtol=1e-4)


def test_checkpoint__a_network_that_draws_draws_as_its_sender_did():
    """Dropout's mask depends on the sender and on its message."""
    settings = settings_of(peers={"model": {"kind": "import", "target": f"{__name__}:Noisy"}})
    digests, _ = step_all("loop", settings, 0.0)
    assert step_all("loop", [replace(each, message="checkpoint") for each in settings], 0.0)[0] == digests


def published(execution: Execution, **changes: Any) -> tuple[PeerHost, Message]:
    (host,) = hosts_of(execution, settings_of(message="checkpoint", **changes))
    bundle, _ = host.publish({peer: open_part(1) for peer in range(COUNT)})
    message = bundle[1]
    assert isinstance(message, Message) and message.sender == 1
    return host, message


@pytest.mark.parametrize("flaw", ["other network", "outputs", "not finite", "missing"])
def test_checkpoint__refuses_weights_that_do_not_fit(flaw: str):
    (host,) = hosts_of("loop", settings_of(5, message="checkpoint")[:2], 2)
    host.publish({0: open_part(1)})
    _, message = published("loop")
    assert message.payload is not None
    parts = [part.copy() for part in message.payload]
    parts[0].flat[0] = np.nan
    changed, words = {
        "other network": (replace(message, sender=3, payload=message.payload[1:]), "weights of another network"),
        "outputs": (replace(message, sender=3, checkpoint=False), "has outputs, not weights"),
        "not finite": (replace(message, sender=3, payload=tuple(parts)), "values that are not finite"),
        "missing": (message, "no message has arrived"),
    }[flaw]
    with pytest.raises(ValueError, match=words):
        host.step({0: Study(1, Links((3,), (1.0,)))}, {}, (changed,))
    (plain,) = hosts_of("loop", settings_of(5)[:2], 2)
    plain.publish({0: open_part(1)})
    with pytest.raises(ValueError, match="has weights, not outputs"):
        plain.step({0: Study(1, Links((3,), (1.0,)))}, {}, (replace(message, sender=3),))


@EXECUTIONS
def test_checkpoint__of_a_teacher_that_dropped_out_is_a_notice(execution: Execution):
    (host,) = hosts_of(execution, settings_of(message="checkpoint"))
    with torch.no_grad():
        host.peers[1].network.head.bias.fill_(float("inf"))
    bundle, _ = host.publish({peer: open_part(1) for peer in range(COUNT)})
    assert [message.is_dropout_notice for message in bundle if isinstance(message, Message)] == [
        False,
        True,
        False,
        False,
    ]
    _, stats = host.step({0: Study(1, Links.of(Link(1, 1.0))), 2: Study(1, Links.of(Link(1, 0.5), Link(3, 0.5)))}, {})
    assert stats[0].loss is None and stats[2].loss is not None
