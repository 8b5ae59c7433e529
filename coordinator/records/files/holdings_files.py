"""Who holds what of a run's data, and how well peers do on whose classes: two tables, and two parts of the summary."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from coordinator.measures.gains import Condition
from coordinator.measures.holdings import ClassImages, ClassTable, Labels, accuracy_rows, class_accuracy
from coordinator.measures.probe_table import ProbeTable
from coordinator.planning.plan import Plan
from coordinator.records.files.run_folder import write_table
from peers.probing.measuring import probe_images

HOLDINGS, ACCURACY = "holdings", "class_accuracy"  # names of the tables, and of the parts of the summary
PUBLIC = -1  # in the column `peer` of the table of holdings: the public examples


def class_table(plan: Plan) -> ClassTable | None:
    """How many examples of which class each peer holds; None if all peers hold all."""
    found, dataset = plan.holdings, plan.dataset
    return None if found is None else ClassTable.of(found, dataset.train_labels, dataset.num_classes)


def write_holdings(folder: Path, plan: Plan, probes: ProbeTable, students: list[int]) -> dict[str, Any]:
    """Write the tables into a run's folder; returns the parts of its summary, none if all peers hold all.

    Raises: OSError.
    """
    table = class_table(plan)
    if table is None:
        return {}
    labels = _probed_labels(plan)
    rows: list[dict[str, Any]] = [
        {"peer": peer, "class": number, "examples": int(count)}
        for peer, counts in [(PUBLIC, table.public), *enumerate(table.private)]
        for number, count in enumerate(counts)
    ]
    (folder / "metrics").mkdir(exist_ok=True)
    write_table(folder / "metrics" / f"{HOLDINGS}.parquet", rows, ("peer", "class", "examples"))
    accuracies = accuracy_rows(table, probes, labels, list(Condition))
    write_table(folder / "metrics" / f"{ACCURACY}.parquet", accuracies, ("peer",))
    return {HOLDINGS: facts_of(table, plan), ACCURACY: class_accuracy(table, probes, labels, students)}


def class_images(plan: Plan) -> ClassImages | None:
    """Which probed test images are of whose classes; None if all peers hold all."""
    table = class_table(plan)
    return None if table is None else ClassImages.of(table, _probed_labels(plan))


def _probed_labels(plan: Plan) -> Labels:
    """The classes of the probed test images."""
    dataset, config = plan.dataset, plan.config
    found: Labels = dataset.test_labels[probe_images(dataset, config.evaluation, config.run.seed).test]
    return found


def facts_of(table: ClassTable, plan: Plan) -> dict[str, Any]:
    """The numbers of a table of classes. effective_classes, total_variation: of peers, see `ClassTable`."""
    other = plan.dataset.others.get("public") if plan.config.public is not None else None
    sizes, public = table.private.sum(axis=1), int(table.public.sum())
    return {
        "public": public if other is None else len(other.train_labels),
        "public_of": plan.dataset.name if other is None else other.name,
        "private": int(sizes.sum()),
        "nobodys": len(plan.dataset.train_labels) - int(sizes.sum()) - public,
        "classes": table.private.shape[1],
        "classes_held": int((table.private > 0).any(axis=0).sum()),
        "examples": _spread(sizes),
        "effective_classes": _spread(table.effective_classes),
        "total_variation": _spread(table.total_variation),
    }


def read_holdings(folder: Path) -> ClassTable | None:
    """The table of a run's folder; None if there is none."""
    path = folder / "metrics" / f"{HOLDINGS}.parquet"
    if not path.is_file():
        return None
    rows = pq.read_table(path).to_pylist()
    counts = np.array([row["examples"] for row in rows]).reshape(-1, 1 + max(row["class"] for row in rows))
    return ClassTable(counts[1:], counts[0])


def _spread(values: Float[np.ndarray, " peers"] | Int[np.ndarray, " peers"]) -> Mapping[str, float]:
    return {"mean": float(values.mean()), "least": float(values.min()), "most": float(values.max())}
