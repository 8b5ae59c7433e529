"""What the coordinator itself puts into a checkpoint beside the peers: its running totals and the probes' answers."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import safetensors
import safetensors.numpy

from coordinator.measures.gains import Condition
from coordinator.measures.measure import Measures
from coordinator.measures.probe_table import ProbeTable
from coordinator.records.recorder import Totals
from peers.learning.snapshot import DamagedCheckpoint
from peers.probing.measuring import ProbeName

PLAIN = (
    "completed",
    "bytes_exchanged",
    "seconds",
    "peer_seconds",
    "evaluation_seconds",
    "last_checkpoint",
    "faults",
)
SETS = ("studied", "failed_alone", "probed")


def to_state(totals: Totals) -> dict[str, Any]:
    """The totals as JSON can hold them."""
    return {
        **{name: getattr(totals, name) for name in PLAIN},
        **{name: sorted(getattr(totals, name)) for name in SETS},
        "first": _measures(totals.first),
        "last": _measures(totals.last),
        "measured": totals.measured,
        "dropped": [[peer, at, why] for peer, (at, why) in totals.dropped.items()],
        "digests": [digest.hex() for digest in totals.digests],
    }


def from_state(state: Mapping[str, Any]) -> Totals:
    """The totals that `to_state` was given, but for the disagreement along links, which is in the tables."""
    values: dict[str, Any] = {name: state[name] for name in PLAIN} | {name: set(state[name]) for name in SETS}
    return Totals(
        **values,
        first=_from_measures(state["first"]),
        last=_from_measures(state["last"]),
        measured=state.get("measured", state["completed"]),
        dropped={peer: (at, why) for peer, at, why in state["dropped"]},
        digests=[bytes.fromhex(digest) for digest in state["digests"]],
    )


def to_arrays(probes: ProbeTable) -> bytes:
    """Which images each probe got right, by probe and condition, as safetensors."""
    arrays = {f"{name}.{condition}": each for (name, condition), each in probes.correct.items()}
    return bytes(safetensors.numpy.save(arrays))


def from_arrays(content: bytes, probes: tuple[ProbeName, ...]) -> ProbeTable:
    """The table that `to_arrays` was given. Raises: DamagedCheckpoint."""
    table = ProbeTable(probes)
    try:
        arrays = safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise DamagedCheckpoint(f"the probes cannot be read: {error}") from None
    for key, correct in arrays.items():
        name, condition = key.split(".")
        table.correct[cast(ProbeName, name), Condition(condition)] = correct.astype(np.bool_)
    return table


def _measures(measures: Measures | None) -> dict[str, Any] | None:
    if measures is None:
        return None
    return {"scalars": measures.scalars, "peers": [[peer, values] for peer, values in measures.peers.items()]}


def _from_measures(table: Mapping[str, Any] | None) -> Measures | None:
    return None if table is None else Measures(table["scalars"], {peer: each for peer, each in table["peers"]}, {})
