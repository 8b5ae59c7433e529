"""The measures by which cells are compared are those that a run's summary has."""

from pathlib import Path
from typing import Any

from coordinator import load_config, simulate
from coordinator.compared import known_measures
from coordinator.results import scalars


def test_known_measures__are_the_numbers_of_a_summary(tmp_path: Path) -> None:
    table: dict[str, Any] = {
        "run": {"rounds": 2},
        "data": {"kind": "synthetic", "num_train": 64, "num_test": 32, "batch_size": 16},
        "peers": {"count": 3, "model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}},
        "topology": {"kind": "ring"},
        "evaluation": {"probes": ["knn", "linear"], "alone": True},
        "hosting": {"pool": "in-process"},
        "tracking": {"enabled": False},
    }
    config = load_config(table)
    row = scalars(simulate(config, tmp_path).summary)
    numbers = {name for name, value in row.items() if isinstance(value, int | float)}
    known = set(known_measures(config))
    assert numbers <= known
    assert {name for name in known - numbers if not name.endswith(".reset")} <= {
        "topology.diameter",
        "topology.rounds_to",
    }
