"""Tries out, before a run starts, what its user has brought: networks, heads, losses, targets."""

import warnings
from collections.abc import Sequence

from coordinator.experiment.config import RunConfig, with_hosting
from coordinator.planning.makes import Make
from peers.data.datasets import Dataset
from peers.learning import loss_trial, trial
from peers.learning.control import Control
from peers.networks.network import OwnHead


def tried_out(config: RunConfig, dataset: Dataset, different: Sequence[Make]) -> RunConfig:
    """The config, once what the user has brought is tried out; without `auto` execution, if only a loop can run it.

    Warns of what in the config is of no use then. Raises: ValueError.
    """
    exchange, features = config.exchange, config.exchange.what == "features"
    foreign, width = [make for make in different if make.is_foreign], different[0].network
    for make in foreign:
        trial.check_network(make.kind, make.peers, dataset.shape)
        if Control.STRANGER in config.evaluation.controls:
            trial.check_stranger(make.kind, make.peers[0], dataset.shape)
        if isinstance(make.network.head, OwnHead):
            _check_own_head(config, dataset, make)
    dim = width.feature_dim if features else width.output_dim
    own_loss = bool(loss_trial.brought_parts(exchange))
    if own_loss:
        loss_trial.check_loss(exchange, dim)
    if config.hosting.layout == "auto" and (foreign or len(dataset.shape) != 3):
        config = with_hosting(config, layout="contiguous")  # what others have written may count on it
    if config.hosting.execution == "loop":
        return config
    try:
        for make in foreign:
            trial.check_vectorised(make.kind, make.peers, dataset.shape)
        if own_loss:
            loss_trial.check_vectorised_loss(exchange, dim)
    except trial.NotVectorised as error:
        if config.hosting.execution == "vectorised":
            raise ValueError(f"{error}: set hosting.execution to loop") from None
        warnings.warn(f"{error}: hosting.execution 'auto' is loop", stacklevel=3)
        return with_hosting(config, execution="loop")
    return config


def _check_own_head(config: RunConfig, dataset: Dataset, make: Make) -> None:
    """Of a network that returns features and outputs. Raises: ValueError."""
    if "head" in make.kind.model_fields_set and make.kind.head.kind != "none":
        warnings.warn(
            f"peers.head '{make.kind.head.kind}' is not used: {make.network.origin} returns features and outputs, so "
            "it has a head of its own; peers.head.kind = 'none' says so",
            stacklevel=4,
        )
    if Control.SUPERVISED in config.evaluation.controls and make.network.output_dim < dataset.num_classes:
        raise ValueError(
            f"evaluation.controls: supervised needs an output per class: {dataset.num_classes} classes, and "
            f"{make.network.origin} has {make.network.output_dim} outputs: leave it out, or return features alone"
        )
