"""The shape of one example, and words for it."""

Shape = tuple[int, ...]
"""Sizes of an example's axes: (features,), (channel, time), (channel, height, width) or others."""

_NOUNS = {1: "vectors", 2: "series", 3: "images", 4: "volumes"}


def noun(shape: Shape) -> str:
    """What examples of this shape are called, in the plural."""
    return _NOUNS.get(len(shape), "arrays")


def sizes(shape: Shape) -> str:
    """The sizes of the axes, as in 3x32x32."""
    return "x".join(map(str, shape))


def described(shape: Shape) -> str:
    """Such as "images of 3x32x32", "vectors of 13 values"."""
    return f"{noun(shape)} of {sizes(shape)}" + (" values" if len(shape) == 1 else "")


def require_images(what: str, shape: Shape, advice: str) -> None:
    """Raises: ValueError ("`what` images (...), got ...; `advice`"), unless examples have channel, height and width."""
    if len(shape) != 3:
        raise ValueError(f"{what} images (channel x height x width), got {described(shape)}; {advice}")
