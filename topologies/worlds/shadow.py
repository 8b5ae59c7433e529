"""Reads the network graphs of the simulator Shadow: GML with times on edges and bandwidths on nodes.

Source: Shadow's network graph specification. Its `packet_loss` is told, but not used: losses are settings here.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from jaxtyping import Float

from topologies.worlds.section import SLOWEST_LINK
from topologies.worlds.table_file import check_file

TIMES = {"ns": 1e-9, "us": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "": 1.0}
BITS = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "kibit": 2.0**10, "mibit": 2.0**20, "gibit": 2.0**30}
BITS |= {unit.replace("bit", "bits"): bits for unit, bits in BITS.items()} | {"": 1.0}


def latencies(
    path: Path, field: str
) -> tuple[tuple[str, ...], Float[np.ndarray, "senders receivers"], tuple[str, ...]]:
    """The nodes' names, seconds one way along shortest paths (NaN without one; the diagonal: self-loops), and notes.

    field: the setting that names the file. Raises: ValueError.
    """
    graph, where = _read(path, field)
    names, place = _names(graph), {node: index for index, node in enumerate(graph)}
    lossy = 0
    for source, target, data in graph.edges(data=True):
        data["seconds"] = _quantity(data, "latency", TIMES, "10 ms", f"{where}: edge {source} {target}")
        lossy += bool(data.get("packet_loss"))
    seconds = np.full((len(names), len(names)), np.nan)
    for source, lengths in nx.all_pairs_dijkstra_path_length(graph, weight="seconds"):
        for target, length in lengths.items():
            seconds[place[source], place[target]] = length
    for node in graph:
        loop = graph.get_edge_data(node, node)
        seconds[place[node], place[node]] = loop["seconds"] if loop else 0.0
    told = f"{where}: packet_loss of {lossy} edges is not used; set network.loss"
    return names, seconds, (told,) if lossy else ()


def rates(path: Path, field: str) -> dict[str, tuple[float, float]]:
    """Bytes a second up and down of the nodes, by name. Raises: ValueError."""
    graph, where = _read(path, field)
    found = {}
    for name, (node, data) in zip(_names(graph), graph.nodes(data=True), strict=True):
        place = f"{where}: node {node}"
        keys = ("host_bandwidth_up", "host_bandwidth_down")
        up, down = (_quantity(data, key, BITS, "20 Mbit", place) / 8 for key in keys)
        if min(up, down) < SLOWEST_LINK:
            raise ValueError(f"{place}: bandwidths must be at least 8 kbit, got {min(up, down) * 8:g} bit; correct it")
        found[name] = (up, down)
    return found


def _read(path: Path, field: str) -> tuple["nx.Graph[Any]", str]:
    where = check_file(path, field, "a *.gml graph of Shadow")
    try:
        graph: nx.Graph[Any] = nx.read_gml(path, label="id")
    except Exception as error:  # networkx raises whatever its parser raises
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise ValueError(f"{where}: is no GML, {reason}; name a graph of Shadow") from None
    if graph.is_multigraph() or not len(graph):
        raise ValueError(f"{where}: must have nodes, and one edge between two of them, got others; correct it")
    return graph, where


def _names(graph: "nx.Graph[Any]") -> tuple[str, ...]:
    return tuple(str(data.get("label", node)) for node, data in graph.nodes(data=True))


def _quantity(data: Mapping[str, Any], key: str, units: Mapping[str, float], example: str, where: str) -> float:
    """A number with a unit; without one, seconds or bits. Raises: ValueError."""
    if key not in data:
        raise ValueError(f'{where}: must have the attribute {key}, got nothing; add it, such as {key} "{example}"')
    found = re.fullmatch(r"\s*([0-9][0-9.eE+-]*)\s*([A-Za-zμ]*)\s*", str(data[key]))
    try:
        return float(found[1]) * units[found[2].lower()]  # type: ignore[index]
    except (ValueError, KeyError, TypeError):
        value = str(data[key])[:40]
        raise ValueError(f'{where}: {key} must be such as "{example}", got {value!r}; correct it') from None
