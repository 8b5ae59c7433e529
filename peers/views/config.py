"""The settings of a peer's view: the steps that its images go through before its network sees them.

A step is a function of float images [batch, channels, height, width] and of a numpy generator. Before the first step
pixels lie in 0..1; a sensor may leave that range.
"""

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from peers.base.brought import Imported
from peers.views import drawing, own_steps, sensors, steps
from peers.views.section import RandomStep, Step, check_range
from peers.views.steps import Images

Width = Annotated[float, Field(ge=1e-3, le=1e3)]
AreaShare = Annotated[float, Field(ge=1e-6, le=1)]
Ratio = Annotated[float, Field(ge=1e-3, le=1e3)]
"""The standard deviation of a blur, in pixels: beyond these, kernels are a single pixel or of one height."""


class Crop(RandomStep):
    """A crop of the image's own size at a random place, after padding with zeros."""

    kind: Literal["crop"] = "crop"
    padding: int = Field(4, ge=1, strict=True, description="pixels added on every side")

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return steps.crop(images, self.padding, drawing.corners(rng, len(images), self.padding))


class ResizedCrop(RandomStep):
    """A random part of the image, resized to its own size (Szegedy et al. 2015)."""

    kind: Literal["resized-crop"] = "resized-crop"
    scale: tuple[AreaShare, AreaShare] = Field((0.3, 1.0), description="least and largest share of the area")
    ratio: tuple[Ratio, Ratio] = Field((0.75, 4 / 3), description="least and largest width over height")

    @model_validator(mode="after")
    def _check(self) -> "ResizedCrop":
        check_range("scale", self.scale)
        check_range("ratio", self.ratio)
        return self

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return steps.resized_crop(images, drawing.boxes(rng, len(images), images.shape[-2:], self.scale, self.ratio))


class Flip(RandomStep):
    """Left to right, at random."""

    kind: Literal["flip"] = "flip"
    probability: float = Field(0.5, gt=0, le=1, description="probability of each image")

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return steps.flip(images, drawing.chosen(rng, len(images), self.probability))


class ColourJitter(RandomStep):
    """Brightness, contrast, saturation and hue at random, in this order; values are clipped to 0..1."""

    kind: Literal["colour-jitter"] = "colour-jitter"
    clips: ClassVar[bool] = True
    brightness: float = Field(0.4, ge=0, le=1, description="factors are drawn from 1 - brightness to 1 + brightness")
    contrast: float = Field(0.0, ge=0, le=1, description="likewise; needs 1 or 3 channels")
    saturation: float = Field(0.0, ge=0, le=1, description="likewise; needs 3 channels")
    hue: float = Field(0.0, ge=0, le=0.5, description="shift in turns of the colour circle, at most; needs 3 channels")

    @model_validator(mode="after")
    def _check(self) -> "ColourJitter":
        if not (self.brightness or self.contrast or self.saturation or self.hue):
            raise ValueError(
                "peers.view: colour-jitter changes nothing, since brightness, contrast, saturation and hue are 0: "
                "raise one, or leave the step out"
            )
        return self

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        factors = [
            drawing.factors(rng, len(images), 1.0, most) for most in (self.brightness, self.contrast, self.saturation)
        ]
        shifts = drawing.factors(rng, len(images), 0.0, self.hue)
        for change, values, most in zip(
            (steps.brightness, steps.contrast, steps.saturation, steps.hue),
            (*factors, shifts),
            (self.brightness, self.contrast, self.saturation, self.hue),
            strict=True,
        ):
            images = change(images, values) if most else images
        return images


class Greyscale(RandomStep):
    """Luminance in all channels, at random."""

    kind: Literal["greyscale"] = "greyscale"
    needs_colour: ClassVar[bool] = True
    probability: float = Field(0.2, gt=0, le=1, description="probability of each image")

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return steps.chosen_of(images, sensors.luminance(images), drawing.chosen(rng, len(images), self.probability))


class Cutout(RandomStep):
    """A square of zeros around a random pixel (DeVries and Taylor 2017)."""

    kind: Literal["cutout"] = "cutout"
    size: int = Field(4, ge=1, strict=True, description="side in pixels")

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return steps.cutout(images, self.size, drawing.pixels(rng, len(images), images.shape[-2:]))


class Blur(RandomStep):
    """A Gaussian blur of random width."""

    kind: Literal["blur"] = "blur"
    sigma: tuple[Width, Width] = Field((0.1, 2.0), description="least and largest standard deviation in pixels")
    probability: float = Field(0.5, gt=0, le=1, description="probability of each image")

    @model_validator(mode="after")
    def _check(self) -> "Blur":
        check_range("sigma", self.sigma)
        return self

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        chosen = drawing.chosen(rng, len(images), self.probability)
        widths = rng.uniform(*self.sigma, len(images))
        return steps.chosen_of(images, steps.blur(images, widths, self.sigma[1]), chosen)


class Sensor(Step):
    """Luminance in all channels; chroma, which is the image less its mean over channels; or half of the pixels."""

    kind: Literal["luminance", "chroma", "left", "right", "top", "bottom", "even-rows", "odd-rows"]

    @classmethod
    def example(cls) -> "Sensor":
        return cls(kind="left")

    @property
    def leaves_range(self) -> bool:
        return self.kind == "chroma"

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return sensors.SENSORS[self.kind](images)


class NoisySensor(Step):
    """Gaussian noise on every pixel, drawn anew for each image and round."""

    kind: Literal["noisy"] = "noisy"
    sigma: float = Field(0.3, ge=1e-6, le=1e6, description="standard deviation of the noise, where pixels are 0 to 1")

    @property
    def draws(self) -> bool:
        return True

    @property
    def leaves_range(self) -> bool:
        return True

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return sensors.noisy(images, self.sigma, rng)


class BlurredSensor(Step):
    """A Gaussian blur of fixed width."""

    kind: Literal["blurred"] = "blurred"
    sigma: Width = Field(2.0, description="standard deviation in pixels")

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return sensors.blurred(images, self.sigma)


class LowResolutionSensor(Step):
    """The image as a sensor of fewer pixels sees it, enlarged to its own size."""

    kind: Literal["low-resolution"] = "low-resolution"
    size: int = Field(8, ge=1, strict=True, description="side in pixels of the sensor")

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return sensors.low_resolution(images, self.size)


class ImportedStep(Imported, RandomStep):
    """A step of your own: a function of images [batch, channels, height, width] and a numpy generator, or a class.

    A torch.nn.Module, such as a transform of torchvision, gets the images alone. torch's own generator is seeded for
    each call.
    """

    field: ClassVar[str] = "peers.view"
    sensor: bool = Field(
        False,
        description="it is a sensor, which gives always the same of the same image, and is kept where peers are probed",
    )

    @classmethod
    def example(cls) -> "ImportedStep":
        return cls(target="torch.nn:ReLU")

    def __hash__(self) -> int:
        return hash((self.target, self.digest, self.joint, self.sensor))

    @property
    def is_sensor(self) -> bool:
        return self.sensor

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return own_steps.apply(self.origin, self.bring(), images, rng, self.sensor)


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
