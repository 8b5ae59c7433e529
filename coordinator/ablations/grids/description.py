"""What an ablation asks for, in words: the factors that it varies, and the settings that all cells share."""

from typing import Any

from coordinator.ablations.grids.factors import cell_labels
from coordinator.ablations.grids.grid import Ablation
from coordinator.experiment.config import RunConfig, to_table
from coordinator.reports import settings
from coordinator.reports.formatting import count_of
from coordinator.reports.wording import untrained
from peers.base.brought import called
from peers.learning.control import Control
from peers.networks.config import PeerKind

Parts = dict[str, list[str]]  # parts of sentences, by subject


def describe_ablation(ablation: Ablation) -> list[tuple[str, str]]:
    """What an ablation asks for, as (subject, text): each factor, the cells, what all cells share, the reference."""
    cells = ablation.cells
    configs = [cell.config for cell in cells]
    asked = []
    for factor in cells[0].settings:
        values = list(dict.fromkeys(cell_labels([{factor: cell.settings[factor]} for cell in cells])))
        asked.append(("Varied" if len(values) > 1 else "Held", f"{factor} = {', '.join(values)}"))
    rounds, peers, data = (
        ", ".join(dict.fromkeys(map(str, values)))
        for values in (
            [config.run.rounds for config in configs],
            [config.peers.count for config in configs],
            [called(config.data) for config in configs],
        )
    )
    seeds = ", ".join(map(str, ablation.seeds))
    each = f"{count_of(len(cells), 'cell')}, each with seeds {seeds}: {peers} peers, {rounds} rounds, {data}"
    asked.append(("Runs", each))
    asked += [(subject, "; ".join(parts)) for subject, parts in _shared(configs).items() if parts]
    asked += [("Peers alone", text) for text in _alone(configs)]
    if len(cells) > 1:
        asked.append(("Reference", ablation.reference.label))
    return asked


def _shared(configs: list[RunConfig]) -> Parts:
    """The parts that the descriptions of all cells have in common."""
    first, *rest = (_parts(config) for config in configs)
    return {
        subject: [part for part in parts if all(part in other[subject] for other in rest)]
        for subject, parts in first.items()
    }


def _parts(config: RunConfig) -> Parts:
    table = to_table(config)
    topology = {key: value for key, value in table["topology"].items() if key not in ("self_weight", "path")}
    weight, held_out = config.topology.self_weight, config.data.validation
    data = [f"batches of {config.data.batch_size}"]
    data += [f"{held_out:,} training examples stand in for the test examples"] if held_out else []
    groups = [f"{group.count} with {', '.join(_kind(group))}" for group in config.peers.groups]
    peers = groups or _kind(config.peers)
    peers += [f"frozen: {', '.join(map(str, config.peers.frozen))}"] if config.peers.frozen else []
    return {
        "Data": data,
        "Peers": peers,
        "Topology": [settings.variant(topology)] + ([f"self-weight {weight:g}"] if weight is not None else []),
        "Exchange": settings.exchange(table["exchange"]),
        "Controls": ["raw pixels", untrained(table), "calibrated", *settings.optional_controls(table["evaluation"])],
    }


def _kind(kind: PeerKind) -> list[str]:
    """The network and the optimiser of one kind of peers."""
    model, head = (_table(section) for section in (kind.model, kind.head))
    optimizer = {"kind": kind.optimizer.kind, "lr": kind.optimizer.lr, **_table(kind.optimizer, changed=True)}
    norm = "no" if kind.norm == "none" else kind.norm
    return [settings.variant(model), f"{norm} norm", f"{settings.variant(head)} head", settings.variant(optimizer)]


def _table(section: Any, changed: bool = False) -> dict[str, Any]:
    """A section as a table; changed: only the settings that differ from the defaults."""
    table: dict[str, Any] = section.model_dump(mode="json", exclude_none=True, exclude_defaults=changed)
    return table


def _alone(configs: list[RunConfig]) -> list[str]:
    """The teacher of peers alone, if it is not the peer's current network."""
    alone = [
        config.exchange
        for config in configs
        if Control.ALONE in config.evaluation.controls or config.topology.kind == "self"
    ]
    slow = [exchange for exchange in alone if exchange.separate_teacher]
    if not slow:
        return []
    kinds = list(dict.fromkeys("moving average" if exchange.teacher_ema else "snapshot" for exchange in slow))
    where = "" if len(slow) == len(alone) else ", where cells ask for one"
    return [f"taught by their own {' or '.join(kinds)}{where}, not by what they are now"]
