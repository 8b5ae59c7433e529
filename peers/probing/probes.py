"""Probes of frozen features (kNN, ridge and SGD), and the calibrated-BatchNorm control.

Each probe returns whether each test example is classified correctly, so that results on the same test set can be
compared example by example; the accuracy is their mean. Labels are integers in [0, num_classes).
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from peers.base.precision import Precision, autocast
from peers.networks.network import Network

DEFAULT_PENALTIES = tuple(10.0**exponent for exponent in range(-2, 7))
CHUNK_ELEMENTS = 2**22  # of the largest intermediate tensor: 16 MB of float32, 32 MB of int64
CHUNK_DIMS = 1024
SELECTION_FOLDS = 5


def standardise_by(
    train: Float[Tensor, "train dim"], test: Float[Tensor, "test dim"]
) -> tuple[Float[Tensor, "train dim"], Float[Tensor, "test dim"]]:
    """Standardise both sets by the training set's mean and (biased) standard deviation per dimension.

    Dimensions that are constant up to rounding, or not finite, in the training set become 0 in both sets.
    """
    mean, scale = train.mean(dim=0), train.std(dim=0, correction=0)
    largest = torch.maximum(train.amax(dim=0), -train.amin(dim=0))
    varies = scale > 8 * torch.finfo(train.dtype).eps * largest  # NaN compares false, so it is fixed as well
    fixed = ~(varies & torch.isfinite(scale) & torch.isfinite(mean))
    return (train - mean).div_(scale).masked_fill_(fixed, 0.0), (test - mean).div_(scale).masked_fill_(fixed, 0.0)


# ---- nearest neighbours ----


@torch.no_grad()
def knn(
    train: Float[Tensor, "train dim"],
    train_labels: Int[Tensor, " train"],
    test: Float[Tensor, "test dim"],
    test_labels: Int[Tensor, " test"],
    num_classes: int,
    *,
    k: int = 20,
    vote: Literal["similarity", "uniform"] = "similarity",
    temperature: float = 0.07,
    metric: Literal["cosine", "euclidean"] = "cosine",
    standardise: bool = False,
) -> Bool[Tensor, " test"]:
    """k-nearest-neighbour votes; with `similarity`, a neighbour's vote weighs exp(similarity / temperature).

    The similarity is the cosine, or minus the Euclidean distance, of the features as they are or standardised by the
    training set. The defaults are DINO's.
    Ties between neighbours are broken by training order, ties between votes by the smaller label.

    Raises:
        ValueError: `k` exceeds the number of training examples.

    Source: Caron et al., 2021 (DINO), eval_knn.py; Wu et al., 2018 (weighted kNN).
    """
    if k > len(train):
        raise ValueError(f"kNN probe: k must be at most the number of training examples ({len(train)}), got {k}")
    train, test = _compared(*(standardise_by(train, test) if standardise else (train, test)), metric)
    one_hot = F.one_hot(train_labels, num_classes).to(train.dtype)
    predictions = []
    for queries in torch.split(test, max(1, CHUNK_ELEMENTS // max(len(train), k * num_classes))):
        similarity, neighbours = _most_similar(_similarity(queries, train, metric), k)
        weights = ((similarity - similarity[:, :1]) / temperature).exp()  # relative to the nearest: no underflow
        if vote == "uniform":
            weights = torch.ones_like(weights)
        predictions.append((weights[:, :, None] * one_hot[neighbours]).sum(dim=1).argmax(dim=1))
    return torch.cat(predictions) == test_labels


def _compared(
    train: Float[Tensor, "train dim"], test: Float[Tensor, "test dim"], metric: Literal["cosine", "euclidean"]
) -> tuple[Float[Tensor, "train dim"], Float[Tensor, "test dim"]]:
    """Both sets as `_similarity` needs them: of length 1, or centred."""
    if metric == "cosine":
        return F.normalize(train, dim=1), F.normalize(test, dim=1)
    centre = train.mean(dim=0)  # keeps |a|^2 - 2ab + |b|^2 accurate
    return train - centre, test - centre


def _similarity(
    queries: Float[Tensor, "queries dim"], train: Float[Tensor, "train dim"], metric: Literal["cosine", "euclidean"]
) -> Float[Tensor, "queries train"]:
    products = queries @ train.T
    if metric == "cosine":
        return products
    squares = queries.square().sum(dim=1, keepdim=True) + train.square().sum(dim=1)
    return -(squares - 2 * products).clamp_min(0.0).sqrt()


def _most_similar(
    similarity: Float[Tensor, "queries train"], k: int
) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
    """The k largest values of each row; ties go to the smaller index, which `topk` does not guarantee."""
    values, indices = similarity.topk(k, dim=1)
    tied = (similarity >= values[:, -1:]).sum(dim=1) > k
    if tied.any():
        ordered = similarity[tied].sort(dim=1, descending=True, stable=True)
        values[tied], indices[tied] = ordered.values[:, :k], ordered.indices[:, :k]
    return values, indices


# ---- ridge regression ----


@torch.no_grad()
def ridge(
    train: Float[Tensor, "train dim"],
    train_labels: Int[Tensor, " train"],
    test: Float[Tensor, "test dim"],
    test_labels: Int[Tensor, " test"],
    num_classes: int,
    *,
    penalties: Sequence[float] = DEFAULT_PENALTIES,
    standardise: bool = True,
) -> Bool[Tensor, " test"]:
    """Ridge regression on one-hot labels, with intercept, on features standardised by the training set.

    Minimises |Y - XW|^2 + penalty |W|^2, solved in float64 in the smaller of its primal and dual forms. The penalty is
    the most accurate one on a held-out fifth of each class (the larger one if equal); the weights are then fitted to
    all training examples. standardise: False if the features are standardised already.

    Raises:
        ValueError: a penalty is not above 0, or there are too few training examples to choose one.

    Source: Hoerl and Kennard, 1970; Saunders et al., 1998 (dual form).
    """
    if not penalties or min(penalties) <= 0:
        raise ValueError(f"ridge probe: penalties must be one or more numbers above 0, got {list(penalties)}")
    if len(train) < SELECTION_FOLDS:
        raise ValueError(f"ridge probe: needs at least {SELECTION_FOLDS} training examples, got {len(train)}")
    if standardise:
        train, test = standardise_by(train, test)
    dual = train.shape[1] > len(train)
    gram = _gram(train if dual else train.T)
    penalty = _choose_penalty(train, train_labels, gram, num_classes, sorted(penalties), dual=dual)
    targets = F.one_hot(train_labels, num_classes).double()
    weights = _ridge_weights(train, targets - targets.mean(dim=0), gram, penalty, dual=dual)
    scores = _product(test, weights) + targets.mean(dim=0)
    return scores.argmax(dim=1) == test_labels


def _choose_penalty(
    train: Float[Tensor, "train dim"],
    labels: Int[Tensor, " train"],
    gram: Float[Tensor, "system system"],
    num_classes: int,
    penalties: Sequence[float],
    *,
    dual: bool,
) -> float:
    """The penalty that classifies held-out training examples best; the larger one if equal. `penalties` are ascending.

    Every fifth example in label order is held out, which preserves the share of each class.
    """
    if len(penalties) == 1:
        return penalties[0]
    held_out = torch.zeros_like(labels, dtype=torch.bool)
    held_out[labels.argsort(stable=True)[SELECTION_FOLDS - 1 :: SELECTION_FOLDS]] = True
    one_hot = F.one_hot(labels[~held_out], num_classes).double()
    targets = one_hot - one_hot.mean(dim=0)
    if dual:
        system, right, readout = gram[~held_out][:, ~held_out], targets, gram[held_out][:, ~held_out]
    else:
        system, right, readout = gram - _gram(train[held_out].T), _product(train[~held_out].T, targets), train[held_out]
    best, best_correct = penalties[0], -1
    for penalty in penalties:
        scores = _product(readout, _solve(system, right, penalty)) + one_hot.mean(dim=0)
        correct = int((scores.argmax(dim=1) == labels[held_out]).sum())
        if correct >= best_correct:
            best, best_correct = penalty, correct
    return best


def _ridge_weights(
    train: Float[Tensor, "train dim"],
    targets: Float[Tensor, "train classes"],
    gram: Float[Tensor, "system system"],
    penalty: float,
    *,
    dual: bool,
) -> Float[Tensor, "dim classes"]:
    """(X'X + penalty I)^-1 X'Y, or in dual form X'(XX' + penalty I)^-1 Y, from the Gram matrix of that form."""
    if dual:
        return _product(train.T, _solve(gram, targets, penalty))
    return _solve(gram, _product(train.T, targets), penalty)


def _solve(
    system: Float[Tensor, "system system"], right: Float[Tensor, "system classes"], penalty: float
) -> Float[Tensor, "system classes"]:
    penalised = system.clone()
    penalised.diagonal().add_(penalty)
    return torch.cholesky_solve(right, torch.linalg.cholesky(penalised))


def _gram(rows: Float[Tensor, "rows inner"]) -> Float[Tensor, "rows rows"]:
    """rows @ rows.T in float64, in slices of the inner axis to bound memory, and one triangle to halve the work."""
    gram = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for part in torch.split(rows, CHUNK_DIMS, dim=1):
        wide = part.double()
        for start in range(0, len(rows), CHUNK_DIMS):
            stop = start + CHUNK_DIMS
            gram[start:stop, :stop] += wide[start:stop] @ wide[:stop].T
    gram.tril_()
    gram += gram.tril(-1).T
    return gram


def _product(left: Float[Tensor, "rows inner"], right: Float[Tensor, "inner columns"]) -> Float[Tensor, "rows columns"]:
    """left @ right in float64, in slices of the inner axis, so that `left` is never converted as a whole."""
    product = torch.zeros(len(left), right.shape[1], dtype=torch.float64, device=left.device)
    for part, factor in zip(torch.split(left, CHUNK_DIMS, dim=1), torch.split(right, CHUNK_DIMS), strict=True):
        product += part.double() @ factor.double()
    return product


# ---- the paper's probe ----


@torch.no_grad()
def sgd_probe(
    train: Float[Tensor, "train dim"],
    train_labels: Int[Tensor, " train"],
    test: Float[Tensor, "test dim"],
    test_labels: Int[Tensor, " test"],
    num_classes: int,
    *,
    generator: torch.Generator,
    epochs: int = 20,
    lr: float = 0.01,
    batch_size: int = 128,
) -> Bool[Tensor, " test"]:
    """A linear layer trained by plain SGD with cross-entropy on unstandardised features: for comparison only.

    It measures the scale of the features as much as their content: it barely learns from small features, and diverges
    if lr * |features|^2 is well above 2. All draws come from `generator`; a generator on the CPU makes them the same
    for every device. The batch size is our choice.

    Source: arXiv 2604.18390, 2026 (DINOHerd): 20 epochs, learning rate 0.01.
    """
    bound = train.shape[1] ** -0.5  # the initialisation of torch.nn.Linear
    weight = (
        torch.empty(num_classes, train.shape[1], device=generator.device)
        .uniform_(-bound, bound, generator=generator)
        .to(train)
    )
    bias = torch.empty(num_classes, device=generator.device).uniform_(-bound, bound, generator=generator).to(train)
    one_hot = F.one_hot(train_labels, num_classes).to(train.dtype)
    held = train.new_empty(min(batch_size, len(train)), train.shape[1])  # one for all steps: a new one costs more
    for _ in range(epochs):
        order = torch.randperm(len(train), generator=generator, device=generator.device).to(train.device)
        for batch in torch.split(order, batch_size):
            features = torch.index_select(train, 0, batch, out=held[: len(batch)])
            error = (torch.softmax(F.linear(features, weight, bias), dim=1) - one_hot[batch]) / len(batch)
            weight -= lr * error.T @ features
            bias -= lr * error.sum(dim=0)
    return F.linear(test, weight, bias).argmax(dim=1) == test_labels


# ---- control ----


def has_batchnorm(network: nn.Module) -> bool:
    """Whether the network has running buffers to calibrate: BatchNorm's, or such of a network that a user brings."""
    return getattr(network, "adapts", False) or any(isinstance(module, _BatchNorm) for module in network.modules())


@torch.no_grad()
def calibrate_batchnorm(network: nn.Module, batches: Iterable[Tensor], precision: Precision = "float32") -> None:
    """Run the network on `batches` in train mode, which updates BatchNorm's running buffers in place, as in training.

    Parameters are not changed, and every module's training flag is restored. A network without BatchNorm has nothing to
    calibrate, and is not run.
    """
    if not has_batchnorm(network):
        return
    training = {module: module.training for module in network.modules()}
    network.train()
    for number, batch in enumerate(batches):
        if isinstance(network, Network):
            network.draw_from(number)
        with autocast(batch.device, precision):
            network(batch)
    for module, flag in training.items():
        module.training = flag
