"""What a peer sees of a batch: the steps of its view with what they draw, a function of (seed, peer, batch, number)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from peers.base.seeds import stream
from peers.views.config import NamedStep, NoisySensor
from peers.views.section import Step
from peers.views.steps import Images

_STEPS: TypeAdapter[tuple[Step, ...]] = TypeAdapter(tuple[NamedStep, ...])


class View:
    """The steps of one view, drawn for each peer that has it. Two views are equal if their `steps` are.

    steps: all of them, in order. still_steps: the sensors among them, of which the deterministic form consists.
    """

    def __init__(self, steps: Sequence[Step], seed: int, num_peers: int, shared_draws: bool = False) -> None:
        """A view of peers 0 to `num_peers` - 1; shared_draws: all steps draw the same for all of them."""
        self.steps = tuple(steps)
        self.still_steps = tuple(step for step in self.steps if step.is_sensor)
        self._seed, self._everybody, self._shared = seed, num_peers, shared_draws

    @property
    def same_for_all(self) -> bool:
        """Whether all peers that have this view see the same."""
        return self._shared or all(step.draws_jointly or not step.draws for step in self.steps)

    @torch.no_grad()
    def draw(self, pixels: Images, peer: int, batch: int, number: int) -> Images:
        """What a peer sees of the images of a batch, the `number`-th time that it looks at them.

        pixels: in 0..1, never modified. number: 0 and 1 of the public batch, 2 and 3 of a private one.
        """
        for place, step in enumerate(self.steps):
            pixels = step(pixels, np.random.default_rng(self._stream(step, peer, place, batch, number)))
        return pixels

    @torch.no_grad()
    def still(self, pixels: Images, peer: int, start: int = 0) -> Images:
        """The deterministic form, in which peers are probed: sensors alone.

        start: index of the first image among all that are looked at. A noisy sensor's noise depends on an image's index
        and the peer alone, not on the sizes of chunks.
        """
        for place, step in enumerate(self.steps):
            if isinstance(step, NoisySensor):
                seeds = (self._stream(step, peer, place, index) for index in range(start, start + len(pixels)))
                each = zip(torch.split(pixels, 1), seeds, strict=True)
                pixels = torch.cat([step(image, np.random.default_rng(seed)) for image, seed in each])
            elif step.is_sensor:
                pixels = step(pixels, np.random.default_rng(self._stream(step, peer, place, 0)))
        return pixels

    def to_json(self) -> dict[str, Any]:
        """The view as JSON types."""
        steps = [step.model_dump(mode="json") for step in self.steps]
        return {"steps": steps, "seed": self._seed, "num_peers": self._everybody, "shared_draws": self._shared}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> "View":
        """The inverse of `to_json`, which ignores other keys."""
        steps = _STEPS.validate_python(table["steps"])
        return cls(steps, table["seed"], table["num_peers"], table["shared_draws"])

    def _stream(self, step: Step, peer: int, place: int, *keys: int) -> np.random.SeedSequence:
        """The seed of a step's draws: (batch, number) of a round, (image) of the deterministic form."""
        drawn_for = self._everybody if self._shared or step.draws_jointly else peer
        return stream(self._seed, "views", drawn_for, *keys, place)
