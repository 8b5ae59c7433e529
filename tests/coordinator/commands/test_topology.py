from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from topologies.config import KINDS

Cli = Callable[..., tuple[Any, str, str]]


def test_topology__facts_of_a_kind(cli: Cli, tiny: Path) -> None:
    code, out, _ = cli("topology", "hypercube", "num_peers=8")
    assert code == 0 and out.splitlines()[0] == "hypercube, 8 peers, the same links every round"
    facts = {line[:32].strip(): line[32:] for line in out.splitlines()[1:]}
    assert (facts["teachers of a student"], facts["links a round"], facts["diameter"]) == ("3", "24", "3")
    assert facts["spectral gap"].split() == ["0.5", "0"]  # W has weights 1/4: 1 - (4 - 2) / 4; P has the eigenvalue -1
    assert facts["rounds to disagreement 0.001"].split() == ["10", "never"]
    assert facts["1 - λ2"].split() == ["0.6667"]  # P has weights 1/3: 1 - (3 - 2) / 3
    assert "W: gossip matrix" in out and "P: pooling matrix" in out and "P has a gap of 0" in out


def test_topology__self_weight_makes_both_matrices_one(cli: Cli, tiny: Path) -> None:
    _, out, _ = cli("topology", "ring", "num_peers=8", "self_weight=0.5")
    facts = {line[:32].strip(): line[32:].split() for line in out.splitlines()[1:]}
    assert facts["spectral gap"] == ["0.1464", "0.1464"] and facts["1 - λ2"] == ["0.1464"]  # (1 - cos(pi / 4)) / 2
    assert facts["rounds to disagreement 0.001"] == ["44", "44"] and "P has a gap" not in out


def test_topology__of_links_drawn_anew_only_the_mean_of_p_is_known(cli: Cli, tiny: Path) -> None:
    _, out, _ = cli("topology", "random-matching", "num_peers=6")
    facts = {line[:32].strip(): line[32:].split() for line in out.splitlines()[1:]}
    assert facts["spectral gap"][1:] == ["-"] and facts["1 - λ2"] == ["1.2"]  # of the complete graph: 6 / 5
    assert "rounds drawn anew have another P each" in out


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["ring", "num_peers=1024"], "550,424"),
        (["self"], "never"),
        (["random-regular", "degree=1", "num_peers=6", "allow_disconnected=true"], "never"),
        (["path", "num_peers=600", "weights=uniform"], "more than 754,"),
        (["hypercube", "num_peers=8"], "10"),
    ],
)
def test_topology__never_is_told_only_where_it_is_never(asked: list[str], told: str, cli: Cli, tiny: Path) -> None:
    _, out, _ = cli("topology", *asked)
    line = next(line for line in out.splitlines() if "rounds to" in line)
    assert line.partition("0.001")[2].strip().startswith(told)


def test_topology__of_an_experiment_with_overrides(cli: Cli, tiny: Path) -> None:
    assert cli("topology", "tiny.toml")[1].startswith("ring, 4 peers")
    assert cli("topology", "tiny.toml", "topology.kind=star")[1].startswith("star, 4 peers")


def test_topology__list_has_every_kind_and_says_which_cannot_be(cli: Cli, tiny: Path) -> None:
    code, out, _ = cli("topology", "list", "num_peers=7")
    first = [line.split()[0] for line in out.splitlines()[3:] if line[:1].isalpha()]
    assert code == 0 and out.startswith("7 peers\n")
    assert set(KINDS) - {"file"} <= set(first)
    assert "torus: topology.kind: torus needs a peer count that is a product" in out
    complete = next(line.split() for line in out.splitlines() if line.startswith("complete"))
    assert complete[1:5] == ["6", "42", "1", "the"]
    spectra = next(line.split() for line in reversed(out.splitlines()) if line.startswith("complete"))
    assert spectra[1:] == ["1", "1", "0.8333", "4", "1.167"]  # eigenvalues of P: 1 and -1/6


def facts_in(out: str) -> list[str]:
    return [line for line in out.splitlines()[1:] if line.startswith("  ")]


def test_topology__of_a_file_has_the_facts_of_the_kind(cli: Cli, tiny: Path) -> None:
    """For as many peers as the file names."""
    nx.write_graphml(nx.cycle_graph(6), "my.graphml")
    nx.write_edgelist(nx.cycle_graph(6), "my.edgelist")
    code, out, _ = cli("topology", "my.graphml")
    assert code == 0 and out.startswith("my.graphml, 6 peers, the same links every round\n")
    assert facts_in(out) == facts_in(cli("topology", "ring", "num_peers=6")[1])
    assert facts_in(cli("topology", "my.edgelist", "directed=false")[1]) == facts_in(out)
    uniform = cli("topology", "star", "num_peers=6", "weights=uniform")[1]
    nx.write_gml(nx.star_graph(5), "star.gml")
    assert facts_in(cli("topology", "star.gml", "weights=uniform")[1]) == facts_in(uniform)


def test_topology__of_a_file_by_rounds(cli: Cli, tiny: Path) -> None:
    links = [f"{hop},{(peer + 2**hop) % 8},{peer}" for hop in range(3) for peer in range(8)]
    Path("e.csv").write_text("\n".join(["round,teacher,student", *links]))
    code, out, _ = cli("topology", "e.csv", "--plot", "e.png")
    assert code == 0 and out.startswith("e.csv, 8 peers, one of 3\n") and Path("e.png").is_file()
    assert facts_in(out)[:-1] == facts_in(cli("topology", "one-peer-exponential", "num_peers=8")[1])


