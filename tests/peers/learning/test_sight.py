"""What peers see of a batch: the same wherever it is computed, their own views, and their private batches."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from coordinator.planning.plan import peer_settings, prepare
from peers.data.datasets import Dataset
from peers.data.examples import Examples
from peers.learning.control import Control
from peers.learning.settings import PeerSettings
from peers.learning.sight import Sight
from tests.peers.learning.test_terms import BATCH, PRIVATE, config_of

CROP = {"kind": "crop", "padding": 2}


def made(control: Control | None = None, **sections: Any) -> tuple[list[PeerSettings], Dataset]:
    config = config_of(**sections)
    plan = prepare(config)
    return peer_settings(config, plan.dataset, control), plan.dataset


def test_sight__of_peers_without_views_is_the_runs_batch():
    """Bit by bit; with two views, twice the same."""
    for views in (1, 2):
        peers = {"groups": [{"count": 4, "view": []}]}
        settings, dataset = made(peers=peers, data={"flip": True}, exchange={"views": views})
        images, labels = settings[0].batches(dataset)(7)
        for sight in (Sight(settings, dataset), Sight(settings[2:3], dataset)):
            assert sight.common and sight.private(7, 2) is None
            seen, told = sight(7, 2)
            assert torch.equal(seen, torch.cat([images] * views)) and torch.equal(told, labels.repeat(views))
            assert torch.equal(sight.labels(7), told) and sight.together(7, [2, 3])[0] is seen


def test_sight__a_view_that_changes_nothing_is_the_same_as_none():
    """The path of views and private data gives the bits of the plain one."""
    nothing = {"kind": "import", "target": "tests.peers.learning.test_sight:unchanged"}
    settings, dataset = made(peers={"groups": [{"count": 4, "view": [nothing]}]}, data={"flip": True})
    plain, seen = settings[0].batches(dataset)(3), Sight(settings, dataset)(3, 1)
    assert torch.equal(seen[0], plain[0]) and torch.equal(seen[1], plain[1])


def unchanged(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    return images


@pytest.mark.parametrize("data", [{}, PRIVATE], ids=["all hold all", "private"])
def test_sight__is_a_function_of_seed_round_and_peer(data: dict[str, Any]):
    """Whatever other peers are in the process, and in whatever order it is asked."""
    kinds = [
        {"count": 2, "view": ["top", CROP]},
        {"count": 2, "view": ["bottom", CROP]},
    ]  # halves that flips leave whole
    settings, dataset = made(peers={"groups": kinds}, data={**data, "flip": True}, exchange={"self_loss": 1.0})
    everybody = Sight(settings, dataset)
    first = {(batch, peer): everybody(batch, peer)[0] for batch in (0, 1, 5) for peer in range(4)}
    for peer in (3, 0, 2, 1):
        alone = Sight(settings[peer : peer + 1], dataset)
        for batch in (5, 0, 1):
            assert torch.equal(alone(batch, peer)[0], first[batch, peer])
            own, again = alone.private(batch, peer), everybody.private(batch, peer)
            assert (own is None) == (not data) == (again is None)
            assert own is None or again is None or (torch.equal(own[0], again[0]) and torch.equal(own[1], again[1]))
    assert not torch.equal(first[0, 0], first[0, 1]) and not torch.equal(first[0, 0], first[1, 0])
    stacked, labels = everybody.together(5, [1, 3])
    assert torch.equal(stacked, torch.stack([first[5, 1], first[5, 3]])) and torch.equal(labels, everybody.labels(5))


def test_sight__two_views_are_two_draws_of_the_same_images():
    kinds = [{"count": 4, "view": [CROP]}]
    settings, dataset = made(peers={"groups": kinds}, exchange={"views": 2}, data={"batch_size": 64})
    images, labels = Sight(settings, dataset)(0, 0)
    first, second = images.chunk(2)
    assert not torch.equal(first, second) and torch.equal(*labels.chunk(2))
    view, (mean, std) = settings[0].view, settings[0].normalisation
    raw, _ = Sight(made(peers={"groups": [{"count": 4}]}, data={"batch_size": 64})[0], dataset)(0, 0)
    pixels = raw * torch.tensor(std).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)
    for number, half in enumerate((first, second)):
        drawn = view.draw(pixels, 0, 0, number) - torch.tensor(mean).view(-1, 1, 1)
        torch.testing.assert_close(half, drawn / torch.tensor(std).view(-1, 1, 1), rtol=0, atol=1e-5)


def test_sight__left_and_right_do_not_overlap():
    kinds = [{"count": 2, "view": ["left"]}, {"count": 2, "view": ["right"]}]
    settings, dataset = made(peers={"groups": kinds})
    sight = Sight(settings, dataset)
    assert not sight.common
    changed = dataset.train_images.copy()
    changed[..., 4:] = 255 - changed[..., 4:]
    other = Sight(settings, replace(dataset, train_images=changed))
    for peer, unmoved in enumerate((True, True, False, False)):
        assert torch.equal(sight(2, peer)[0], other(2, peer)[0]) == unmoved
    shown = [sight(2, peer)[0] * settings[peer].normalisation[1][0] for peer in (0, 2)]
    dark = [each - each.amin(dim=(1, 2, 3), keepdim=True) for each in shown]
    assert not (dark[0] * dark[1]).abs().gt(1e-5).any()


def test_sight__one_view_with_shared_draws_is_common():
    joint = [{"count": 4, "view": [{**CROP, "joint": True}]}]
    assert Sight(*made(peers={"groups": joint})).common
    own = [{"count": 4, "view": [CROP]}]
    assert not Sight(*made(peers={"groups": own})).common
    shared = Sight(*made(peers={"groups": own, "view_draws": "shared"}))
    assert shared.common and shared(0, 0)[0] is shared(0, 3)[0]


@pytest.mark.filterwarnings("ignore:exchange.self_loss compares two views")
def test_private__batches_go_through_what_a_peer_holds():
    """Epoch by epoch, in an order of its own; those of the control `pooled` through what all of them hold."""
    views = {"peers": {"groups": [{"count": 4, "view": []}]}, "exchange": {"self_loss": 1.0}}
    config = config_of(data=PRIVATE, **views)
    plan = prepare(config)
    assert plan.holdings is not None
    settings = peer_settings(config, plan.dataset)
    sight, pooled = (
        Sight(settings, plan.dataset),
        Sight(settings, plan.dataset).for_run(peer_settings(config, plan.dataset, Control.POOLED)),
    )
    plain = Examples(plan.dataset, torch.device("cpu"), False)

    def rows(images: torch.Tensor) -> set[bytes]:
        return {image.numpy().tobytes() for image in (images * settings[0].normalisation[1][0]).round(decimals=3)}

    def held(chosen: np.ndarray) -> set[bytes]:
        return rows((plain(chosen)[0] - settings[0].normalisation[0][0]) / settings[0].normalisation[1][0])

    for peer in (0, 3):
        mine = plan.holdings.private[peer]
        batches = [sight.private(number, peer) for number in range(len(mine) // 10)]
        seen = [rows(each[0]) for each in batches if each is not None]
        assert all(len(each[1]) == 20 for each in batches if each is not None)
        assert set.union(*seen) <= held(mine) and len(set.union(*seen)) >= len(held(mine)) - 10
        wider = [pooled.private(number, peer) for number in range(10)]
        assert not set.union(*[rows(each[0]) for each in wider if each is not None]) <= held(mine)
    public = set.union(*[rows(sight(number, 0)[0]) for number in range(5)])
    assert public <= held(plan.holdings.public)
    together = sight.private_together(3, [0, 3])
    single = sight.private(3, 3)
    assert together is not None and single is not None
    assert torch.equal(together[0][1], single[0]) and torch.equal(together[1][1], single[1])


def test_examples__on_the_device_are_those_of_the_processor():
    """The way of a GPU, on a processor, where the numbers are the same."""
    _, dataset = made()
    here, there = (Examples(dataset, torch.device("cpu"), False) for _ in range(2))
    there._resident = torch.tensor(dataset.train_images), torch.tensor(dataset.train_labels)
    chosen = np.array([5, 2, 17, 2])
    for mirrored in (None, np.array([True, False, True, False])):
        assert all(map(torch.equal, here(chosen, mirrored), there(chosen, mirrored)))
    assert not torch.equal(here(chosen)[0], here(chosen, np.ones(4, bool))[0])
    assert float(here(chosen)[0].max()) <= 1


def test_sight__memoises_no_more_than_is_needed():
    settings, dataset = made()
    sight = Sight(settings, dataset)
    for batch in range(30):
        for peer in range(4):
            sight(batch, peer)
    assert sight(29, 3)[0] is sight(29, 3)[0] and len(sight._seen) <= 8 and len(sight._shown) <= 2
    assert len(sight(29, 3)[0]) == BATCH
