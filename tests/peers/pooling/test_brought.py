"""Rules of the user's own: what they get, and what is refused of what they return."""

import pytest
import torch
from torch import Tensor

from peers.base.brought_errors import BroughtError
from peers.pooling.brought import GivenAggregation, ImportedAggregation

STACK = torch.softmax(torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)), dim=2)
WEIGHTS = torch.tensor([0.1, 0.2, 0.3, 0.4])


def largest_weight(own: Tensor, messages: Tensor, weights: Tensor) -> Tensor:
    return messages[weights.argmax()]


def far_below(own: Tensor, messages: Tensor, weights: Tensor) -> Tensor:
    messages.zero_()
    return own - 0.3


def test_brought_rules__get_messages_and_weights_and_count_each_as_used() -> None:
    found = GivenAggregation.of(largest_weight).pool(STACK[0], STACK, WEIGHTS, True)
    torch.testing.assert_close(found.outputs, STACK[3])
    torch.testing.assert_close(found.used, WEIGHTS)


def test_brought_rules__leave_messages_alone_and_are_brought_back_to_distributions() -> None:
    before = STACK.clone()
    found = GivenAggregation.of(far_below).pool(STACK[0], STACK, WEIGHTS, True)
    expected = (STACK[0] - 0.3).clamp_min(0)
    torch.testing.assert_close(found.outputs.sum(dim=1), torch.ones(3))
    assert torch.equal(STACK, before)
    rows = expected.sum(dim=1) > 0
    torch.testing.assert_close(found.outputs[rows], expected[rows] / expected[rows].sum(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("builtins:max", r"raised RuntimeError: Boolean value of Tensor"),
        ("peers.base.means:wide", r"must take \(own, messages, weights\), but takes \(\w+\): change its arguments$"),
        ("torch.nn:ReLU", r"must take \(own, messages, weights\), but takes \(input\)"),
        ("torch:cdist", r"raised "),
    ],
)
def test_brought_rules__that_raise_are_told_by_name(target: str, message: str) -> None:
    with pytest.raises(BroughtError, match=rf"^exchange\.aggregation '{target}': {message}"):
        ImportedAggregation(target=target).pool(STACK[0], STACK, WEIGHTS, False)


def one_row(own: Tensor, messages: Tensor, weights: Tensor) -> Tensor:
    return messages[0, 0]


def not_a_number(own: Tensor, messages: Tensor, weights: Tensor) -> Tensor:
    return own / 0 * 0


def a_list(own: Tensor, messages: Tensor, weights: Tensor) -> list[Tensor]:
    return list(messages)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            one_row,
            r"must return the pooled outputs, of shape \(3, 5\), got torch.float32 of shape \(5,\): keep samples",
        ),
        (a_list, r"must return the pooled outputs, of shape \(3, 5\), got a list: keep samples and outputs$"),
        (not_a_number, r"must return finite numbers, got NaN or infinite ones: guard divisions and logarithms$"),
    ],
)
def test_brought_rules__that_return_something_else_are_told(rule: object, message: str) -> None:
    with pytest.raises(BroughtError, match=message):
        GivenAggregation.of(rule).pool(STACK[0], STACK, WEIGHTS, False)
