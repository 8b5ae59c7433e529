"""Attacks against byzfl, and against their definitions written otherwise."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from peers.attacks.config import (
    ALIE,
    CPA,
    HIPS,
    IPM,
    LMA,
    AttackConfig,
    Constant,
    Copycat,
    Dissensus,
    FreeRider,
    PermutedOutputs,
    PermutedSamples,
    Random,
    Scene,
    SignFlip,
)
from peers.attacks.simplex import projected
from peers.base.section import examples
from peers.pooling.config import Mean

ATTACKS = examples(AttackConfig)
SAMPLES, DIM, HONEST = 8, 5, 4


def scene(distribution: bool = False, seed: int = 0, weights: Tensor | None = None, **changed: Any) -> Scene:
    """Four honest peers with the weight 0.2 each, among them the student, and one liar with as much."""
    messages = torch.from_numpy(np.random.default_rng(seed).normal(size=(HONEST + 1, SAMPLES, DIM)))
    messages = torch.softmax(2 * messages, dim=2) if distribution else messages
    given = {
        "own": messages[-1],
        "honest": messages[:-1],
        "weights": torch.full((HONEST,), 0.2, dtype=torch.float64) if weights is None else weights,
        "student": messages[0],
        "distribution": distribution,
        "lies_weight": 0.2,
    }
    return Scene(**(given | changed))


def of_own(own: Tensor, distribution: bool = False) -> Scene:
    """What a lie is made of that needs nobody else."""
    return Scene(own, own.new_zeros(0, *own.shape), own.new_zeros(0), own, distribution)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- all of them ----


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.kind)
@pytest.mark.parametrize("distribution", [False, True])
def test_attacks__send_what_a_reader_accepts(attack: Any, distribution: bool) -> None:
    """Of the form of the liar's own, finite, and distributions where those are sent."""
    for seed in range(5):
        made_of = scene(distribution, seed, first=None)
        before = made_of.own.clone(), made_of.honest.clone()
        lie = attack.lie(made_of, rng())
        assert lie.shape == made_of.own.shape and bool(torch.isfinite(lie).all())
        assert torch.equal(made_of.own, before[0]) and torch.equal(made_of.honest, before[1])
        if distribution:
            assert bool((lie >= 0).all())
            torch.testing.assert_close(lie.sum(dim=1), torch.ones(SAMPLES, dtype=torch.float64))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.kind)
def test_attacks__repeat_themselves_with_the_same_generator(attack: Any) -> None:
    assert torch.equal(attack.lie(scene(), rng(3)), attack.lie(scene(), rng(3)))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.kind)
def test_attacks__are_made_in_float32_without_gradients(attack: Any) -> None:
    half = scene(True)
    changed = {name: getattr(half, name).half().requires_grad_() for name in ("own", "honest", "student")}
    lie = attack.lie(scene(True, weights=torch.full((HONEST,), 0.2), **changed), rng())
    assert lie.dtype is torch.float32 and not lie.requires_grad


@pytest.mark.parametrize("attack", [each for each in ATTACKS if each.omniscient], ids=lambda attack: attack.kind)
def test_omniscient_attacks__of_a_student_that_hears_nobody_honest_are_made_of_itself(attack: Any) -> None:
    lonely = scene(honest=torch.empty(0, SAMPLES, DIM), weights=torch.empty(0), lies_weight=1.0)
    with_itself = scene(honest=lonely.student[None], weights=torch.ones(1), lies_weight=1.0)
    torch.testing.assert_close(attack.lie(lonely, rng()), attack.lie(with_itself, rng()))


@pytest.mark.gpu
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.kind)
@pytest.mark.parametrize("distribution", [False, True])
def test_attacks__on_a_gpu_are_those_of_the_cpu(attack: Any, distribution: bool) -> None:
    there = scene(distribution)
    moved = {name: getattr(there, name).cuda() for name in ("own", "honest", "weights", "student")}
    found = attack.lie(scene(distribution, **moved), rng())
    torch.testing.assert_close(found.cpu(), attack.lie(there, rng()))


# ---- byzfl ----


@pytest.mark.parametrize("z", [0.5, 1.5, 3.0])
@pytest.mark.parametrize("distribution", [False, True])
def test_alie__is_byzfls_with_the_other_sign(z: float, distribution: bool, byzfl: ModuleType) -> None:
    made_of = scene(distribution)
    lie = torch.from_numpy(byzfl.ALittleIsEnough(tau=-z)(made_of.honest.flatten(1).numpy())).reshape(SAMPLES, DIM)
    found = ALIE(z=z).lie(made_of, rng())
    torch.testing.assert_close(found, projected(lie) if distribution else lie, atol=1e-6, rtol=0)


