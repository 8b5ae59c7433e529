"""The views of a planned run: checked against its images, listed without repetitions, and normalised each by itself."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from coordinator.experiment.config import RunConfig
from peers.data.datasets import Dataset, Normalisation, pixels_of
from peers.data.viewed import statistics_of_view
from peers.networks.config import PeersConfig
from peers.views.checks import WIDTH, check_view
from peers.views.section import Step
from peers.views.view import View

TRIED = 64  # training images on which a view is tried before a run starts


@dataclass(frozen=True)
class Seen:
    """A view and the peers that have it, in ascending order."""

    view: View
    peers: tuple[int, ...]

    @property
    def first(self) -> int:
        return self.peers[0]


def different_views(config: RunConfig) -> list[Seen]:
    """The different views of a run, in the order of their first peers."""
    return _grouped(config, {peer: config.peers.kind_of(peer).view for peer in range(config.peers.count)})


def different_sensors(config: RunConfig) -> list[Seen]:
    """`different_views`, where views that differ only in what they draw at random are the same."""
    views = [config.peers.view_of(peer, config.run.seed) for peer in range(config.peers.count)]
    return _grouped(config, {peer: view.still_steps for peer, view in enumerate(views)})


def _grouped(config: RunConfig, steps_of: dict[int, tuple[Step, ...]]) -> list[Seen]:
    found: dict[tuple[Step, ...], list[int]] = {}
    for peer, steps in steps_of.items():
        found.setdefault(steps, []).append(peer)
    return [Seen(config.peers.view_of(peers[0], config.run.seed), tuple(peers)) for peers in found.values()]


def normalisations(config: RunConfig, dataset: Dataset) -> tuple[Normalisation, ...]:
    """For each peer, mean and deviation of what its sensors make of the training images, which it is normalised by."""
    of_peer: dict[int, Normalisation] = {}
    for seen in different_sensors(config):
        of_peer |= dict.fromkeys(seen.peers, statistics_of_view(dataset.train_images, seen.view, seen.first))
    return tuple(of_peer[peer] for peer in range(config.peers.count))


def check_views(config: RunConfig, dataset: Dataset) -> None:
    """Check each view against the images, and try it on some of them. Raises: ValueError, of one line."""
    for where, steps in _sections(config.peers):
        check_view(steps, dataset.shape, where)
        if config.data.flip and (half := next((step.name for step in steps if step.name in WIDTH), "")):
            raise ValueError(
                f"{where}: data.flip mirrors images before '{half}' takes its part of them: set data.flip to false and "
                "put 'flip' after it"
            )
        if steps and dataset.train_images.dtype == np.float32:
            _check_range(where, steps, dataset.train_images)
    _check_joint(config)
    pixels = pixels_of(dataset.train_images[:TRIED])
    for seen in different_views(config):
        if not seen.view.steps:
            continue
        seen.view.draw(pixels, seen.first, 0, 0)
        found = seen.view.still(pixels, seen.first)
        if len(found) > 1 and torch.equal(found, found[:1].expand(found.shape)):
            raise ValueError(
                f"peers.view: {_names(seen.view.steps)} leaves nothing by which the {len(found)} first training images "
                "differ: choose another sensor for these images"
            )


def _check_joint(config: RunConfig) -> None:
    """Raises: ValueError where steps that draw the same for all peers stand at different places of two views."""
    if config.peers.view_draws == "shared":
        return
    found: dict[tuple[tuple[int, str], ...], str] = {}
    for where, steps in _sections(config.peers):
        joint = tuple((place, step.name) for place, step in enumerate(steps) if step.draws and step.draws_jointly)
        if joint:
            found.setdefault(joint, where)
    if len(found) > 1:
        one, other = list(found.values())[:2]
        raise ValueError(
            f"{other}: steps with joint = true draw the same as those of {one} only at the same places of the list: "
            "move them, such as to its front"
        )


def warn_of_equal_views(config: RunConfig) -> None:
    """Warn where two views of an image are the same, so that a peer has nothing to learn from the other one."""
    needed = config.exchange.needs_two_views
    still = [seen for seen in different_views(config) if not any(step.draws for step in seen.view.steps)]
    if not needed or not still:
        return
    where = "peers.view" if len(still[0].peers) == config.peers.count else f"the view of peer {still[0].first}"
    warnings.warn(
        f"exchange.{needed} compares two views of each image, but {where} draws nothing at random, so that both are "
        "equal: add a step such as crop or colour-jitter",
        stacklevel=4,
    )


def _sections(peers: PeersConfig) -> Iterator[tuple[str, tuple[Step, ...]]]:
    if not peers.groups:
        yield "peers.view", peers.view
    for place, group in enumerate(peers.groups):
        yield f"peers.groups[{place}].view", group.view


def _check_range(where: str, steps: tuple[Step, ...], images: np.ndarray) -> None:
    """Refuse steps that clip to 0..1 where values are others. Raises: ValueError."""
    clipping = next((step.name for step in steps if step.clips), None)
    low, high = float(images.min()), float(images.max())
    if clipping and (low < 0 or high > 1):
        raise ValueError(
            f"{where}: '{clipping}' needs pixels of uint8 or values in 0..1, got values from {low:g} to {high:g}: "
            "leave it out, or scale the images"
        )


def _names(steps: tuple[Step, ...]) -> str:
    return ", ".join(f"'{step.name}'" for step in steps)
