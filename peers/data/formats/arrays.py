"""Turns examples and labels that a user has (NumPy, torch, lists) into the arrays of a data set, or says why not."""

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor, float16, float32, float64

from peers.base import memory

Examples = UInt8[np.ndarray, "_ ..."] | Float32[np.ndarray, "_ ..."]  # training and test splits differ in size
Labels = Int64[np.ndarray, " _"]
Arrays = tuple[Examples, Labels, Examples | None, Labels | None, int]
"""Training examples and labels, test examples and labels if there are some, and the number of classes."""

AT_ONCE = 2**22  # values whose finiteness is looked at together
_NUMPY_FLOATS = (float16, float32, float64)  # NumPy has no bfloat16
_CHANNELS = (1, 3, 4)  # of grey, RGB and RGBA images


def paired(train: tuple[Any, Any], test: tuple[Any, Any] | None, num_classes: int | None) -> Arrays:
    """The arrays of a data set from (examples, labels) of the training split and of the test split, if there is one.

    Raises: ValueError, of one line, as `examples` and `numbered` do, or where the parts do not fit together.
    """
    splits = {"train": train} if test is None else {"train": train, "test": test}
    for split, (values, labels) in splits.items():
        for field, given in (("images", values), ("labels", labels)):
            if given is None:
                raise ValueError(f"dataset: {split}_{field} are missing; give them, or neither images nor labels")
    images = {split: examples(values, f"{split}_images") for split, (values, _) in splits.items()}
    names = {split: plain(labels, f"{split}_labels") for split, (_, labels) in splits.items()}
    for split in splits:
        if len(images[split]) != names[split].shape[0]:
            raise ValueError(
                f"dataset: {split}_labels must have a label for each of the {len(images[split]):,} {split}_images, got "
                f"{names[split].shape[0]:,}; drop what has no partner"
            )
    numbers, count = numbered({f"{split}_labels": values for split, values in names.items()}, num_classes)
    if test is None:
        return images["train"], numbers[0], None, None, count
    for what in ("dtype", "shape"):
        one, other = (getattr(images[split], what) for split in ("train", "test"))
        one, other = (one[1:], other[1:]) if what == "shape" else (one, other)
        if one != other:
            raise ValueError(
                f"dataset: test_images must be of {what} {one} like train_images, got {other}; convert one of them"
            )
    return images["train"], numbers[0], images["test"], numbers[1], count


def examples(values: Any, name: str) -> Examples:
    """Examples as uint8 (pixels) or float32, with at least one axis after the first.

    Images of uint8 without an axis of channels get one of size 1. Raises: ValueError, if they are of another type, not
    finite, or look like images whose channels come last.
    """
    array = plain(values, name)
    if array.dtype == object:
        raise ValueError(
            f"dataset: {name} must be one array of numbers, got objects; bring all examples to one shape, and "
            "fill or drop those that are missing"
        )
    if array.ndim < 2 or not array.size:
        raise ValueError(
            f"dataset: {name} must have an axis of examples and at least one more, none of them empty, got shape "
            f"{array.shape}; use array[:, None] for examples of a single value"
        )
    if array.dtype != np.uint8:
        array = _as_float32(array, name)
    elif array.ndim == 3:
        array = array[:, None]
    _check_channels(array.shape, name)
    return array


def numbered(parts: dict[str, Any], num_classes: int | None) -> tuple[list[Labels], int]:
    """The classes of one or several arrays of labels, by name, numbered together, and the number of classes.

    Integers are classes already: 0..k-1, all of which occur; with `num_classes` given, any of 0..num_classes-1. Strings
    are numbered in sorted order. Raises: ValueError, for anything else.
    """
    if num_classes is not None and (type(num_classes) is bool or not isinstance(num_classes, int) or num_classes < 2):
        raise ValueError(f"dataset: num_classes must be a whole number of at least 2, got {num_classes!r}; correct it")
    arrays = [_checked_labels(plain(values, name), name) for name, values in parts.items()]
    if len({array.dtype.kind for array in arrays}) > 1:
        raise ValueError(f"dataset: {' and '.join(parts)} hold strings here and integers there; make them one")
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    whole = np.concatenate(arrays)
    found, ranks = np.unique(whole, return_inverse=True)
    if len(found) < 2:
        raise ValueError(f"dataset: labels must be of at least 2 classes, got {found[0]!s} alone; add others")
    if arrays[0].dtype.kind == "U":
        count = len(found) if num_classes is None else num_classes
        if len(found) > count:
            raise ValueError(
                f"dataset: labels must be of at most num_classes = {num_classes} classes, got {len(found)}; raise it"
            )
        return np.split(ranks.astype(np.int64), ends), count
    count = len(found) if num_classes is None else num_classes
    low, high = int(found[0]), int(found[-1])
    if high >= count:
        raise ValueError(_not_classes(low, high, len(found), num_classes))
    return np.split(whole.astype(np.int64), ends), count


def plain(values: Any, name: str) -> np.ndarray:
    """Any array, tensor or list as a NumPy array, not copied where it can be helped. Raises: ValueError."""
    try:
        if isinstance(values, Tensor):
            values = values.detach().cpu()
            if values.dtype.is_floating_point and values.dtype not in _NUMPY_FLOATS:
                values = values.float()
            array: np.ndarray = values.numpy()
        else:
            array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = "unequal shapes" if "inhomogeneous" in str(error) else (str(error).splitlines() or [""])[0][:120]
        raise ValueError(
            f"dataset: {name} must be an array, got {type(values).__name__} that is none ({reason}); bring all "
            "examples to one shape"
        ) from None
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        raise ValueError(f"dataset: {name} must not have masked values; fill them, or drop these examples")
    if array.ndim == 0:
        raise ValueError(f"dataset: {name} must be an array, got {type(values).__name__}; give a NumPy or torch array")
    return array


