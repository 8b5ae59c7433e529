"""Whether a view suits the images of a run: refused in one line before anything starts."""

from collections.abc import Iterator, Sequence

from peers.views.config import (
    Blur,
    BlurredSensor,
    ColourJitter,
    Crop,
    Cutout,
    Flip,
    Greyscale,
    LowResolutionSensor,
    ResizedCrop,
    Sensor,
)
from peers.views.section import Step
from peers.views.steps import blur_reach

NOTHING = (  # pairs of steps of which the later one leaves nothing, or next to nothing, in either order
    ("luminance", "chroma"),
    ("left", "right"),
    ("top", "bottom"),
    ("even-rows", "odd-rows"),
)
MOVING = (Crop, ResizedCrop, Flip, Blur, BlurredSensor, LowResolutionSensor)  # pixels, to other places
WIDTH, HEIGHT = ("left", "right"), ("top", "bottom", "even-rows", "odd-rows")


def check_view(steps: Sequence[Step], shape: tuple[int, ...], where: str = "peers.view") -> None:
    """Check the steps of a view against the shape of an example (of images channels, height, width).

    where: the key at which the view stands. Raises: ValueError, of one line.
    """
    if not steps:
        return
    if len(shape) != 3:
        sizes = "x".join(map(str, shape))
        raise ValueError(f"{where}: needs images (channel x height x width), got examples of {sizes}; leave it out")
    for wrong in (*_order(steps), *(each for step in steps for each in _wrong(step, *shape))):
        raise ValueError(f"{where}: {wrong}")


def _order(steps: Sequence[Step]) -> Iterator[str]:
    """What is wrong with the steps as a whole."""
    names = [step.name for step in steps]
    for one, other in NOTHING:
        if one in names and other in names:
            yield f"'{one}' and '{other}' leave nothing of an image together; keep one of them"
    if "chroma" in names and any(isinstance(step, Greyscale) for step in steps):
        yield "'greyscale' and 'chroma' leave nothing of an image together; keep one of them"
    for earlier, later in ((one, two) for at, two in enumerate(steps) for one in steps[:at]):
        if later.name in (*WIDTH, *HEIGHT) and isinstance(earlier, MOVING):
            yield f"'{earlier.name}' before '{later.name}' moves pixels into the part that is seen; put it after"
        if later.clips and earlier.leaves_range:
            yield f"'{later.name}' clips values to 0..1, and '{earlier.name}' before it makes others; put it first"


def _wrong(step: Step, channels: int, height: int, width: int) -> Iterator[str]:
    """What is wrong with a step for images of this shape."""
    size, name = f"{width}x{height} pixels", step.name
    side = min(height, width)
    colour = isinstance(step, ColourJitter) and bool(step.saturation or step.hue)
    if channels != 3 and (step.needs_colour or colour or name in ("luminance", "chroma")):
        part = " with saturation or hue" if colour else ""
        yield f"'{name}'{part} needs colour images of 3 channels, got {channels}; leave it out"
    if isinstance(step, ColourJitter) and step.contrast and channels not in (1, 3):
        yield f"'{name}' with contrast needs images of 1 or 3 channels, got {channels}; set contrast to 0"
    if isinstance(step, Sensor) and ((name in WIDTH and width < 2) or (name in HEIGHT and height < 2)):
        yield f"'{name}' leaves no pixel of images of {size}; leave it out"
    if isinstance(step, LowResolutionSensor) and step.size >= side:
        yield f"'{name}' must have a size below the images' {side} pixels, got {step.size}; lower it"
    if isinstance(step, Cutout) and step.size >= side:
        yield f"'{name}' must have a size below the images' {side} pixels, got {step.size}; lower it"
    if isinstance(step, Crop) and step.padding >= side:
        yield f"'{name}' must have a padding below the images' {side} pixels, got {step.padding}; lower it"
    if isinstance(step, Blur | BlurredSensor) and not blur_reach(1.0, (height, width)):
        yield f"'{name}' changes nothing in images of {size}; leave it out"