def test_topology__list_has_files_beside_the_kinds(cli: Cli, tiny: Path) -> None:
    nx.write_graphml(nx.cycle_graph(6), "my.graphml")
    Path("bad.csv").write_text("teacher,student\n0,0\n")
    code, out, _ = cli("topology", "list", "my.graphml", "num_peers=6", "bad.csv")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line[:1].isalpha()}
    assert code == 0 and rows["my.graphml"] == rows["ring"]
    assert "bad.csv: topology.path: bad.csv line 2: peer 0 must not teach itself" in out
    _, out, _ = cli("topology", "list", "my.graphml")
    assert sum(line.startswith("my.graphml (6 peers) ") for line in out.splitlines()) == 2


def test_topology__list_fits_eighty_columns(cli: Cli, tiny: Path) -> None:
    _, out, _ = cli("topology", "list")
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_topology__plot(suffix: str, cli: Cli, tiny: Path) -> None:
    starts = {"png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-", "svg": b"<?xml"}
    code, out, _ = cli("topology", "one-peer-exponential", "num_peers=8", "--plot", f"g.{suffix}")
    assert code == 0 and f"g.{suffix}" in out
    assert Path(f"g.{suffix}").read_bytes().startswith(starts[suffix])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rnig"], "topology: 'rnig' is neither a file nor a kind; did you mean 'ring'?"),
        (["ring", "degre=3"], "topology.degre: no such key; one of kind, self_weight, weights"),
        (["ring", "num_peers"], "'num_peers' is not section.key=value, such as run.rounds=10"),
        (["ring", "num_peers=x"], "num_peers: must be a whole number, got 'x'"),
        (["list", "num_peers=1"], "num_peers must be at least 2, got 1: one peer has nobody to learn from"),
        (["list", "num_peers=x"], "num_peers: must be a whole number, got 'x'"),
        (["list", "degree=3"], "topology list: takes num_peers and seed, got degree: name a kind"),
        (["torus", "num_peers=7"], "topology.kind: torus needs a peer count that is a product"),
        (
            ["list", "--plot", "g.png"],
            "--plot: draws one topology: name a kind, a file of links or an experiment file, or",
        ),
        (["--compare", "ring,rnig"], "--compare: 'rnig' is neither a kind nor a file of links; did you mean 'ring'?"),
        (["--compare", " , "], "--compare: must name kinds with commas between, got none: write --compare ring,torus"),
        (["ring", "--compare", "torus"], "--compare: names all topologies itself, got 'ring' beside it: write --comp"),
        (
            ["--compare", "ring", "degree=3"],
            "--compare: takes num_peers and seed, got degree: draw that kind by itself",
        ),
        (["--compare", "ring,star,ring"], "--compare: 'ring' stands twice: remove one"),
        (
            ["--compare", "file"],
            "--compare: 'file' is no topology by itself: name the file of links, such as links.csv",
        ),
        (["--compare", "ring,torus", "num_peers=7"], "--compare: topology.kind: torus needs a peer count that is a"),
        (["--compare", "ring", "--plot", "g.doc"], "--plot: 'g.doc' must end in .png, .pdf or .svg"),
        (["--compare", "ring", "--plot", "no/g.png"], "--plot: cannot draw into 'no/g.png': No such file or directory"),
        (
            ["--compare", "no.csv"],
            "--compare: topology.path: cannot read no.csv: No such file or directory; name a CSV",
        ),
        (["ring", "--plot", "g.doc"], "--plot: 'g.doc' must end in .png, .pdf or .svg"),
        (["ring", "--plot", "g"], "--plot: 'g' must end in .png, .pdf or .svg"),
        (["ring", "--plot", "no/g.png"], "--plot: cannot draw into 'no/g.png': No such file or directory"),
        (["no.csv"], "topology.path: cannot read no.csv: No such file or directory; name a CSV file of edges"),
        (["no.gml"], "topology.path: cannot read no.gml: No such file or directory; name a GML file"),
        (["no.csv", "path=x.csv"], "path: 'no.csv' is named already, got path=x.csv: leave it out"),
        (["list", "tiny.toml"], "topology list: 'tiny.toml' is neither key=value nor a file of links nor package"),
        (["tinny.toml"], "config: no file 'tinny.toml'; did you mean 'tiny.toml'?"),
    ],
)
def test_topology__mistakes_are_one_line(arguments: list[str], line: str, cli: Cli, tiny: Path) -> None:
    code, _, err = cli("topology", *arguments)
    assert code == 2 and err.startswith(f"error: {line}") and err.count("\n") == 1


def test_topology__compare_has_the_facts_of_each(cli: Cli, tiny: Path) -> None:
    code, out, _ = cli("topology", "--compare", "ring,torus,complete,random", "num_peers=16", "--plot", "c.png")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert code == 0 and rows["16"] == ["peers"] and Path("c.png").read_bytes().startswith(b"\x89PNG")
    assert rows["ring"][:5] == ["2", "32", "8", "0.05075", "0"]  # 2/3 (1 - cos(pi / 8)); P of an even ring swaps
    assert rows["torus"][:5] == ["4", "64", "4", "0.4", "0"]
    assert rows["complete"][:5] == ["15", "240", "1", "1", "0.9333"]  # eigenvalue -1/15
    assert rows["random"][4] == "-" and rows["random"][5:] == ["drawn", "anew", "every", "round"]


def test_topology__compare_of_a_file_and_kinds_that_need_settings(cli: Cli, tiny: Path) -> None:
    nx.write_graphml(nx.cycle_graph(6), "my.graphml")
    code, out, _ = cli("topology", "--compare", "my.graphml,random-regular", "num_peers=8")
    assert code == 0 and "my.graphml (6 peers)" in out and "random-regular degree=4 (8 peers)" in out
    assert "drawn in" not in out
