"""The memory that the probes need, besides the features that they are given."""

from peers.probing.config import KNN, FittedProbe, ProbeConfig
from peers.probing.probes import CHUNK_DIMS, CHUNK_ELEMENTS

_FLOAT, _DOUBLE = 4, 8


def probing_bytes(config: ProbeConfig, num_train: int, num_test: int, dim: int, num_classes: int) -> int:
    """Peak memory of the probes, which run one after another; within 20% of measurements.

    Args:
        config: the probes, and how many images they see.
        num_train: training images of the data set.
        num_test: its test images.
        dim: dimension of the features.
        num_classes: number of columns of votes, targets and weights.
    """
    train, test = min(config.probe_train, num_train), min(config.probe_test, num_test)
    scaled, most = 0, 0
    for name in config.probes:
        if config.standardises(name):
            scaled = _FLOAT * (train + test) * dim  # from then on, for all probes
        most = max(most, scaled + _bytes(name, config.knn, train, test, dim, num_classes))
    return most


def _bytes(name: FittedProbe, knn: KNN, train: int, test: int, dim: int, classes: int) -> int:
    one_hot = (_DOUBLE + _FLOAT) * train * classes  # as integers first
    if name == "knn":
        one_query = max(train, knn.k * classes)
        queries = min(test, max(1, CHUNK_ELEMENTS // one_query))
        votes = max(one_hot, _FLOAT * train * classes + 3 * _FLOAT * queries * one_query)
        return _FLOAT * (train + test) * dim + votes  # normalised
    if name == "sgd":
        return one_hot + 2 * _FLOAT * dim * classes
    columns = 2 * train + 2 * dim + test  # targets, centred targets; weights, a summand of them; scores
    systems = 4 * min(train, dim) ** 2
    return _DOUBLE * (columns * classes + systems + max(train, dim) * min(CHUNK_DIMS, train, dim))
