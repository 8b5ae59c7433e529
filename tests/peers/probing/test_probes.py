"""Probes against scikit-learn and torch's own modules; the calibrated control against a manual loop."""

import copy
import inspect
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from peers.probing import probes

NUM_CLASSES = 4


def _data(num_train: int = 120, num_test: int = 50, dim: int = 12, seed: int = 0) -> tuple[Tensor, ...]:
    """Overlapping Gaussian classes: train, train labels, test, test labels."""
    generator = torch.Generator().manual_seed(seed)
    num = num_train + num_test
    labels = torch.randint(NUM_CLASSES, (num,), generator=generator)
    features = torch.randn(num, dim, generator=generator) + 1.2 * F.one_hot(labels, dim)
    return features[:num_train], labels[:num_train], features[num_train:], labels[num_train:]


def test_standardise_by__matches_sklearn_and_zeroes_constant_dimensions():
    train, _, test, _ = _data()
    train, test = torch.cat([train, torch.full((120, 1), 0.1)], dim=1), torch.cat([test, torch.ones(50, 1)], dim=1)
    scaler = StandardScaler().fit(train[:, :-1].numpy())
    for ours, raw in zip(probes.standardise_by(train, test), (train, test), strict=True):
        np.testing.assert_allclose(ours[:, :-1], scaler.transform(raw[:, :-1].numpy()), atol=1e-5)
        assert ours[:, -1].eq(0.0).all()


