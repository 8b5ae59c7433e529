"""What all steps of views have in common."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from peers.base.section import Variant
from peers.views.steps import Images


class Step(Variant):
    """One step of a view.

    needs_colour: whether it needs images of 3 channels. clips: whether it cuts off what lies outside 0..1.
    leaves_range: whether it makes such values.
    """

    needs_colour: ClassVar[bool] = False
    clips: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What it is called in settings."""
        return str(getattr(self, "kind", ""))

    @property
    def is_sensor(self) -> bool:
        """Whether it belongs to a view's deterministic form, in which peers are probed."""
        return True

    @property
    def draws(self) -> bool:
        """Whether what it gives depends on more than the images."""
        return not self.is_sensor

    @property
    def draws_jointly(self) -> bool:
        """Whether it draws the same for all peers."""
        return False

    @property
    def leaves_range(self) -> bool:
        return False

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        """The images after the step, in new memory or unchanged. A pure function of images and generator."""
        raise NotImplementedError


class RandomStep(Step):
    """A step that draws, and is left out where peers are probed."""

    joint: bool = Field(False, description="draw the same for all peers, such as one brightness for everybody")

    @property
    def is_sensor(self) -> bool:
        return False

    @property
    def draws_jointly(self) -> bool:
        return self.joint


def check_range(name: str, bounds: tuple[float, float]) -> None:
    """Raises: ValueError, unless least <= largest."""
    least, largest = bounds
    if least > largest:
        raise ValueError(
            f"peers.view: {name} must be [least, largest], got [{least:g}, {largest:g}]: put them in order"
        )
