"""Reads a directed graph from a CSV file of edges, line by line; error messages name the line."""

import csv
import math
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import networkx as nx

from topologies.graphs import DiGraph, check_num_peers

WEIGHT_TOLERANCE = 1e-6
LONGEST = 1_000  # characters of a line
COLUMNS = (["student", "teacher"], ["student", "teacher", "weight"])  # sorted


def from_edge_file(path: Path, num_peers: int, allow_disconnected: bool = False) -> DiGraph:
    """The edges of a CSV file with columns `teacher,student[,weight]`, in any order.

    The weights of a student's teachers sum to 1. Empty lines and lines that begin with # are ignored.

    Raises:
        ValueError: when the file cannot be read, a line breaks a rule (it is named), or the graph is disconnected.
    """
    check_num_peers(num_peers)
    graph: DiGraph = nx.DiGraph()
    graph.add_nodes_from(range(num_peers))
    for number, cells in _edges(path):
        where = _line(path, number)
        teacher, student = (_peer_index(cells[column], column, num_peers, where) for column in ("teacher", "student"))
        if teacher == student:
            raise ValueError(f"{where}: peer {student} must not teach itself; remove the line or use topology self")
        if graph.has_edge(teacher, student):
            first = graph.edges[teacher, student]["line"]
            raise ValueError(f"{where}: edge {teacher} -> {student} repeats line {first}; remove one of them")
        graph.add_edge(teacher, student, line=number)
        if "weight" in cells:
            graph.edges[teacher, student]["weight"] = _weight(cells["weight"], where)
    _check_weight_sums(graph, path)
    pieces = list(nx.weakly_connected_components(graph))
    if len(pieces) > 1 and not allow_disconnected:
        cut_off = min(set(range(num_peers)) - next(piece for piece in pieces if 0 in piece))
        raise ValueError(
            f"topology.path: {path.name} must connect all peers, but no chain of edges joins peers 0 and {cut_off}; "
            "add one or set topology.allow_disconnected = true"
        )
    return graph


def _edges(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column of every edge; the first line that is not ignored names the columns."""
    columns: list[str] | None = None
    for number, line in _lines(path):
        where = _line(path, number)
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
        _check_columns([""], _line(path, 1))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The stripped lines of a regular file with their numbers; never reads an overlong line completely."""
    if "\0" in str(path):
        raise ValueError(f"topology.path: must be a file's name, got {str(path)!r}; remove the zero byte")
    try:
        mode = path.stat().st_mode  # checked before opening, because opening a pipe blocks
        if not stat.S_ISREG(mode):
            kind = {stat.S_IFDIR: "it is a folder", stat.S_IFIFO: "it is a pipe", stat.S_IFSOCK: "it is a socket"}
            reason = kind.get(stat.S_IFMT(mode), "it is a device")
            raise ValueError(f"topology.path: cannot read {path}: {reason}; name a CSV file of edges")
        with path.open(encoding="utf-8-sig") as file:
            number = 1
            while line := file.readline(LONGEST + 1):
                if "\0" in line or len(line) > LONGEST:
                    problem = "holds a zero byte" if "\0" in line else f"has more than {LONGEST:,} characters"
                    raise ValueError(f"{_line(path, number)}: {problem}, so it is no edge; name a CSV file of edges")
                yield number, line.strip()
                number += 1
    except UnicodeDecodeError:
        reason = "it is no CSV text in UTF-8"
        raise ValueError(f"topology.path: cannot read {path}: {reason}; name a CSV file of edges") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"topology.path: cannot read {path}: {reason}; name a CSV file of edges") from None


def _line(path: Path, number: int) -> str:
    return f"topology.path: {path.name} line {number}"


def _check_columns(columns: list[str], where: str) -> None:
    if sorted(columns) in COLUMNS:
        return
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), (" ", "spaces")):
        if len(columns) == 1 and sorted(columns[0].split(separator)) in COLUMNS:
            raise ValueError(f"{where}: columns must be separated by commas, got {name}; replace them in every line")
    raise ValueError(
        f"{where}: columns must be teacher,student or teacher,student,weight, got {','.join(columns)!r}; "
        "name them in the first line"
    )


def _peer_index(cell: str, column: str, num_peers: int, where: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", cell):
        raise ValueError(f"{where}: {column} must be an integer, got {cell!r}; name a peer by its index")
    peer = int(cell)
    if not 0 <= peer < num_peers:
        raise ValueError(
            f"{where}: {column} must be from 0 to peers.count - 1 = {num_peers - 1}, got {peer}; "
            "correct it or raise peers.count"
        )
    return peer


def _weight(cell: str, where: str) -> float:
    try:
        weight = float(cell)
    except ValueError as error:
        raise ValueError(f"{where}: weight must be a number, got {cell!r}; correct it") from error
    if not 0 < weight < math.inf:
        raise ValueError(f"{where}: weight must be positive and finite, got {cell}; correct it or remove the line")
    return weight


def _check_weight_sums(graph: DiGraph, path: Path) -> None:
    for student in graph:
        edges = [data for _, _, data in graph.in_edges(student, data=True) if "weight" in data]
        total = math.fsum(data["weight"] for data in edges)
        if edges and abs(total - 1) > WEIGHT_TOLERANCE:
            raise ValueError(
                f"topology.path: {path.name} line {edges[-1]['line']}: the weights of student {student}'s teachers "
                f"must sum to 1, got {total:g}; scale them"
            )
