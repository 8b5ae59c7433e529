"""The samples that a network is sure of, and its agreement with itself."""

import numpy as np
import pytest
import torch

from peers.pooling.confidence import agreement, confident


def test_confident__are_those_with_the_highest_maximal_probability() -> None:
    probs = torch.tensor([[0.6, 0.4], [0.1, 0.9], [0.5, 0.5], [0.8, 0.2]])
    assert confident(probs, 0.5, True).tolist() == [False, True, False, True]
    assert confident(probs, 1.0, True).all()
    assert confident(probs, 0.01, True).tolist() == [False, True, False, False]  # at least one


def test_confident__of_logits_goes_by_their_softmax() -> None:
    logits = torch.tensor([[5.0, 5.0], [1.0, 0.0], [-3.0, -1.0]])  # the largest logit is not the surest
    assert confident(logits, 1 / 3, False).tolist() == [False, False, True]


def test_confident__of_equal_ones_takes_the_first() -> None:
    assert confident(torch.full((4, 2), 0.5), 0.5, True).tolist() == [True, True, False, False]


def answers(seed: int, samples: int = 64, dim: int = 64) -> torch.Tensor:
    return torch.randn(samples, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dim", [2, 10, 64, 300])
def test_agreement__of_the_same_balanced_answers_is_one(dim: int) -> None:
    sure = torch.eye(dim).repeat(6, 1)[:, torch.randperm(dim, generator=torch.Generator().manual_seed(0))]
    assert agreement(torch.cat([sure, sure]), 2).item() == pytest.approx(1.0, abs=1e-4)


def test_agreement__of_independent_views_is_near_zero() -> None:
    found = [agreement(torch.cat([answers(2 * seed), answers(2 * seed + 1)]), 2).item() for seed in range(20)]
    assert np.mean(found) < 0.02 and max(found) < 0.06


@pytest.mark.parametrize("row", [torch.zeros(10), torch.arange(10.0), 50 * torch.eye(10)[3]])
def test_agreement__of_one_answer_to_all_images_is_zero(row: torch.Tensor) -> None:
    assert agreement(row.expand(128, 10), 2).item() == pytest.approx(0.0, abs=1e-6)


def test_agreement__of_a_network_that_hardly_tells_images_apart_is_near_zero() -> None:
    """However well its tiny differences agree."""
    tiny = torch.arange(64.0) + 1e-3 * answers(0)
    assert agreement(torch.cat([tiny, tiny]), 2).item() < 0.001


def test_agreement__grows_with_what_the_views_share() -> None:
    found = []
    for noise in (0.0, 0.3, 1.0, 3.0):
        views = [answers(0) + noise * answers(seed) for seed in (1, 2)]
        found.append(agreement(torch.cat(views), 2).item())
    assert found == sorted(found, reverse=True) and found[0] > 0.6 and found[-1] < 0.1


def test_agreement__does_not_depend_on_names_of_outputs_nor_on_the_order_of_images() -> None:
    first, second = answers(0), answers(0) + 0.5 * answers(1)
    outputs, images = (torch.randperm(64, generator=torch.Generator().manual_seed(seed)) for seed in (2, 3))
    torch.testing.assert_close(
        agreement(torch.cat([first[images][:, outputs], second[images][:, outputs]]), 2),
        agreement(torch.cat([first, second]), 2),
    )
