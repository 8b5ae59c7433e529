"""The views of a planned run: checked against its images, listed without repetitions, and normalised each by itself."""

import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from coordinator.experiment.config import RunConfig
from coordinator.experiment.reading import listed
from peers.data.datasets import Dataset, Normalisation, pixels_of
from peers.data.viewed import statistics_of_view
from peers.learning.control import Control
from peers.learning.twin import IRRELEVANT
from peers.networks.config import PeersConfig
from peers.views.checks import WIDTH, check_view
from peers.views.section import Step
from peers.views.view import View
from topologies.schedule import Schedule

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
    """`different_views`, where views that differ only in what they leave out in their deterministic form are the same.

    Of a sensor that draws for each peer by itself, such as noise, there is one for each peer.
    """
    shared = config.peers.view_draws == "shared"
    views = [config.peers.view_of(peer, config.run.seed) for peer in range(config.peers.count)]
    alone = [not shared and any(step.draws and not step.draws_jointly for step in view.still_steps) for view in views]
    keys = {peer: (view.still_steps, peer if alone[peer] else None) for peer, view in enumerate(views)}
    return _grouped(config, keys)


def _grouped(config: RunConfig, keys: Mapping[int, Hashable]) -> list[Seen]:
    """The peers of equal keys together. keys: by peer, in ascending order."""
    found: dict[Hashable, list[int]] = {}
    for peer, key in keys.items():
        found.setdefault(key, []).append(peer)
    return [Seen(config.peers.view_of(peers[0], config.run.seed), tuple(peers)) for peers in found.values()]


def normalisations(config: RunConfig, dataset: Dataset) -> tuple[Normalisation, ...]:
    """For each peer, mean and deviation of what its sensors make of the training images, which it is normalised by."""
    of_peer: dict[int, Normalisation] = {}
    for seen in different_sensors(config):
        of_peer |= dict.fromkeys(seen.peers, statistics_of_view(dataset.train_images, seen.view, seen.first))
    return tuple(of_peer[peer] for peer in range(config.peers.count))


def check_views(config: RunConfig, dataset: Dataset, schedule: Schedule) -> list[int]:
    """Check each view against the images, and try it on some of them; returns the `blind_teachers`.

    Raises: ValueError, of one line.

    On those of the other data sets, too: all peers look at [public] images, teachers of the control irrelevant at its.
    """
    others = {name: other for name, other in dataset.others.items() if name != IRRELEVANT or _has_irrelevant(config)}
    for where, steps in _sections(config.peers):
        check_view(steps, dataset.shape, where)
        if config.data.flip and (half := next((step.name for step in steps if step.name in WIDTH), "")):
            raise ValueError(
                f"{where}: data.flip mirrors images before '{half}' takes its part of them: set data.flip to false and "
                "put 'flip' after it"
            )
        for name, images in {"": dataset, **others}.items():
            if steps and images.train_images.dtype == np.float32:
                _check_range(where, steps, images.train_images, name)
    _check_joint(config)
    for seen in different_views(config):
        if seen.view.steps:
            seen.view.draw(pixels_of(dataset.train_images[:TRIED]), seen.first, 0, 0)
        for name, images in {"": dataset, **others}.items():
            if name != IRRELEVANT and _sees_nothing(seen, images):
                raise ValueError(
                    f"peers.view: {_names(seen.view.steps)} leaves nothing by which the {_first_of(images, name)} "
                    "differ: choose another sensor for these images"
                )
    blind = blind_teachers(config, dataset, schedule)
    if blind:
        _check_teachers(config, dataset, schedule, blind)
    return blind


def blind_teachers(config: RunConfig, dataset: Dataset, schedule: Schedule) -> list[int]:
    """Peers that teach others, and in whose place networks learn nothing in the control irrelevant.

    Those whose views leave nothing by which the other data's images differ. Looks at the first rounds of a schedule
    that does not repeat.
    """
    if not _has_irrelevant(config) or IRRELEVANT not in dataset.others:
        return []
    teachers, other = _teachers(config, schedule), dataset.others[IRRELEVANT]
    return sorted(
        {peer for seen in different_views(config) if _sees_nothing(seen, other) for peer in seen.peers} & teachers
    )


