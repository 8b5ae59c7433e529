"""What the tests of several files of topologies share."""

import re
from collections.abc import Callable

import pytest


@pytest.fixture
def refusal() -> Callable[..., str]:
    """Call something with arguments that it refuses; gives the message: one line of field, rule, value, advice."""

    def refused(family: object, *arguments: object) -> str:
        assert callable(family)
        with pytest.raises(ValueError) as caught:
            family(*arguments)
        message = str(caught.value)
        assert "\n" not in message and re.match(r"(topology\.\w+|peers\.count): .*; ", message)
        return message

    return refused


@pytest.fixture
def told() -> Callable[..., str]:
    """Call something with arguments that it refuses; gives the message: one line of field, rule, value, advice."""

    def refused(function: Callable[..., object], *arguments: object, **named: object) -> str:
        with pytest.raises(ValueError) as caught:
            function(*arguments, **named)
        message = str(caught.value)
        assert "\n" not in message and re.match(r"network\.[^:]+: .+; .+", message), message
        return message

    return refused
