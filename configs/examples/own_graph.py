"""A graph of your own: Kleinberg's small world, with the same far links in every round, or with new ones in each.

    python configs/examples/own_graph.py [section.key=value ...]      # such as hosting.pool=ray

`topology=` takes a networkx graph (in a directed one, u -> v means that u teaches v), a matrix of weights (students by
teachers), or a function of the round that gives one of these: the same whenever it is asked for the same round, so it
draws from a seed. Nodes are the peers 0, 1, 2, ... For your work: return your own graph, of `peers.count` nodes.
"""

import sys
from pathlib import Path

import networkx as nx

from coordinator import load_config, simulate

QUICKSTART = Path(__file__).parents[1] / "quickstart.toml"
CHANGES = ["peers={count=9, model={kind='mlp'}}", "evaluation={probes=['linear'], controls=['alone']}"]


def kleinberg(round_index: int) -> nx.DiGraph:
    """A 3 x 3 grid of peers, each of which also teaches a far one; the nearer, the likelier (Kleinberg, 2000)."""
    graph = nx.navigable_small_world_graph(3, seed=round_index)
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))  # a far link may lead back
    return nx.convert_node_labels_to_integers(graph)


if __name__ == "__main__":
    config = load_config(QUICKSTART, [*CHANGES, "hosting.pool=in-process", *sys.argv[1:]])
    grid = nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 3))
    for name, topology in {"no far links": grid, "the same ones": kleinberg(0), "new ones": kleinberg}.items():
        summary = simulate(config, topology=topology).summary
        row, apart = summary["probes"]["linear"], summary["consensus"]["relative_distance"]["last"]
        print(f"{name}: {summary['topology']['mean_degree']:.2f} teachers each, disagreement {apart:.3f}", end="; ")
        print(f"linear probe: {row['verdict']}; over peers alone: {row['controls']['alone']}")