@pytest.mark.parametrize("epsilon", [0.1, 2.0])
@pytest.mark.parametrize("distribution", [False, True])
def test_ipm__is_byzfls(epsilon: float, distribution: bool, byzfl: ModuleType) -> None:
    made_of = scene(distribution)
    inner = byzfl.InnerProductManipulation(tau=epsilon)(made_of.honest.flatten(1).numpy())
    lie = torch.from_numpy(inner).reshape(SAMPLES, DIM)
    found = IPM(epsilon=epsilon).lie(made_of, rng())
    torch.testing.assert_close(found, projected(lie) if distribution else lie, atol=1e-6, rtol=0)


@pytest.mark.parametrize("peer", range(HONEST))
def test_copycat__is_byzfls_mimic(peer: int, byzfl: ModuleType) -> None:
    made_of = scene()
    expected = byzfl.Mimic(epsilon=peer)(made_of.honest.flatten(1).numpy()).reshape(SAMPLES, DIM)
    np.testing.assert_allclose(Copycat(peer=peer).lie(made_of, rng()), expected, atol=1e-6, rtol=0)


def test_sign_flip__is_byzfls_of_the_liars_own_outputs(byzfl: ModuleType) -> None:
    made_of = scene()
    expected = byzfl.SignFlipping()(made_of.own.flatten()[None].numpy()).reshape(SAMPLES, DIM)
    np.testing.assert_allclose(SignFlip().lie(made_of, rng()), expected, atol=1e-6, rtol=0)


