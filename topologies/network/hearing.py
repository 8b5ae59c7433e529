"""The weights of what a student has heard, where that is not what its links say."""

from collections.abc import Iterable
from functools import lru_cache

from topologies.round import Edge


def without(edges: tuple[Edge, ...], student: int, missing: Iterable[int]) -> tuple[Edge, ...]:
    """A student's edges without these teachers: its own share stays, and the others share the rest.

    Empty if it hears nobody but itself.
    """
    gone = frozenset(missing)
    left = [edge for edge in edges if edge.teacher not in gone]
    own = sum(edge.weight for edge in left if edge.teacher == student)
    total = sum(edge.weight for edge in left if edge.teacher != student)
    if not total:
        return ()
    scale = (1.0 - own) / total
    return tuple(edge if edge.teacher == student else edge._replace(weight=edge.weight * scale) for edge in left)


@lru_cache(maxsize=100_000)
def aged(teacher: int, weight: float, age: int) -> Edge:
    """An edge; equal ones are one object."""
    return Edge(teacher, weight, age)