def check_share(test_fraction: Any, num_examples: int) -> None:
    """Raises: ValueError, unless this share leaves examples to train on and others to test on."""
    is_share = isinstance(test_fraction, int | float) and 0 < test_fraction < 1
    held_out = max(1, round(test_fraction * num_examples)) if is_share else 0
    if not 0 < held_out < num_examples:
        raise ValueError(
            f"dataset: test_fraction must be above 0 and below 1, and leave examples on both sides, got "
            f"{test_fraction!r} of {num_examples:,} examples; change it, or give test images and labels"
        )


def check_seed(seed: Any) -> None:
    """Raises: ValueError, unless it is a seed of a run."""
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"dataset: seed must be a whole number from 0 on, got {seed!r}; give that of the run")


def check_known(train: Labels, test: Labels) -> None:
    """Raises: ValueError, if no test example can be classified correctly. Warns, if only some can."""
    known = np.isin(test, train)
    if not known.any():
        raise ValueError(
            "dataset: no test example has a label that a training example has; shuffle the examples, or give classes "
            "as labels, not ids"
        )
    if not known.all():
        warnings.warn(
            f"dataset: {(~known).sum():,} of {len(test):,} test examples have a label that no training example has: no "
            "probe can be right about them",
            stacklevel=4,
        )


def check_finite(values: Float32[np.ndarray, "examples *shape"], what: str) -> None:
    """Raises: ValueError, if a value is NaN or infinite; its line begins with `what`, and names the example."""
    step = max(1, AT_ONCE * len(values) // max(1, values.size))
    for first in range(0, len(values), step):
        part = values[first : first + step]
        finite = np.isfinite(part).reshape(len(part), -1)
        if not finite.all():
            row = int(finite.all(axis=1).argmin())
            value = part[row].reshape(-1)[finite[row].argmin()]
            raise ValueError(f"{what} must be finite, got {value} in example {first + row} (from 0); fill or drop it")


def _as_float32(array: np.ndarray, name: str) -> Float32[np.ndarray, "examples *shape"]:
    if array.dtype.kind != "f":
        raise ValueError(
            f"dataset: {name} must be uint8 (pixels, 0 to 255) or floating-point numbers, got {array.dtype}; use "
            '.astype("uint8") for pixels, .astype("float32") for numbers'
        )
    if array.dtype != np.float32:
        memory.require(4 * array.size, f"dataset: {name} of shape {array.shape}", "give float32")
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        converted = array.astype(np.float32, copy=False)
    check_finite(converted, f"dataset: {name}" + ("" if converted is array else " as float32"))
    return converted


def _check_channels(shape: tuple[int, ...], name: str) -> None:
    """Raises: ValueError, for what can only be images with their channels last."""
    if len(shape) == 4 and shape[3] in _CHANNELS and shape[1] not in _CHANNELS and min(shape[1:3]) > max(_CHANNELS):
        raise ValueError(
            f"dataset: {name} must have their channels first, got {shape}, which looks like channels last; use "
            f"numpy.moveaxis(images, -1, 1), or call Dataset(...) itself if they are {shape[1]} channels indeed"
        )


def _checked_labels(array: np.ndarray, name: str) -> np.ndarray:
    """Labels as int64, uint64 or strings on one axis. Raises: ValueError."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or not len(array):
        advice = "use .argmax(axis=1) for one-hot labels" if array.ndim == 2 else "give one label an example"
        raise ValueError(f"dataset: {name} must have one axis of labels, got shape {array.shape}; {advice}")
    if array.dtype == object:
        array = _from_objects(array, name)
    if array.dtype.kind == "T":
        array = array.astype(str)
    if array.dtype.kind == "f" and np.isnan(array).any():
        row = int(np.isnan(array).argmax())
        raise ValueError(f"dataset: {name} are missing (nan) in example {row} (from 0); drop it, or label it")
    if array.dtype.kind not in "biuU":
        raise ValueError(
            f'dataset: {name} must be integers or strings, got {array.dtype}; use .astype("int64") or .astype(str)'
        )
    if array.dtype.kind == "i" and array.min() < 0:
        row = int((array < 0).argmax())
        raise ValueError(
            f"dataset: {name} must not be negative, got {array[row]} in example {row} (from 0), and a negative number "
            "as a rule marks an example without a label; drop such examples, or number the classes from 0"
        )
    return array if array.dtype.kind == "U" else array.astype(np.uint64)


def _from_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Python objects as strings or integers. Raises: ValueError, for others."""
    for row, label in enumerate(array):
        if not isinstance(label, str | int | np.integer):
            missing = label is None or type(label).__name__ == "NAType" or (isinstance(label, float) and label != label)
            raise ValueError(
                f"dataset: {name} must be integers or strings, got {ascii(label)[:40]} in example {row} (from 0); "
                + ("drop it, or label it" if missing else "convert it")
            )
    kinds = {isinstance(label, str) for label in array}
    if len(kinds) > 1:
        raise ValueError(f"dataset: {name} hold strings and integers; make them one")
    try:
        return array.astype(str if kinds.pop() else np.int64)
    except OverflowError:
        raise ValueError(f"dataset: {name} must be below 2**63; give strings for ids") from None


def _not_classes(low: int, high: int, found: int, num_classes: int | None) -> str:
    if num_classes is not None:
        return f"dataset: labels must be in 0..{num_classes - 1} for num_classes = {num_classes}, got {high}; raise it"
    return (
        f"dataset: labels that are integers must be 0..{found - 1}, all of which occur, got {found} different ones "
        f"from {low} to {high}; give num_classes to keep them as they are, or number them by "
        "numpy.unique(labels, return_inverse=True)[1]"
    )
