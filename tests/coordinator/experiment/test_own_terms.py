"""The plan of runs in which peers learn terms of their own: who learns from itself, sizes, and memory."""

from typing import Any

import networkx
import pytest

from coordinator.experiment.config import RunConfig
from coordinator.planning.plan import prepare
from coordinator.planning.schedules import build_schedule
from peers.learning.control import Control
from topologies.round import Edge

PRIVATE = {"partition": {"kind": "iid"}, "public": {"kind": "share", "share": 0.5}, "private_batch_size": 4}


def config_of(small: dict[str, Any], **sections: Any) -> RunConfig:
    """Peer 0 teaches 1 and 2, and nobody teaches it."""
    merged = {name: {**small.get(name, {}), **values} for name, values in sections.items()}
    merged.setdefault("topology", {"kind": "import", "target": "tests.coordinator.experiment.test_own_terms:hub"})
    return RunConfig.model_validate({**small, **merged})


def hub(num_peers: int) -> Any:
    return networkx.DiGraph([(0, peer) for peer in range(1, num_peers)])


TAUGHT = ((Edge(0, 1.0),), (Edge(0, 1.0),))


@pytest.mark.parametrize(
    ("sections", "alone"),
    [
        ({}, ()),
        ({"exchange": {"supervised": 1.0}}, ()),
        ({"exchange": {"target_self_share": 0.5}}, ()),
        ({"exchange": {"self_loss": 0.5}}, (Edge(0, 1.0),)),
        ({"exchange": {"supervised": 1.0}, "data": PRIVATE}, (Edge(0, 1.0),)),
        ({"exchange": {"self_loss": 0.5}, "peers": {"frozen": [0]}}, ()),
    ],
    ids=["none", "labels of all", "a share of the target", "self-loss", "labels of its own", "frozen"],
)
def test_schedule__a_peer_without_teachers_learns_its_own_terms(small: dict[str, Any], sections: Any, alone: Any):
    """Labels that all peers share teach only whom somebody teaches, as ever."""
    config = config_of(small, **sections)
    assert build_schedule(config)(3).incoming == (alone, *TAUGHT)
    others = [(Edge(peer, 1.0),) for peer in (1, 2)]
    assert build_schedule(config, Control.ALONE)(3).incoming == (alone, *others)


@pytest.mark.filterwarnings("ignore:exchange.self_loss compares two views")
def test_facts__are_of_the_links_between_peers(small: dict[str, Any]):
    plain, own = (prepare(config_of(small, exchange={"self_loss": loss, "views": 2})) for loss in (0.0, 1.0))
    assert plain.facts == own.facts and own.facts.messages_per_round == 2
    assert own.schedule(0).students == (0, 1, 2) and plain.schedule(0).students == (1, 2)


@pytest.mark.filterwarnings("ignore:exchange.self_loss compares two views")
def test_plan__two_views_double_messages_and_activations(small: dict[str, Any]):
    one, two = (prepare(config_of(small, exchange={"views": views})) for views in (1, 2))
    assert two.message_bytes == 2 * one.message_bytes
    (single,), (double,) = one.groups, two.groups
    assert double.activation_bytes == pytest.approx(2 * single.activation_bytes, rel=0.02)
    assert double.state_bytes == single.state_bytes
    private = prepare(config_of(small, exchange={"self_loss": 1.0}, data=PRIVATE))
    assert private.message_bytes == two.message_bytes  # private batches are not sent
    assert private.groups[0].activation_bytes == pytest.approx(2.8 * single.activation_bytes, rel=0.02)


def test_plan__warns_of_two_views_that_are_equal(small: dict[str, Any]):
    line = r"exchange.self_loss compares two views of each image, but peers.groups\[1\].view draws nothing at random"
    groups = [{"count": 2, "view": ["crop"]}, {"count": 1, "view": ["left"]}]
    with pytest.warns(UserWarning, match=line):
        prepare(config_of(small, peers={"groups": groups}, exchange={"self_loss": 1.0}))
    names = [{"name": name, "count": count, "view": [name]} for name, count in (("left", 2), ("right", 1))]
    both = r"but peers.groups\[0\].view \('left'\) and peers.groups\[1\].view \('right'\) draw nothing at random"
    with pytest.warns(UserWarning, match=both):
        prepare(config_of(small, peers={"groups": names}, exchange={"self_loss": 1.0}))
    with pytest.warns(UserWarning, match=r"exchange.target_self_share compares two views .*, but peers.view draws"):
        prepare(config_of(small, exchange={"target_self_share": 0.5}))
