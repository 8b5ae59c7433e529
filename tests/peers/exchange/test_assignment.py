"""Links as columns: the same links, and the keys of the messages that they stand for."""

import pickle

import pytest

from peers.exchange.assignment import Assignment, Link, Links

FRESH = (Link(1, 0.25), Link(2, 0.75))
AGED = (Link(2, 0.5, age=1), Link(1, 0.25, age=2), Link(2, 0.25))


@pytest.mark.parametrize("rows", [(), FRESH, AGED])
def test_links__are_the_rows_they_were_made_of(rows: tuple[Link, ...]) -> None:
    links = Links.of(*rows)
    assert tuple(links) == rows and len(links) == len(rows)
    assert (links.ages is None) == (rows != AGED)
    assert pickle.loads(pickle.dumps(links)) == links


@pytest.mark.parametrize(
    ("rows", "keys"), [((), ()), (FRESH, ((1, 6), (2, 6))), (AGED, ((2, 5), (1, 4), (2, 6)))], ids=["none", "0", "ages"]
)
def test_message_keys__are_in_the_order_of_the_links(rows: tuple[Link, ...], keys: tuple[tuple[int, int], ...]) -> None:
    assignment = Assignment(6, 6, Links.of(*rows), teaches=False)
    assert assignment.message_keys == keys and assignment.studies == bool(rows)
    by_round = [(sender, sent_in) for sent_in, senders in assignment.senders_by_round() for sender in senders]
    assert sorted(by_round) == sorted(keys)
