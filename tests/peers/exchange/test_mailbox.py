"""The mailbox: several rounds of one sender at once, and nothing that no student needs any more."""

import numpy as np
import pytest
import torch

from peers.exchange.assignment import Assignment, Link, Links
from peers.exchange.mailbox import Mailbox, check_senders
from peers.exchange.messages import Message
from peers.exchange.sums import Sum, SumWeights
from peers.exchange.wire import Wire

CPU = torch.device("cpu")


def message_of(sender: int, round_index: int) -> Message:
    """Its values tell which message it is."""
    return Message(sender, round_index, Wire(), 3, Wire().pack(torch.full((2, 3), 100.0 * sender + round_index)))


def learning(round_index: int, *links: Link) -> Assignment:
    return Assignment(round_index, round_index, Links.of(*links), teaches=False)


def held(mailbox: Mailbox, sender: int, rounds: range) -> list[int]:
    """The rounds of which the mailbox still has the sender's message."""

    def has(round_index: int) -> bool:
        try:
            mailbox.collect(learning(round_index, Link(sender, 1.0)))
        except ValueError:
            return False
        return True

    return [round_index for round_index in rounds if has(round_index)]


def test_collect__is_by_sender_and_round_whatever_came_last():
    mailbox = Mailbox(CPU)
    for round_index in (5, 3, 4):  # a later message does not shadow an older one, nor the other way round
        for sender in (1, 2):
            mailbox.put(message_of(sender, round_index), last_round=9)
    found = mailbox.collect(learning(5, Link(2, 0.5, age=1), Link(1, 0.25, age=2), Link(2, 0.25)))
    assert [mailbox.outputs(message)[0, 0].item() for message in found if isinstance(message, Message)] == [
        204.0,
        103.0,
        205.0,
    ]


def test_collect__names_what_is_missing():
    mailbox = Mailbox(CPU)
    mailbox.put(message_of(1, 4), last_round=5)
    with pytest.raises(
        ValueError, match=r"^round 5: no message has arrived of \(peer, round\) \[\(1, 3\), \(2, 5\)\]$"
    ):
        mailbox.collect(learning(5, Link(1, 0.2, age=1), Link(1, 0.4, age=2), Link(2, 0.4)))
    summed = Assignment(5, 5, Links(), teaches=True, sum_weights=SumWeights(0.0, 1.0, True))
    mailbox.put_sum(Sum(4, 1, np.zeros((2, 3))))
    with pytest.raises(ValueError, match="the sum of round 5 has not arrived"):
        mailbox.collect(summed)


def test_discard_through__what_no_later_round_needs_and_only_that():
    mailbox = Mailbox(CPU)
    for round_index in range(4):
        mailbox.put(message_of(1, round_index), last_round=round_index + 2)
        mailbox.put_sum(Sum(round_index, 0, None))
    mailbox.put(message_of(2, 7), last_round=7)  # for a round that is yet to come
    mailbox.discard_through(1)
    assert held(mailbox, 1, range(9)) == [0, 1, 2, 3]  # round 2 may need that of round 0
    mailbox.discard_through(3)
    assert held(mailbox, 1, range(9)) == [2, 3] and held(mailbox, 2, range(9)) == [7]
    mailbox.discard_through(6)
    assert held(mailbox, 1, range(9)) == [] and len(mailbox) == 1
    mailbox.discard_through(7)
    assert len(mailbox) == 0


def test_discard_through__not_before_the_latest_round_that_a_message_was_put_in_for():
    for last_rounds in ((5, 7), (7, 5), (5, 7, 7)):
        mailbox = Mailbox(CPU)
        for last_round in last_rounds:
            mailbox.put(message_of(1, 4), last_round)
        mailbox.discard_through(6)
        assert held(mailbox, 1, range(9)) == [4], last_rounds
        mailbox.discard_through(7)
        assert len(mailbox) == 0, last_rounds
        mailbox.put(message_of(1, 4), 9)  # nothing is left of the earlier times
        mailbox.discard_through(8)
        assert held(mailbox, 1, range(9)) == [4], last_rounds


