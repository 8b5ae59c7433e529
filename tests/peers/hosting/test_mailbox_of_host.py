"""Messages in a host, in the loop and vectorised: their ages, what is kept of them, and what comes from elsewhere."""

from itertools import pairwise

import pytest
import torch

from peers.data.config import Synthetic
from peers.data.datasets import channel_statistics
from peers.exchange.assignment import Assignment, Link, Links, Stats
from peers.exchange.config import ExchangeConfig
from peers.exchange.losses import MSE
from peers.exchange.messages import Message
from peers.exchange.targets import PlainTarget
from peers.exchange.wire import Wire
from peers.hosting.host import PeerHost
from peers.learning.settings import Execution, PeerSettings
from peers.networks.config import PeersConfig
from peers.networks.optimizers import SGD
from peers.networks.variants import MLP, LinearHead
from peers.probing.config import ProbeConfig

DATA = Synthetic(num_train=64, num_test=40, batch_size=16)
DATASET = DATA.load(0)
EXECUTIONS = pytest.mark.parametrize("execution", ["loop", "vectorised"])
COUNT, ROUNDS = 3, 12


def host_of(execution: Execution) -> PeerHost:
    peers = PeersConfig(count=COUNT, model=MLP(hidden=(12,)), head=LinearHead(dim=5), optimizer=SGD(lr=0.1))
    exchange = ExchangeConfig(target=PlainTarget(), loss=MSE())
    probes, statistics = ProbeConfig(probe_batch=16), channel_statistics(DATASET.train_images)
    settings = [PeerSettings(peer, 7, 20, peers, exchange, DATA, probes, statistics) for peer in range(COUNT)]
    host = PeerHost()
    host.open(settings, DATASET, 1, execution)
    return host


def ring(round_index: int, age: int, kept_for: int, late: bool = False) -> dict[int, Assignment]:
    """Everybody learns from the next peer, by a message of that age as soon as there is any; late: on its batch."""
    age = min(age, round_index)
    return {
        peer: Assignment(
            round_index,
            round_index - age if late else round_index,
            Links.of(Link((peer + 1) % COUNT, 1.0, age)),
            teaches=True,
            kept_for=kept_for,
        )
        for peer in range(COUNT)
    }


def run(execution: Execution, age: int, kept_for: int, late: bool = False) -> tuple[list[dict[int, Stats]], list[int]]:
    """The stats of each round, and how many messages were held after it."""
    host, stats, held = host_of(execution), [], []
    host.publish(ring(0, age, kept_for, late))
    for round_index in range(ROUNDS):
        stats.append(host.advance(round_index, ring(round_index + 1, age, kept_for, late))[1])
        held.append(len(host.mailbox))
    return stats, held


@EXECUTIONS
@pytest.mark.parametrize("kept_for", [0, 1, 3])
def test_host__holds_the_rounds_that_its_students_may_need_and_no_more(execution: Execution, kept_for: int):
    _, held = run(execution, age=kept_for, kept_for=kept_for)
    rounds = [min(round_index + 1, kept_for) + 1 for round_index in range(ROUNDS)]  # with the round to come
    assert held == [COUNT * each for each in rounds]


@EXECUTIONS
def test_host__a_message_that_was_not_kept_long_enough_is_missed(execution: Execution):
    with pytest.raises(ValueError, match=r"^round 2: no message has arrived of \(peer, round\) \[\(1, 0\)\]"):
        run(execution, age=2, kept_for=1)


@pytest.mark.parametrize("late", [False, True])
def test_ages__mean_the_same_in_the_loop_and_vectorised(late: bool):
    losses = {
        (execution, age): [
            stats.loss for round_stats in run(execution, age, age, late)[0] for stats in round_stats.values()
        ]
        for execution in ("loop", "vectorised")
        for age in (0, 1, 2)
    }
    for age in (0, 1, 2):
        assert losses["vectorised", age] == pytest.approx(losses["loop", age], rel=1e-5)
    for one, other in pairwise((0, 1, 2)):
        assert losses["loop", one] != pytest.approx(losses["loop", other], rel=1e-3)


def remote_message(sender: int, round_index: int, value: float) -> Message:
    return Message(sender, round_index, Wire(), 5, Wire().pack(torch.full((16, 5), value)))


@EXECUTIONS
def test_host__picks_what_it_needs_from_bundles_whatever_their_order(execution: Execution):
    """Beside an older and a newer message of the teacher, and one that is for others; none of them stays."""
    digests = []
    needed, older, newer = remote_message(9, 2, 0.5), remote_message(9, 1, 50.0), remote_message(9, 3, -50.0)
    for_others = remote_message(8, 2, 7.0)
    part = {peer: Assignment(3, 2, Links.of(Link(9, 1.0, age=1)), teaches=False) for peer in range(COUNT)}
    for arrived in (((needed,),), ((older, for_others, needed), (newer,)), ((newer,), (needed, older))):
        host = host_of(execution)
        host.publish(part)
        stats = host.advance(3, dict.fromkeys(part), *arrived)[1]
        assert stats[0].loss is not None and len(host.mailbox) == 0
        digests.append(host.digest())
    assert digests[0] == digests[1] == digests[2]


@EXECUTIONS
def test_host__refuses_a_needed_message_that_is_malformed(execution: Execution):
    host = host_of(execution)
    part = {peer: Assignment(3, 3, Links.of(Link(9, 1.0)), teaches=False) for peer in range(COUNT)}
    host.publish(part)
    with pytest.raises(ValueError, match="message of peer 9 for round 3 has values that are not finite"):
        host.advance(3, dict.fromkeys(part), (remote_message(9, 3, float("nan")),))
