"""Reads the links of a run, or of each of its rounds, from a CSV file, line by line; error messages name the line."""

import csv
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import networkx as nx

from topologies.graphs import DiGraph, check_num_peers
from topologies.link_file import line_of, lines
from topologies.links import check_connected

WEIGHT_TOLERANCE = 1e-6
MOST_ROUNDS = 100_000
NAMED = ("student", "teacher")
COLUMNS = [sorted([*NAMED, *more]) for more in ([], ["weight"], ["round"], ["round", "weight"])]


class Link(NamedTuple):
    """A line of the file. weight: None if the file has no such column."""

    teacher: int
    student: int
    weight: float | None
    line: int


def from_edge_file(path: Path, num_peers: int, allow_disconnected: bool = False) -> list[list[Link]]:
    """The links of each round, from a CSV file with columns `teacher,student[,weight][,round]`, in any order.

    Without a column `round` there is one list, for all rounds. With it, there is one for each round up to the last that
    is named; those without a line are empty. The weights of a student's teachers sum to 1 in every round. Empty lines
    and lines that begin with # are ignored.

    Raises:
        ValueError: when the file cannot be read, a line breaks a rule (it is named), or all rounds' links together do
            not connect the peers.
    """
    check_num_peers(num_peers)
    rounds: dict[int, dict[tuple[int, int], Link]] = {}
    for number, cells in _edges(path):
        where = line_of(path, number)
        link = _link(cells, num_peers, number, where)
        seen = rounds.setdefault(_round_index(cells["round"], where) if "round" in cells else 0, {})
        first = seen.setdefault((link.teacher, link.student), link)
        if first is not link:
            raise ValueError(
                f"{where}: edge {link.teacher} -> {link.student} repeats line {first.line}; remove one of them"
            )
    if rounds and 0 not in rounds:
        raise ValueError(
            f"topology.path: {path.name} must have a line for round 0, got {min(rounds)} as its first round; "
            "number the rounds from 0"
        )
    by_round = [list(rounds.get(index, {}).values()) for index in range(max(rounds, default=0) + 1)]
    _check_weight_sums(by_round, path)
    pairs = {pair for links in rounds.values() for pair in links}
    check_connected(pairs, num_peers, allow_disconnected, f"topology.path: {path.name}")
    return by_round


def graph_of(links: Iterable[Link], num_peers: int) -> DiGraph:
    """The graph of one round, with the attribute `weight` where the file has weights."""
    graph: DiGraph = nx.DiGraph()
    graph.add_nodes_from(range(num_peers))
    for link in links:
        graph.add_edge(link.teacher, link.student, **({} if link.weight is None else {"weight": link.weight}))
    return graph


def count_peers(path: Path) -> int:
    """One more than the highest peer that the file names, at least 2. Raises: ValueError."""
    cells = [(cell, column, line_of(path, line)) for line, row in _edges(path) for column, cell in row.items()]
    return max([2, *(1 + _integer(cell, column, where) for cell, column, where in cells if column in NAMED)])


def _edges(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column of every edge; the first line that is not ignored names the columns."""
    columns: list[str] | None = None
    for number, line in lines(path):
        where = line_of(path, number)
        if not line or line.startswith("#"):
            continue
        try:
            (cells,) = csv.reader([line], skipinitialspace=True, strict=True)
        except csv.Error as error:
            raise ValueError(f"{where}: is no CSV, {error}; correct its quotes") from None
        cells = [cell.strip() for cell in cells]
        if columns is None:
            columns = cells
            _check_columns(columns, where)
        elif len(cells) > len(columns):
            raise ValueError(f"{where}: must have {len(columns)} cells, got more; remove the rest")
        elif len(cells) < len(columns):
            missing = ", ".join(columns[len(cells) :])
            raise ValueError(f"{where}: must have {len(columns)} cells, got {len(cells)}; add {missing}")
        else:
            yield number, dict(zip(columns, cells, strict=True))
    if columns is None:
        _check_columns([""], line_of(path, 1))


def _check_columns(columns: list[str], where: str) -> None:
    if sorted(columns) in COLUMNS:
        return
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), (" ", "spaces")):
        if len(columns) == 1 and sorted(columns[0].split(separator)) in COLUMNS:
            raise ValueError(f"{where}: columns must be separated by commas, got {name}; replace them in every line")
    raise ValueError(
        f"{where}: columns must be teacher,student or teacher,student,weight, with or without round, got "
        f"{','.join(columns)!r}; name them in the first line"
    )


def _link(cells: dict[str, str], num_peers: int, number: int, where: str) -> Link:
    teacher, student = (_peer_index(cells[column], column, num_peers, where) for column in ("teacher", "student"))
    if teacher == student:
        raise ValueError(f"{where}: peer {student} must not teach itself; remove the line or use topology self")
    return Link(teacher, student, _weight(cells["weight"], where) if "weight" in cells else None, number)


def _integer(cell: str, column: str, where: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", cell):
        what = "count rounds from 0" if column == "round" else "name a peer by its index"
        raise ValueError(f"{where}: {column} must be an integer, got {cell!r}; {what}")
    return int(cell)


def _peer_index(cell: str, column: str, num_peers: int, where: str) -> int:
    peer = _integer(cell, column, where)
    if not 0 <= peer < num_peers:
        raise ValueError(
            f"{where}: {column} must be from 0 to peers.count - 1 = {num_peers - 1}, got {peer}; "
            "correct it or raise peers.count"
        )
    return peer


def _round_index(cell: str, where: str) -> int:
    index = _integer(cell, "round", where)
    if not 0 <= index < MOST_ROUNDS:
        raise ValueError(f"{where}: round must be from 0 to {MOST_ROUNDS - 1:,}, got {index}; number the rounds from 0")
    return index


def _weight(cell: str, where: str) -> float:
    try:
        weight = float(cell)
    except ValueError as error:
        raise ValueError(f"{where}: weight must be a number, got {cell!r}; correct it") from error
    if not 0 < weight < math.inf:
        raise ValueError(f"{where}: weight must be positive and finite, got {cell}; correct it or remove the line")
    return weight


def _check_weight_sums(by_round: list[list[Link]], path: Path) -> None:
    for links in by_round:
        of_student: dict[int, list[Link]] = {}
        for link in links:
            if link.weight is not None:
                of_student.setdefault(link.student, []).append(link)
        for student, into in sorted(of_student.items()):
            total = math.fsum(link.weight or 0.0 for link in into)
            if abs(total - 1) > WEIGHT_TOLERANCE:
                raise ValueError(
                    f"{line_of(path, into[-1].line)}: the weights of student {student}'s teachers must sum to 1, got "
                    f"{total:g}; scale them"
                )