def test_random__has_the_law_of_byzfls_gaussian(byzfl: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """byzfl draws from NumPy's global generator, which a generator of the same seed stands in for."""
    made_of = scene()
    monkeypatch.setattr(np.random, "normal", rng(5).normal)
    expected = byzfl.Gaussian(mu=0.0, sigma=2.0)(made_of.honest.flatten(1).numpy()).reshape(SAMPLES, DIM)
    np.testing.assert_allclose(Random(sigma=2.0).lie(made_of, rng(5)), expected, atol=1e-6, rtol=0)
    found = Random(sigma=2.0).lie(of_own(torch.zeros(200, 50)), rng(6))
    assert stats.kstest(found.flatten().numpy(), stats.norm(scale=2.0).cdf).pvalue > 0.01


# ---- local lies ----


def test_random__of_distributions_is_the_softmax_of_the_noise() -> None:
    torch.testing.assert_close(
        Random().lie(scene(True), rng()), torch.softmax(Random().lie(scene(False), rng()), dim=1)
    )


def test_sign_flip__reverses_the_order_of_probabilities() -> None:
    own = torch.tensor([[0.7, 0.2, 0.1]])
    assert SignFlip().lie(of_own(own, True), rng()).tolist() == [[pytest.approx(p) for p in (0.15, 0.4, 0.45)]]


def test_constant__is_one_output_or_none() -> None:
    one = Constant(output=2).lie(scene(True), rng())
    assert one.tolist() == [[0.0, 0.0, 1.0, 0.0, 0.0]] * SAMPLES
    assert Constant().lie(scene(True), rng()).unique().tolist() == [pytest.approx(1 / DIM)]
    assert Constant().lie(scene(False), rng()).unique().tolist() == [0.0]
    with pytest.raises(ValueError, match=r"^attack\.output must be below the 5 outputs, got 5: lower it$"):
        Constant(output=5).lie(scene(), rng())


def test_permuted_outputs__moves_every_output_in_all_rounds_alike() -> None:
    made_of = scene(own=torch.eye(DIM, dtype=torch.float64).repeat(2, 1)[:SAMPLES])
    places = PermutedOutputs().lie(made_of, rng(0)).argmax(dim=1)
    assert torch.equal(places, PermutedOutputs().lie(made_of, rng(1)).argmax(dim=1))
    assert sorted(places[:DIM].tolist()) == list(range(DIM)) and not (places == made_of.own.argmax(dim=1)).any()


@pytest.mark.parametrize("views", [1, 2])
def test_permuted_samples__moves_every_image_with_all_its_views(views: int) -> None:
    size = SAMPLES // views
    images = torch.arange(float(size)).repeat(views)[:, None] + torch.arange(0.0, 100.0 * DIM, 100.0)
    lie = PermutedSamples().lie(scene(own=images, views=views), rng())[:, 0]
    halves = lie.chunk(views)
    assert all(torch.equal(half, halves[0]) for half in halves)
    assert sorted(halves[0].tolist()) == list(range(size)) and not (halves[0] == torch.arange(float(size))).any()
    assert not torch.equal(lie, PermutedSamples().lie(scene(own=images, views=views), rng(1))[:, 0])


def test_free_rider__repeats_its_first_message() -> None:
    first = torch.randn(SAMPLES, DIM, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(FreeRider().lie(scene(first=first), rng()).float(), first)
    assert torch.equal(FreeRider().lie(scene(), rng()), scene().own)  # which this one is


# ---- omniscient lies ----


def test_alie__of_unequal_weights_repeats_messages_of_more_weight() -> None:
    """Weights 1 : 3 have the mean of a message and three of the other; of one honest message there is no deviation."""
    made_of = scene(weights=torch.tensor([0.1, 0.3, 0.0, 0.0], dtype=torch.float64))
    first, second = made_of.honest[:2]
    spread = ((0.25 * 0.75) * (first - second) ** 2 / (1 - 0.25**2 - 0.75**2)).sqrt()
    torch.testing.assert_close(ALIE(z=2.0).lie(made_of, rng()), 0.25 * first + 0.75 * second - 2 * spread)
    single = scene(honest=made_of.honest[:1], weights=torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(ALIE().lie(single, rng()), first)


def test_lma__is_sure_of_the_least_likely_output() -> None:
    made_of = scene(True, weights=torch.tensor([0.7, 0.1, 0.1, 0.0], dtype=torch.float64))
    likely = np.einsum("h,hsd->sd", [7 / 9, 1 / 9, 1 / 9, 0], made_of.honest.numpy())
    np.testing.assert_array_equal(LMA().lie(made_of, rng()), np.eye(DIM)[likely.argmin(axis=1)])


def test_lma__maximises_what_the_honest_mean_loses_among_all_one_hot_lies() -> None:
    made_of = scene(True)
    honest = made_of.honest.mean(dim=0)
    lie = LMA().lie(made_of, rng())

    def loss(lie: Tensor) -> Tensor:
        return -(honest * (0.8 * honest + 0.2 * lie).log()).sum(dim=1)

    for output in range(DIM):
        other = torch.eye(DIM, dtype=torch.float64)[output].expand(SAMPLES, DIM)
        assert bool((loss(lie) >= loss(other) - 1e-12).all())


def test_lma__on_logits_takes_the_honest_range() -> None:
    made_of = scene(False)
    lie, likely = LMA().lie(made_of, rng()), torch.softmax(made_of.honest, dim=2).mean(dim=0)
    assert torch.equal(lie.argmax(dim=1), likely.argmin(dim=1))
    torch.testing.assert_close(lie.amax(dim=1), made_of.honest.amax(dim=(0, 2)))
    assert torch.equal(lie.sort(dim=1).values[:, -2], made_of.honest.amin(dim=(0, 2)))


def test_cpa__is_sure_of_the_output_with_the_least_covariance() -> None:
    for seed in range(5):
        made_of = scene(True, seed)
        likely = made_of.honest.numpy().mean(axis=0)
        covariance = np.cov(likely, rowvar=False)
        np.fill_diagonal(covariance, np.inf)
        expected = covariance[likely.argmax(axis=1)].argmin(axis=1)
        np.testing.assert_array_equal(CPA().lie(made_of, rng()).argmax(dim=1), expected)


def test_hips__is_the_honest_message_that_harms_most() -> None:
    for distribution in (True, False):
        made_of = scene(distribution)
        probs = made_of.honest if distribution else torch.softmax(made_of.honest, dim=2)
        honest, lie = probs.mean(dim=0), HIPS().lie(made_of, rng())
        for sample in range(SAMPLES):
            # the student hears four honest peers and the liar, with equal weights
            harm = [-(honest[sample] * (0.8 * honest[sample] + 0.2 * each[sample]).log()).sum() for each in probs]
            assert torch.equal(lie[sample], made_of.honest[int(np.argmax(harm)), sample])


def test_dissensus__keeps_the_student_where_it_is() -> None:
    """With strength 1, plain gossip with this lie leaves the student's outputs as they are: He et al., section 4."""
    made_of = scene(weights=torch.tensor([0.4, 0.1, 0.2, 0.1], dtype=torch.float64))
    lie = Dissensus(epsilon=1.0).lie(made_of, rng())
    heard, weights = torch.cat([made_of.honest, lie[None]]), torch.tensor([0.4, 0.1, 0.2, 0.1, 0.2])
    torch.testing.assert_close(Mean().pool(made_of.student, heard, weights, False).outputs, made_of.student)


def test_dissensus__of_two_liars_shares_the_work() -> None:
    made_of = scene(liars=2, lies_weight=0.4)
    lie = Dissensus(epsilon=1.0).lie(made_of, rng())
    heard, weights = torch.cat([made_of.honest, lie[None], lie[None]]), torch.full((6,), 0.2)
    pull = (weights[:, None, None] * (heard - made_of.student)).sum(dim=0)
    torch.testing.assert_close(pull, torch.zeros_like(pull))
