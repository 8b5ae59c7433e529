"""What `peer-consensus topology` shows: the facts of one topology, or of all kinds side by side."""

from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from coordinator.config import ConfigError, RunConfig, config_from, load_config, parse_assignment
from coordinator.explain import nearest
from coordinator.figures import save_topology
from coordinator.plan import build_schedule
from coordinator.report import compact_table
from topologies.config import TopologyConfig
from topologies.measures import EPSILON, TopologyFacts, describe
from topologies.schedule import Schedule

KINDS: tuple[str, ...] = tuple(
    kind
    for variant in get_args(get_args(TopologyConfig)[0])
    for kind in get_args(variant.model_fields["kind"].annotation)
)
EXAMPLES: dict[str, dict[str, Any]] = {"random-regular": {"degree": 4}, "erdos-renyi": {"p": 0.35}}
COLUMNS = ("kind", "degree", "links", "messages", "diameter", "gap", f"rounds to {EPSILON:g}")

LONG = {
    "degree": "teachers of a student",
    "links": "links a round",
    "messages": "messages a round",
    "gap": "spectral gap",
    COLUMNS[-1]: f"rounds to disagreement {EPSILON:g}",
}


def show(what: str, settings: list[str], plot: Path | None, console: Console) -> None:
    """Print the facts of an experiment file, of one kind, or of all; draw the links if asked to.

    Raises: ConfigError.
    """
    values = dict(parse_assignment(each) for each in settings)
    if what == "list":
        if plot is not None:
            raise ConfigError("--plot: draws one topology: name a kind or an experiment file")
        _show_all(values, console)
        return
    if what in KINDS:
        config = _of_kind(what, values)
    elif what.endswith(".toml") or Path(what).is_file():
        config = load_config(what, settings)
    else:
        raise ConfigError(f"topology: '{what}' is neither a file nor a kind{nearest(what, [*KINDS, 'list'])}")
    schedule = _schedule(config)
    facts = describe(schedule)
    console.print(f"{config.topology.kind}, {facts.num_peers} peers, {_pace(schedule)}", highlight=False)
    for name, value in zip(COLUMNS[1:], _cells(facts), strict=True):
        console.print(f"  {LONG.get(name, name):<30}{value}", highlight=False)
    if plot is not None:
        try:
            save_topology(schedule, plot)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--plot: cannot draw into '{plot}': {error}") from None
        console.print(f"  {'drawn in':<30}{plot}", highlight=False)


def _show_all(values: dict[str, Any], console: Console) -> None:
    table = compact_table(*COLUMNS, "every round")
    for kind in KINDS:
        if kind == "file":
            continue
        options = {key: value for key, value in values.items() if key in ("num_peers", "seed")}
        example = EXAMPLES.get(kind, {})
        label = " ".join([kind, *(f"{key}={value}" for key, value in example.items())])
        try:
            schedule = _schedule(_of_kind(kind, options | example))
        except ConfigError as error:
            table.add_row(label, *["-"] * (len(COLUMNS) - 1), str(error).split(":", 1)[-1].strip())
            continue
        table.add_row(label, *_cells(describe(schedule)), _pace(schedule))
    unknown = sorted(set(values) - {"num_peers", "seed"})
    if unknown:
        raise ConfigError(f"topology list: takes num_peers and seed, got {', '.join(unknown)}: name a kind")
    console.print(f"{values.get('num_peers', 16)} peers", highlight=False)
    console.print(table)


def _of_kind(kind: str, values: dict[str, Any]) -> RunConfig:
    """A config whose only interest is its topology: 16 peers unless told otherwise."""
    values = dict(values)
    count, seed = values.pop("num_peers", 16), values.pop("seed", 0)
    return config_from(
        {
            "run": {"seed": seed},
            "data": {"kind": "digits"},
            "peers": {"count": count},
            "topology": {"kind": kind, **values},
        }
    )


def _schedule(config: RunConfig) -> Schedule:
    try:
        return build_schedule(config)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _cells(facts: TopologyFacts) -> list[str]:
    degree = str(facts.min_degree) if facts.min_degree == facts.max_degree else f"{facts.min_degree}-{facts.max_degree}"
    return [
        degree,
        f"{facts.edges:g}",
        f"{facts.messages_per_round:g}",
        "none" if facts.diameter is None else str(facts.diameter),
        f"{facts.spectral_gap:.4g}",
        "never" if facts.rounds_to is None else str(facts.rounds_to),
    ]


def _pace(schedule: Schedule) -> str:
    if schedule.period == 1:
        return "the same"
    return "drawn anew" if schedule.period is None else f"one of {schedule.period}"
