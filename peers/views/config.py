"""The settings of a peer's view: the steps that its images go through before its network sees them."""

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import BeforeValidator, Field
from torch import Tensor

from peers.base.brought import Imported
from peers.base.section import Variant

Images = Float[Tensor, "batch channels height width"]
"""Values of pixels in 0..1 before the first step; a sensor may leave that range."""


class Step(Variant):
    """One step of a view.

    joint: whether the step draws the same for all peers. random: whether it draws at all; a random step is left out of
    a view's deterministic form, in which peers are probed.
    """

    random: ClassVar[bool] = False

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        """The images after the step, in new memory or unchanged. A pure function of images and generator."""
        raise NotImplementedError


class RandomStep(Step):
    random: ClassVar[bool] = True
    joint: bool = Field(False, description="draw the same for all peers, such as one brightness for everybody")


class Crop(RandomStep):
    """A crop of the image's own size at a random place, after padding with zeros."""

    kind: Literal["crop"] = "crop"
    padding: int = Field(4, ge=1, strict=True, description="pixels added on every side")


class ResizedCrop(RandomStep):
    """A random part of the image, resized to its own size (Szegedy et al. 2015)."""

    kind: Literal["resized-crop"] = "resized-crop"
    scale: tuple[float, float] = Field((0.3, 1.0), description="least and largest share of the area")
    ratio: tuple[float, float] = Field((0.75, 4 / 3), description="least and largest width over height")


class Flip(RandomStep):
    """Left to right, at random."""

    kind: Literal["flip"] = "flip"
    probability: float = Field(0.5, ge=0, le=1, description="probability of each image")


class ColourJitter(RandomStep):
    """Brightness, contrast, saturation and hue at random, in this order."""

    kind: Literal["colour-jitter"] = "colour-jitter"
    brightness: float = Field(0.4, ge=0, le=1, description="factors are drawn from 1 - brightness to 1 + brightness")
    contrast: float = Field(0.0, ge=0, le=1, description="likewise")
    saturation: float = Field(0.0, ge=0, le=1, description="likewise; needs 3 channels")
    hue: float = Field(0.0, ge=0, le=0.5, description="shift in turns of the colour circle, at most; needs 3 channels")


class Greyscale(RandomStep):
    """Luminance in all channels, at random."""

    kind: Literal["greyscale"] = "greyscale"
    probability: float = Field(0.2, ge=0, le=1, description="probability of each image")


class Cutout(RandomStep):
    """A square of zeros at a random place (DeVries and Taylor 2017)."""

    kind: Literal["cutout"] = "cutout"
    size: int = Field(4, ge=1, strict=True, description="side in pixels")


class Blur(RandomStep):
    """A Gaussian blur of random width."""

    kind: Literal["blur"] = "blur"
    sigma: tuple[float, float] = Field((0.1, 2.0), description="least and largest standard deviation in pixels")
    probability: float = Field(0.5, ge=0, le=1, description="probability of each image")


class Sensor(Step):
    """What a peer's sensor measures of an image; always the same of the same image."""

    kind: Literal["luminance", "chroma", "left", "right", "top", "bottom", "even-rows", "odd-rows"]


class NoisySensor(Step):
    """Gaussian noise on every pixel."""

    kind: Literal["noisy"] = "noisy"
    sigma: float = Field(0.3, gt=0, description="standard deviation of the noise, where pixels are 0 to 1")


class BlurredSensor(Step):
    """A Gaussian blur of fixed width."""

    kind: Literal["blurred"] = "blurred"
    sigma: float = Field(2.0, gt=0, description="standard deviation in pixels")


class LowResolutionSensor(Step):
    """The image as a sensor of fewer pixels sees it, enlarged to its own size."""

    kind: Literal["low-resolution"] = "low-resolution"
    size: int = Field(8, ge=1, strict=True, description="side in pixels of the sensor")


class ImportedStep(Imported, RandomStep):
    """A step of your own: a function of images [batch, channels, height, width] and a numpy generator, or a class."""

    field: ClassVar[str] = "peers.view"


def _named(step: Any) -> Any:
    """A step by its name alone has the defaults."""
    return {"kind": step} if isinstance(step, str) else step


AnyStep = Annotated[
    Crop
    | ResizedCrop
    | Flip
    | ColourJitter
    | Greyscale
    | Cutout
    | Blur
    | Sensor
    | NoisySensor
    | BlurredSensor
    | LowResolutionSensor
    | ImportedStep,
    Field(discriminator="kind"),
]
NamedStep = Annotated[AnyStep, BeforeValidator(_named)]
