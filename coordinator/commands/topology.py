"""`peer-consensus topology`: the facts of one topology, or of all kinds and a user's own side by side."""

import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from coordinator.experiment.config import ConfigError, RunConfig, config_from, load_config, parse_setting
from coordinator.experiment.errors import nearest
from coordinator.planning.schedules import build_schedule
from coordinator.reports.matrices import DRAWN, LEGEND, SWAPS, pooling_cells, rounds_to, swaps
from coordinator.reports.tables import compact_table
from topologies.analysis.measures import describe
from topologies.config import KINDS
from topologies.facts import EPSILON, TopologyFacts
from topologies.files import SUFFIXES, count_peers, is_link_file
from topologies.schedule import Schedule
from topologies.topology import Topology

PICTURES = (".png", ".pdf", ".svg")
COLUMNS = ("kind", "degree", "links", "messages", "diameter")
MATRICES = ("kind", "gap W", "rounds W", "gap P", "rounds P", "1 - λ2 of P")
ROUNDS = f"rounds to disagreement {EPSILON:g}"

LINKS = {"the same": "the same links every round", "drawn anew": "links drawn anew every round"}
LONG = {
    "degree": "teachers of a student",
    "links": "links a round",
    "messages": "messages a round",
}


def show(what: str, settings: list[str], plot: Path | None, console: Console) -> None:
    """Print the facts of one topology, or with `list` of all kinds and the user's own; draw the links into `plot`.

    what: a kind, a file of links, an experiment file, or `list`, of which files of links are further arguments.
    Raises: ConfigError.
    """
    if what == "list":
        if plot is not None:
            raise ConfigError(
                "--plot: draws one topology: name a kind, a file of links or an experiment file, or several kinds as "
                "--compare ring,torus,complete"
            )
        own = [setting for setting in settings if "=" not in setting]
        _show_all(values_of([setting for setting in settings if "=" in setting]), own, console)
        return
    check_picture(plot)
    if what in KINDS:
        name, config = what, of_kind(what, values_of(settings))
    elif is_own(what):
        name, config = what, of_own(what, values_of(settings))
    elif what.endswith(".toml") or Path(what).is_file():
        named = {"num_peers": "peers.count", "seed": "run.seed"}
        config = load_config(what, [_renamed(setting, named) for setting in settings])
        name = config.topology.kind
    else:
        raise ConfigError(f"topology: '{what}' is neither a file nor a kind{nearest(what, [*KINDS, 'list'])}")
    schedule, facts = described(config)
    console.print(f"{name}, {facts.num_peers} peers, {LINKS.get(pace(schedule), pace(schedule))}", highlight=False)
    for column, value in zip(COLUMNS[1:], cells(facts), strict=True):
        console.print(f"  {LONG.get(column, column):<30}{value}", highlight=False)
    _show_matrices(facts, console)
    if plot is not None:
        from coordinator.figures.graph import save_topology  # imported here because it imports matplotlib

        with drawing(plot):
            save_topology(schedule, plot, name=name, kind=config.topology.kind, facts=facts)
        console.print(f"  {'drawn in':<30}{plot}", highlight=False, markup=False)


def check_picture(plot: Path | None) -> None:
    """Raises: ConfigError, if the file of a drawing has none of the known endings."""
    if plot is not None and plot.suffix.lower() not in PICTURES:
        raise ConfigError(f"--plot: '{plot}' must end in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}")


@contextmanager
def drawing(plot: Path) -> Iterator[None]:
    """Around the writing of a drawing. Raises: ConfigError, if the file cannot be written."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"--plot: cannot draw into '{plot}': {error.strerror}") from None


def _renamed(setting: str, named: dict[str, str]) -> str:
    key, equals, value = setting.partition("=")
    return f"{named.get(key, key)}{equals}{value}"


def is_own(what: str) -> bool:
    """Whether a user's own topology is named, of which `of_own` makes a config: a file of links, or an import."""
    return is_link_file(Path(what)) or _is_target(what)