def _check_teachers(config: RunConfig, dataset: Dataset, schedule: Schedule, blind: Sequence[int]) -> None:
    """Refuse, or warn of, a control irrelevant whose networks see nothing of its data. Raises: ValueError."""
    names = config.peers.members
    groups = [name for name, members in names.items() if not set(blind).isdisjoint(members)]
    whose = (
        f"of {'group' if len(groups) == 1 else 'groups'} {', '.join(map(repr, groups))}" if groups else "of all peers"
    )
    nothing = f"leave nothing by which the {_first_of(dataset.others[IRRELEVANT], IRRELEVANT)} differ"
    if set(blind) == _teachers(config, schedule):
        raise ValueError(
            f"evaluation.controls: in irrelevant no network would learn anything, since the views {whose} {nothing}: "
            "name another data set in [irrelevant], or leave irrelevant out"
        )
    warnings.warn(
        f"evaluation.controls: in irrelevant, networks in the place of teachers {whose} learn nothing, since their "
        f"views {nothing}: to their students they are strangers; name another data set in [irrelevant] to mend it",
        stacklevel=5,
    )


def _teachers(config: RunConfig, schedule: Schedule) -> set[int]:
    """The peers that teach others."""
    links = {link for full in schedule.telling(config.run.rounds) for link in full.links}
    return {teacher for teacher, student in links if teacher != student}


def _has_irrelevant(config: RunConfig) -> bool:
    return Control.IRRELEVANT in config.evaluation.controls


def _sees_nothing(seen: Seen, dataset: Dataset) -> bool:
    """Whether a view leaves nothing by which the first training images differ."""
    if not seen.view.steps:
        return False
    found = seen.view.still(pixels_of(dataset.train_images[:TRIED]), seen.first)
    return len(found) > 1 and torch.equal(found, found[:1].expand(found.shape))


def _first_of(dataset: Dataset, name: str) -> str:
    """The images that views are tried on, in words; name: of their section, empty for the run's own."""
    count = min(TRIED, len(dataset.train_labels))
    return f"{count} first training images" + (f" of [{name}]" if name else "")


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
    groups = [group.name for group in config.peers.groups]
    still = [
        f"{where} ('{groups[place]}')" if groups and groups[place] else where
        for place, (where, steps) in enumerate(_sections(config.peers))
        if not any(step.draws for step in steps)
    ]
    if not needed or not still:
        return
    warnings.warn(
        f"exchange.{needed} compares two views of each image, but {listed(still)} {'draw' if still[1:] else 'draws'} "
        "nothing at random, so that both are equal: add a step such as crop or colour-jitter",
        stacklevel=4,
    )


def _sections(peers: PeersConfig) -> Iterator[tuple[str, tuple[Step, ...]]]:
    if not peers.groups:
        yield "peers.view", peers.view
    for place, group in enumerate(peers.groups):
        yield f"peers.groups[{place}].view", group.view


def _check_range(where: str, steps: tuple[Step, ...], images: np.ndarray, name: str) -> None:
    """Refuse steps that clip to 0..1 where values are others. name: of the images' section. Raises: ValueError."""
    clipping = next((step.name for step in steps if step.clips), None)
    low, high = float(images.min()), float(images.max())
    if clipping and (low < 0 or high > 1):
        raise ValueError(
            f"{where}: '{clipping}' needs pixels of uint8 or values in 0..1, got values from {low:g} to {high:g}"
            f"{f' in [{name}]' if name else ''}: "
            "leave it out, or scale the images"
        )


def _names(steps: tuple[Step, ...]) -> str:
    return ", ".join(f"'{step.name}'" for step in steps)
