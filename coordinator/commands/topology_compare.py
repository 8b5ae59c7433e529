"""`peer-consensus topology --compare`: several topologies side by side, as a table and as small drawings."""

from pathlib import Path

from rich.console import Console

from coordinator.commands import topology
from coordinator.commands.topology import (
    cells,
    check_picture,
    described,
    drawing,
    example_of,
    is_own,
    matrix_cells,
    of_kind,
    of_own,
    pace,
    values_of,
)
from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.errors import nearest
from coordinator.reports.tables import compact_table
from topologies.config import KINDS
from topologies.facts import TopologyFacts
from topologies.schedule import Schedule

COLUMNS = ("kind", "degree", "messages a round", "diameter", "gap W", "gap P", "links")
EXAMPLE = "--compare ring,torus,complete"
PACES = {"the same": "the same every round", "drawn anew": "drawn anew every round"}
Described = dict[str, tuple[str, Schedule, TopologyFacts]]  # by label: the kind, and what came of it


def show(what: str, settings: list[str], plot: Path | None, compare: str | None, console: Console) -> None:
    """Show one topology or all kinds, as `topology.show` does; with `compare` several, side by side.

    what: then the first of the settings, if there are any; else `list`. Raises: ConfigError.
    """
    if compare is None:
        topology.show(what, settings, plot, console)
    else:
        _show_several(compare, [*([] if what == "list" else [what]), *settings], plot, console)


def _show_several(compare: str, settings: list[str], plot: Path | None, console: Console) -> None:
    """Print the facts of several topologies in one table; draw them into `plot`, each with its facts.

    compare: kinds and files of links, with commas between. settings: num_peers and seed, for all kinds.
    """
    check_picture(plot)
    named = [name.strip() for name in compare.split(",") if name.strip()]
    _check(named, settings)
    found = _described(named, settings)
    counts = {facts.num_peers for _, _, facts in found.values()}
    alike = f"{counts.pop()} peers" if len(counts) == 1 else ""
    if alike:
        console.print(alike, highlight=False)
    table = compact_table(*COLUMNS, wrapped="links")
    for label, (_, schedule, facts) in found.items():
        degree, _, messages, diameter = cells(facts)
        gap, _, pooled, *_ = matrix_cells(facts)
        name = label if alike else f"{label} ({facts.num_peers} peers)"
        table.add_row(name, degree, messages, diameter, gap, pooled, PACES.get(pace(schedule), pace(schedule)))
    console.print(table)
    console.print("gap: spectral gap of the gossip matrix W and of the pooling matrix P; -: not known", highlight=False)
    if plot is not None:
        with drawing(plot):
            _draw(found, alike, plot)
        console.print(f"drawn in {plot}", highlight=False, markup=False)


def _check(named: list[str], settings: list[str]) -> None:
    """Raises: ConfigError, for names that are none, or twice, or settings that are not for all kinds."""
    if not named:
        raise ConfigError(f"--compare: must name kinds with commas between, got none: write {EXAMPLE}")
    beside = [setting for setting in settings if "=" not in setting]
    if beside:
        raise ConfigError(f"--compare: names all topologies itself, got '{beside[0]}' beside it: write {EXAMPLE}")
    unknown = sorted(set(values_of(settings)) - {"num_peers", "seed"})
    if unknown:
        raise ConfigError(f"--compare: takes num_peers and seed, got {', '.join(unknown)}: draw that kind by itself")
    twice = [name for name in named if named.count(name) > 1]
    if twice:
        raise ConfigError(f"--compare: '{twice[0]}' stands twice: remove one")
    for name in named:
        if name == "file":
            raise ConfigError("--compare: 'file' is no topology by itself: name the file of links, such as links.csv")
        if name not in KINDS and not is_own(name):
            raise ConfigError(f"--compare: '{name}' is neither a kind nor a file of links{nearest(name, [*KINDS])}")


def _described(named: list[str], settings: list[str]) -> Described:
    """Each topology by its label; kinds that need a setting have that of their example. Raises: ConfigError."""
    values = values_of(settings)
    count = of_kind("ring", values).peers.count
    found: Described = {}
    for name in named:
        label, example = example_of(KINDS[name], count) if name in KINDS else (name, {})
        try:
            config: RunConfig = of_kind(name, values | example) if name in KINDS else of_own(name, {})
            found[label] = (config.topology.kind, *described(config))
        except ConfigError as error:
            raise ConfigError(f"--compare: {str(error).replace('peers.count', 'num_peers')}") from None
    return found


def _draw(found: Described, alike: str, plot: Path) -> None:
    from coordinator.figures import graph  # imported here because it imports matplotlib

    rows = [
        (label if alike else f"{label}, {facts.num_peers} peers", kind, schedule, facts)
        for label, (kind, schedule, facts) in found.items()
    ]
    graph.save_comparison(rows, alike, plot)