def _is_target(what: str) -> bool:
    """Whether it is package.module:name, and no file."""
    return bool(re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", what)) and not Path(what).exists()


def of_own(what: str, values: dict[str, Any]) -> RunConfig:
    """A config whose topology is a user's own, by default for as many peers as it names. Raises: ConfigError."""
    if _is_target(what):
        return of_kind("import", {"target": what} | values)
    if "path" in values:
        raise ConfigError(f"path: '{what}' is named already, got path={values['path']}: leave it out")
    try:
        count = {} if "num_peers" in values else {"num_peers": count_peers(Path(what), values.get("directed"))}
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return of_kind("file", {"path": what} | count | values)


def _show_all(values: dict[str, Any], own: list[str], console: Console) -> None:
    unknown = sorted(set(values) - {"num_peers", "seed"})
    if unknown:
        raise ConfigError(f"topology list: takes num_peers and seed, got {', '.join(unknown)}: name a kind")
    strange = [what for what in own if not is_own(what)]
    if strange:
        raise ConfigError(
            f"topology list: '{strange[0]}' is neither key=value nor a file of links nor package.module:name: "
            f"name files that end in {', '.join(SUFFIXES)}"
        )
    count = of_kind("ring", values).peers.count
    columns = [name for name in COLUMNS if name != "links"]
    table = compact_table(*columns, "every round", wrapped="diameter")
    spectra = compact_table(*MATRICES, wrapped=MATRICES[-1])
    impossible = []
    for label, config_of in _rows(values, own, count):
        try:
            schedule, facts = described(config_of())
        except ConfigError as error:
            table.add_row(label, *["-"] * len(columns))
            spectra.add_row(label, *["-"] * (len(MATRICES) - 1))
            impossible.append(f"{label.split()[0]}: {error}")
            continue
        if facts.num_peers != count:
            label += f" ({facts.num_peers} peers)"
        known = dict(zip(COLUMNS[1:], cells(facts), strict=True))
        table.add_row(label, *(known[name] for name in columns[1:]), pace(schedule))
        spectra.add_row(label, *matrix_cells(facts))
    console.print(f"{count} peers", highlight=False)
    console.print(table)
    console.print(spectra)
    _explain(LEGEND | {"rounds": f"until disagreement is {EPSILON:g} of the worst start's", "-": DRAWN}, console)
    for line in impossible:
        console.print(line, highlight=False)


def _rows(values: dict[str, Any], own: list[str], count: int) -> Iterator[tuple[str, Callable[[], RunConfig]]]:
    """Label and config of each row of the list: every kind with its example, then the user's own."""
    for kind, variant in KINDS.items():
        if kind == "file":
            continue
        yield example_of(variant, count)[0], partial(of_kind, kind, values | example_of(variant, count)[1])
    seed = {key: value for key, value in values.items() if key == "seed"}
    for what in own:  # a file, of as many peers as it has
        yield what, partial(of_own, what, values if _is_target(what) else seed)


def example_of(variant: type[Topology], count: int) -> tuple[str, dict[str, Any]]:
    """A label for a kind's example among so many peers, and its settings."""
    example = variant.example(count).model_dump(exclude_unset=True)
    return " ".join(
        [variant.model_fields["kind"].default, *(f"{key}={value}" for key, value in example.items())]
    ), example


def values_of(settings: list[str]) -> dict[str, Any]:
    return dict(parse_setting(setting, "topology.") for setting in settings)


def of_kind(kind: str, values: dict[str, Any]) -> RunConfig:
    """A config of which only the topology is used, with 16 peers by default."""
    values = dict(values)
    if "kind" in values:
        raise ConfigError(f"kind: '{kind}' is named already, got kind={values['kind']}: leave it out")
    count, seed = values.pop("num_peers", 16), values.pop("seed", 0)
    table = {
        "run": {"seed": seed},
        "data": {"kind": "digits"},
        "peers": {"count": count},
        "topology": {"kind": kind, **values},
    }
    try:
        return config_from(table)
    except ConfigError as error:
        raise ConfigError(str(error).replace("peers.count", "num_peers").replace("run.seed", "seed")) from None


def described(config: RunConfig) -> tuple[Schedule, TopologyFacts]:
    """The schedule and its facts. Raises: ConfigError."""
    try:
        schedule = build_schedule(config)
        return schedule, describe(schedule)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def cells(facts: TopologyFacts) -> list[str]:
    degree = str(facts.min_degree) if facts.min_degree == facts.max_degree else f"{facts.min_degree}-{facts.max_degree}"
    return [
        degree,
        f"{facts.edges:g}",
        f"{facts.messages_per_round:g}",
        _diameter(facts),
    ]


def _diameter(facts: TopologyFacts) -> str:
    if facts.diameter is not None:
        return str(facts.diameter)
    return "none" if facts.diameter_least is None else f"at least {facts.diameter_least}"


def matrix_cells(facts: TopologyFacts) -> tuple[str, ...]:
    """Gap and rounds to agreement of W, then those of P and its connectivity."""
    return (f"{facts.spectral_gap:.4g}", rounds_to(facts.rounds_to, facts.rounds_over), *pooling_cells(facts))


def _show_matrices(facts: TopologyFacts, console: Console) -> None:
    """Print the facts of W and P in two columns, and which is which."""
    gap, rounds, pooled_gap, pooled_rounds, connectivity = matrix_cells(facts)
    rows = (("", "W", "P"), ("spectral gap", gap, pooled_gap), (ROUNDS, rounds, pooled_rounds))
    for name, gossip, pooling in (*rows, ("1 - λ2", "", connectivity)):
        console.print(f"  {name:<30}{gossip:<18}{pooling}", highlight=False)
    _explain(LEGEND, console)
    if swaps(facts):
        _print_wrapped(SWAPS, console)
    if facts.pooling_gap is None:
        _print_wrapped(DRAWN, console)


def _explain(legend: dict[str, str], console: Console) -> None:
    for name, meaning in legend.items():
        _print_wrapped(f"{name}: {meaning}", console)


def _print_wrapped(text: str, console: Console) -> None:
    console.print(textwrap.fill(text, 80, subsequent_indent="  "), highlight=False)


def pace(schedule: Schedule) -> str:
    if schedule.period == 1:
        return "the same"
    return "drawn anew" if schedule.period is None else f"one of {schedule.period}"
