"""Turns tables (Parquet, Arrow, in memory) into the arrays of a data set."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from peers.data.formats import images, vectors
from peers.data.formats.arrays import Examples, Labels, check_share
from peers.data.formats.holdout import chosen_rows, held_out_share
from peers.data.formats.labels import check_classes, read_labels
from peers.data.formats.shapes import described
from peers.data.formats.tables import Source, num_rows, open_table, shown

Whole = tuple[Examples, Labels, Examples, Labels, int]
"""Training examples and labels, test examples and labels, and the number of classes."""

_SETTING = re.compile(r"\bdata\.(?=image_column|label_column|feature_columns|image_size)")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold examples and labels; see `Dataset.from_arrow`."""

    image: str = "image"
    label: str = "label"
    features: tuple[str, ...] = ()
    image_size: int = 0


def read_tables(
    train: Sequence[Source],
    test: Sequence[Source],
    columns: Columns,
    *,
    limits: tuple[int, int],
    test_fraction: float,
    seed: np.random.SeedSequence,
    num_classes: int = 0,
) -> Whole:
    """Examples and labels of the training and the test split, each in any number of tables.

    Only the rows within `limits` (of training and test examples; 0: all) are decoded: those that `datasets.limit` would
    choose with the same seed. Without test tables, a stratified share of the rows is held out.

    Raises: ValueError; see `labels.read_labels`, `images.read_images`, `vectors.read_vectors`; or a limit is too large,
        or the splits have no common label, or the examples do not fit into memory.
    """
    sources = [*train, *test]
    classes, num_classes = read_labels(sources, columns.label, num_classes)
    is_test = np.arange(len(classes)) >= num_rows(train) if test else held_out_share(classes, test_fraction, seed)
    if is_test.all() or not is_test.any():
        place = shown(train[0] if len(train) == 1 else train[0].parent)
        raise ValueError(f"data.path: {place} must hold examples to train on and others to test on; add rows")
    rows, test_rows = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    rows = rows[chosen_rows("train", len(rows), limits[0], seed)]
    test_rows = test_rows[chosen_rows("test", len(test_rows), limits[1], seed)]
    read = _read_images if _holds_images(sources[0], columns) else _read_vectors
    examples = read(sources, rows, test_rows, columns, (classes[~is_test], classes[is_test], num_classes))
    return examples[0], classes[rows], examples[1], classes[test_rows], num_classes


def from_tables(table: Any, test: Any, columns: Columns, test_fraction: float, seed: np.random.SeedSequence) -> Whole:
    """`read_tables` of tables in memory, with errors that name arguments, not settings. Raises: ValueError."""
    train = _table(table, "table")
    tests = [] if test is None else [_table(test, "test")]
    if not tests:
        check_share(test_fraction, len(train))
    with _naming_arguments():
        whole = read_tables([train], tests, columns, limits=(0, 0), test_fraction=test_fraction, seed=seed)
    if whole[-1] < 2:
        raise ValueError(f"label_column: '{columns.label}' must hold at least 2 classes, got 1; add others")
    return whole


def _holds_images(source: Source, columns: Columns) -> bool:
    """Whether the examples are encoded images. Raises: ValueError, if there is no such column."""
    if columns.features:
        return False
    table = open_table(source, columns.image, "data.image_column")
    return not vectors.holds_vectors(table.schema.field(columns.image).type)


def _read_images(
    sources: Sequence[Source], rows: Labels, test_rows: Labels, columns: Columns, classes: tuple[Labels, Labels, int]
) -> tuple[Examples, Examples]:
    cells = images.table_cells(sources, columns.image)
    like = images.check_images(cells, (rows, test_rows), columns.image_size)
    check_classes(*classes, columns.label)
    return images.read_splits(cells, rows, test_rows, columns.image_size, like)


def _read_vectors(
    sources: Sequence[Source], rows: Labels, test_rows: Labels, columns: Columns, classes: tuple[Labels, Labels, int]
) -> tuple[Examples, Examples]:
    check_classes(*classes, columns.label)
    if columns.features:
        _check_features(columns)
        made = [vectors.read_columns(sources, chosen, columns.features) for chosen in (rows, test_rows)]
    else:
        made = [vectors.read_vectors(sources, chosen, columns.image) for chosen in (rows, test_rows)]
    train, test = made
    if columns.image_size:
        raise ValueError(f"data.image_size: resizes images, got {described(train.shape[1:])}; set it to 0")
    if (train.dtype, train.shape[1:]) != (test.dtype, test.shape[1:]):
        raise ValueError(
            f"data.image_column: '{columns.image}' holds {train.dtype} {described(train.shape[1:])} to train on and "
            f"{test.dtype} {described(test.shape[1:])} to test on; bring them to one type and size"
        )
    return train, test


def _check_features(columns: Columns) -> None:
    """Raises: ValueError, if labels are among the features, or a column is named twice."""
    if columns.label in columns.features:
        raise ValueError(
            f"data.feature_columns: must not have '{columns.label}', which holds the labels; leave it out, or set "
            "data.label_column"
        )
    twice = next((name for name in columns.features if columns.features.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"data.feature_columns: must name each column once, got '{twice}' twice; leave one out")


def _table(given: Any, name: str) -> Any:
    """Any Arrow data as a Table. Raises: ValueError."""
    if isinstance(given, pa.RecordBatch):
        given = pa.Table.from_batches([given])
    elif isinstance(given, pa.RecordBatchReader):
        try:
            given = given.read_all()
        except (pa.ArrowException, OSError) as error:
            reason = (str(error).splitlines() or [""])[0][:120]
            raise ValueError(f"{name}: the RecordBatchReader cannot be read ({reason}); build it again") from error
    if not isinstance(given, pa.Table):
        raise ValueError(
            f"{name}: must be a pyarrow Table, RecordBatch or RecordBatchReader, got {type(given).__name__}; use "
            "pyarrow.Table.from_pandas for a DataFrame, pyarrow.table for a dict of columns"
        )
    if not given.num_rows:
        raise ValueError(f"{name}: must have rows, got none; add some")
    return given


@contextmanager
def _naming_arguments() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(_SETTING.sub("", str(error))) from None
