"""Numbers as a document has them: four significant digits, null for what is unknown; and the ends of scales."""

import math
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from typing import Any

DIGITS = 4
MOST_KEPT = 2**16  # numbers that are not written again: those of curves are asked for with every change
STEPS = (1.0, 2.0, 5.0, 10.0)  # of a scale's end, in every power of ten: so a scale seldom changes
FINE_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)  # of one that never does

Number = float | int | None


def shortened(value: float | None) -> Number:
    """The value with four significant digits, as an integer if it is one; None if it is unknown or not finite."""
    return None if value is None or not math.isfinite(value) else _short(value)


@lru_cache(MOST_KEPT)
def _short(value: float) -> float | int:
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short


def listed(values: Iterable[float]) -> list[Number]:
    return [shortened(value) for value in values]


def scale_end(largest: float, steps: Iterable[float] = STEPS) -> Number:
    """The next round number from `largest` on, 1 if it is 0 or less."""
    if not math.isfinite(largest) or largest <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(largest))
    return shortened(next((step * power for step in steps if step * power >= largest * (1 - 1e-9)), 10.0 * power))


class Kept:
    """Results of functions of arrays, which are computed again only if one of the arrays has been replaced.

    So equal rows of two documents are the same objects, and comparing the documents costs little.
    """

    def __init__(self) -> None:
        self._results: dict[Hashable, tuple[tuple[Any, ...], Any]] = {}

    def of(self, key: Hashable, sources: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """The result of `make()` for this key, as long as each of the sources is the same object as before."""
        found = self._results.get(key)
        if found is not None and len(found[0]) == len(sources) and all(map(lambda a, b: a is b, found[0], sources)):
            return found[1]
        result = make()
        self._results[key] = sources, result
        return result