def test_remember__expires_with_the_round_if_the_message_never_comes():
    mailbox = Mailbox(CPU)
    for round_index in range(50):
        mailbox.remember((1, round_index), torch.zeros(2, 3))
        mailbox.discard_through(round_index - 1)
        assert len(mailbox._outputs) == 1
    mailbox.put(message_of(1, 49), last_round=51)  # now as long as the message
    known = mailbox.outputs(message_of(1, 49))
    mailbox.discard_through(50)
    assert mailbox.outputs(message_of(1, 49)) is known
    mailbox.discard_through(51)
    assert not mailbox._outputs and not mailbox._expiry and not mailbox._last_rounds


def test_outputs__decoded_once_until_discarded():
    mailbox = Mailbox(CPU)
    first, again = message_of(1, 0), message_of(1, 0)
    mailbox.put(first, last_round=0)
    assert mailbox.outputs(first) is mailbox.outputs(first)
    before = mailbox.outputs(first)
    mailbox.discard_through(0)
    mailbox.put(again, last_round=0)
    assert mailbox.outputs(again) is not before
    known = torch.zeros(2, 3)
    mailbox.remember((1, 8), known)
    mailbox.put(message_of(1, 8), last_round=8)
    assert mailbox.outputs(message_of(1, 8)) is known


def test_memory__is_bounded_by_what_students_may_still_need():
    mailbox = Mailbox(CPU)
    sizes = []
    for round_index in range(200):
        mailbox.put(message_of(1, round_index), last_round=round_index + 3)
        mailbox.outputs(message_of(1, round_index))
        mailbox.put_sum(Sum(round_index, 0, None))
        mailbox.discard_through(round_index)
        sizes.append(sum(map(len, (mailbox._messages, mailbox._outputs, mailbox._sums, mailbox._expiry))))
    assert sizes[3:] == [9] * 197  # three messages, decoded, with their three entries in the heap


@pytest.mark.parametrize(
    ("links", "keys"),
    [
        ((Link(1, 0.5), Link(2, 0.5)), ((2, 6), (1, 6))),
        ((Link(1, 0.5), Link(2, 0.5)), ((1, 6),)),
        ((Link(1, 1.0, age=1),), ((1, 6),)),
        ((Link(1, 1.0, age=1),), ((1, 4),)),
        ((Link(1, 1.0, age=1),), ((2, 5),)),
        ((Link(1, 0.5, age=1), Link(1, 0.5)), ((1, 6), (1, 5))),
    ],
)
def test_check_senders__refuses_another_sender_round_order_or_number(
    links: tuple[Link, ...], keys: tuple[tuple[int, int], ...]
):
    with pytest.raises(ValueError, match=r"^peer 0 learns from \(peer, round\) \["):
        check_senders(0, learning(6, *links), [message_of(*key) for key in keys])


def test_check_senders__takes_messages_as_old_as_their_links_say():
    links = (Link(1, 0.25, age=1), Link(2, 0.25), Link(1, 0.5, age=6))
    check_senders(0, learning(6, *links), [message_of(1, 5), message_of(2, 6), message_of(1, 0)])
    summed = Assignment(6, 6, Links(), teaches=True, sum_weights=SumWeights(0.0, 1.0, True))
    check_senders(0, summed, [Sum(6, 0, None)])
    with pytest.raises(ValueError, match=r"\[\('sum', 6\)\], got messages of \[\('sum', 5\)\]"):
        check_senders(0, summed, [Sum(5, 0, None)])


def test_keep__a_message_stays_until_it_is_released_whatever_rounds_pass():
    mailbox, message = Mailbox(torch.device("cpu")), message_of(1, 3)
    mailbox.remember((1, 3), torch.zeros(2, 3), kept=True)
    mailbox.keep(message)
    mailbox.put(message_of(2, 3), 3)
    mailbox.discard_through(50)
    assert mailbox.find((1, 3)) is message and mailbox.find((2, 3)) is None and len(mailbox) == 1
    assert torch.equal(mailbox.outputs(message), torch.zeros(2, 3))
    mailbox.release((1, 3))
    mailbox.release((1, 3))  # what is not held is passed over
    assert mailbox.find((1, 3)) is None and len(mailbox) == 0 and not mailbox._outputs