def test_standardise_by__diverged_dimensions_are_dropped():
    train = torch.tensor([[1.0, float("nan"), 1.0], [3.0, 0.0, float("inf")]])
    ours, _ = probes.standardise_by(train, train)
    assert ours.tolist() == [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize("k", [1, 5, 20])
def test_knn__uniform_euclidean_matches_sklearn(k: int):
    train, labels, test, test_labels = _data()
    train, test = train + 100.0, test + 100.0  # far from the origin: squared norms would swamp the distances
    reference = KNeighborsClassifier(k, algorithm="brute").fit(train.double().numpy(), labels.numpy())
    expected = reference.predict(test.double().numpy()) == test_labels.numpy()
    correct = probes.knn(train, labels, test, test_labels, NUM_CLASSES, k=k, vote="uniform", metric="euclidean")
    np.testing.assert_array_equal(correct.numpy(), expected)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_knn__similarity_vote_matches_sklearn(metric: Literal["cosine", "euclidean"], monkeypatch: pytest.MonkeyPatch):
    train, labels, test, test_labels = _data()
    offset = 1.0 if metric == "cosine" else 0.0  # scikit-learn's cosine distance is 1 - similarity
    reference = KNeighborsClassifier(
        20, algorithm="brute", metric=metric, weights=lambda distance: np.exp((offset - distance) / 0.3)
    ).fit(train.numpy(), labels.numpy())
    expected = reference.predict(test.numpy()) == test_labels.numpy()
    monkeypatch.setattr(probes, "CHUNK_ELEMENTS", 7 * len(train))  # several chunks, the last one ragged
    correct = probes.knn(train, labels, test, test_labels, NUM_CLASSES, temperature=0.3, metric=metric)
    np.testing.assert_array_equal(correct.numpy(), expected)


def test_knn__dino_listing():
    train, labels, test, test_labels = _data()
    similarity, indices = (F.normalize(test) @ F.normalize(train).T).topk(20)
    votes = torch.zeros(len(test), NUM_CLASSES).scatter_add_(1, labels[indices], (similarity / 0.07).exp())
    expected = votes.argmax(dim=1) == test_labels
    assert torch.equal(probes.knn(train, labels, test, test_labels, NUM_CLASSES), expected)


def test_knn__ties_take_the_first_neighbours_then_the_smaller_label():
    train, labels = torch.ones(6, 2), torch.tensor([3, 1, 1, 3, 0, 0])
    for k, expected in [(1, 3), (2, 1), (3, 1), (4, 1), (6, 0)]:
        correct = probes.knn(train, labels, torch.ones(1, 2), torch.tensor([expected]), NUM_CLASSES, k=k)
        assert correct.item(), k


def test_knn__refuses_k_above_the_training_examples():
    with pytest.raises(ValueError, match=r"k must be at most the number of training examples \(3\), got 5"):
        probes.knn(torch.ones(3, 2), torch.tensor([0, 1, 2]), torch.ones(1, 2), torch.tensor([0]), 3, k=5)


@pytest.mark.parametrize("dim", [12, 300])
@pytest.mark.parametrize("penalty", [0.1, 30.0])
def test_ridge__matches_sklearn(dim: int, penalty: float):
    train, labels, test, test_labels = _data(dim=dim)
    scaler = StandardScaler().fit(train.double().numpy())
    reference = Ridge(penalty).fit(scaler.transform(train.double().numpy()), np.eye(NUM_CLASSES)[labels])
    expected = reference.predict(scaler.transform(test.double().numpy())).argmax(axis=1) == test_labels.numpy()
    correct = probes.ridge(train, labels, test, test_labels, NUM_CLASSES, penalties=[penalty])
    np.testing.assert_array_equal(correct.numpy(), expected)


@pytest.mark.parametrize(("num_train", "dim"), [(90, 20), (20, 90)])
def test_ridge_weights__primal_equals_dual_equals_sklearn(num_train: int, dim: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes, "CHUNK_DIMS", 7)
    train, labels, _, _ = _data(num_train=num_train, dim=dim)
    train, _ = probes.standardise_by(train.double(), train.double())
    targets = F.one_hot(labels, NUM_CLASSES).double()
    targets -= targets.mean(dim=0)
    primal = probes._ridge_weights(train, targets, probes._gram(train.T), 2.0, dual=False)
    dual = probes._ridge_weights(train, targets, probes._gram(train), 2.0, dual=True)
    torch.testing.assert_close(primal, dual)
    np.testing.assert_allclose(primal.T, Ridge(2.0).fit(train.numpy(), targets.numpy()).coef_, atol=1e-9)


@pytest.mark.parametrize("dim", [20, 200])
def test_choose_penalty__is_best_on_the_held_out_fifth_of_each_class(dim: int):
    train, labels, _, _ = _data(num_train=100, dim=dim)
    train, _ = probes.standardise_by(train, train)
    held = np.zeros(100, dtype=bool)
    held[np.argsort(labels.numpy(), kind="stable")[4::5]] = True
    features, one_hot = train.double().numpy(), np.eye(NUM_CLASSES)[labels]
    correct = {}
    for penalty in (0.01, 1.0, 100.0, 1e4, 1e6):
        intercept = one_hot[~held].mean(axis=0)
        fitted = Ridge(penalty, fit_intercept=False).fit(features[~held], one_hot[~held] - intercept)
        scores = fitted.predict(features[held]) + intercept
        correct[penalty] = int((scores.argmax(axis=1) == labels.numpy()[held]).sum())
    expected = max(correct, key=lambda penalty: (correct[penalty], penalty))
    gram = probes._gram(train if dim > 100 else train.T)
    assert probes._choose_penalty(train, labels, gram, NUM_CLASSES, sorted(correct), dual=dim > 100) == expected


def test_choose_penalty__equals_go_to_the_larger():
    train = torch.eye(2).repeat(10, 1) * 2 - 1  # separable: every penalty is right on all
    labels = torch.tensor([0, 1]).repeat(10)
    assert probes._choose_penalty(train, labels, probes._gram(train.T), 2, [0.1, 1.0, 10.0], dual=False) == 10.0


def test_ridge__is_invariant_to_scale_and_shift_of_features():
    train, labels, test, test_labels = _data(dim=200)
    correct = probes.ridge(train, labels, test, test_labels, NUM_CLASSES)
    assert torch.equal(correct, probes.ridge(1e-3 * train, labels, 1e-3 * test, test_labels, NUM_CLASSES))
    assert correct.float().mean() > 0.3  # chance is a quarter


def test_ridge__refuses_bad_penalties_and_tiny_sets():
    train, labels, test, test_labels = _data()
    with pytest.raises(ValueError, match=r"penalties must be one or more numbers above 0, got \[0.0\]"):
        probes.ridge(train, labels, test, test_labels, NUM_CLASSES, penalties=[0.0])
    with pytest.raises(ValueError, match="at least 5 training examples, got 4"):
        probes.ridge(train[:4], labels[:4], test, test_labels, NUM_CLASSES)


def test_ridge__dead_features_fall_back_to_the_commonest_class():
    labels = torch.tensor([0, 1, 1, 1, 2, 1])
    correct = probes.ridge(torch.zeros(6, 3), labels, torch.zeros(3, 3), torch.tensor([0, 1, 2]), 3)
    assert correct.tolist() == [False, True, False]


def test_sgd_probe__matches_torch_modules():
    train, labels, test, test_labels = _data()
    generator = torch.Generator().manual_seed(3)
    bound = train.shape[1] ** -0.5
    layer = nn.Linear(train.shape[1], NUM_CLASSES)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(4):
        for batch in torch.randperm(len(train), generator=generator).split(32):
            optimizer.zero_grad()
            F.cross_entropy(layer(train[batch]), labels[batch]).backward()
            optimizer.step()
    expected = layer(test).argmax(dim=1) == test_labels
    for _ in range(2):  # the same generator state gives the same bits
        correct = probes.sgd_probe(
            train, labels, test, test_labels, NUM_CLASSES,
            generator=torch.Generator().manual_seed(3), epochs=4, lr=0.1, batch_size=32,
        )  # fmt: skip
        assert torch.equal(correct, expected)


def test_sgd_probe__small_features_stay_at_their_initial_scores():
    train, labels, test, test_labels = _data(num_train=400, num_test=400)
    full = probes.sgd_probe(train, labels, test, test_labels, NUM_CLASSES, generator=torch.Generator().manual_seed(0))
    small = probes.sgd_probe(
        1e-4 * train, labels, 1e-4 * test, test_labels, NUM_CLASSES, generator=torch.Generator().manual_seed(0)
    )
    ridge = probes.ridge(1e-4 * train, labels, 1e-4 * test, test_labels, NUM_CLASSES)
    assert small.float().mean() + 0.05 < min(full.float().mean(), ridge.float().mean())


def test_calibrate_batchnorm__buffers_follow_a_manual_loop_and_parameters_stay():
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3), nn.BatchNorm1d(3)).eval()
    network[2].train()
    batches = [torch.randn(16, 5, generator=generator) for _ in range(6)]
    before = copy.deepcopy(network)
    mean, var = torch.zeros(8), torch.ones(8)
    for batch in batches:
        hidden = before[0](batch).detach()
        mean, var = 0.9 * mean + 0.1 * hidden.mean(dim=0), 0.9 * var + 0.1 * hidden.var(dim=0)
    probes.calibrate_batchnorm(network, iter(batches))
    torch.testing.assert_close(network[1].running_mean, mean)
    torch.testing.assert_close(network[1].running_var, var)
    assert network[1].num_batches_tracked == network[4].num_batches_tracked == 6
    assert not torch.equal(network[4].running_var, before[4].running_var)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), before.parameters(), strict=True))
    assert [m.training for m in network.modules()] == [m.training for m in before.modules()]


def test_calibrate_batchnorm__network_without_batchnorm_is_not_run():
    def refuse() -> Tensor:
        raise AssertionError("read a batch")

    batches = (refuse() for _ in range(1))
    probes.calibrate_batchnorm(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), batches)
    assert inspect.getgeneratorstate(batches) == inspect.GEN_CREATED
