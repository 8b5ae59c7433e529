"""Reads torch data sets whose items can be asked for by number."""

from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from peers.base import memory
from peers.data.formats.arrays import plain
from peers.data.formats.decoding import pixels_of


def read(dataset: Any, split: str) -> tuple[np.ndarray, list[Any]]:
    """All examples of a torch data set as one array, and all labels.

    Raises: ValueError, if it has no length, an item is not (example, label), examples differ in shape or type, or they
        do not fit into memory.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise ValueError(
            f"dataset: {split} must be a map-style torch data set (with a length and items), got "
            f"{type(dataset).__name__}; collect it in arrays, and use Dataset.from_arrays"
        )
    if not len(dataset):
        raise ValueError(f"dataset: {split} must have items, got none; add some")
    examples, labels = np.empty(0), []
    for index in range(len(dataset)):
        example, label = _item(dataset, index, split)
        if index == 0:
            memory.require(len(dataset) * example.nbytes, f"dataset: {len(dataset):,} {split} items", "give fewer")
            examples = np.empty((len(dataset), *example.shape), example.dtype)
        if example.shape != examples.shape[1:] or example.dtype != examples.dtype:
            raise ValueError(
                f"dataset: {split} item {index} is {example.dtype} of shape {example.shape}, item 0 {examples.dtype} "
                f"of {examples.shape[1:]}; bring all to one shape in the transform"
            )
        examples[index] = example
        labels.append(label)
    return examples, labels


def _item(dataset: Any, index: int, split: str) -> tuple[np.ndarray, Any]:
    """One example as an array, and its label. Raises: ValueError."""
    where = f"{split} item {index}"
    try:
        item = dataset[index]
    except Exception as error:  # whatever the user's own code raises
        reason = (str(error).splitlines() or [""])[0][:120]
        raise ValueError(f"dataset: {where} cannot be read ({type(error).__name__}: {reason}); repair it") from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        kind = f"{len(item)} values" if isinstance(item, tuple | list) else type(item).__name__
        raise ValueError(f"dataset: {where} must be (example, label), got {kind}; wrap the data set in one of pairs")
    example, label = item
    if isinstance(label, Tensor | np.ndarray) and label.ndim == 0:
        label = label.item()
    if isinstance(example, Image.Image):
        return pixels_of(example, where), label
    array = plain(example, where)
    if array.dtype == object:
        raise ValueError(f"dataset: {where} must be an array of numbers, got objects; convert it in the transform")
    return array, label
