"""What gossip theory predicts of an ablation over topologies, beside what was measured.

A round moves a student's outputs a part c of the way to its teachers' mean: with the pooling matrix P, which is not the
gossip matrix with its self-weights, the outputs Z become (I - c (I - P)) Z. The cell `complete` says what c was in
every round; nothing else is fitted. `gap` is the algebraic connectivity 1 - lambda_2 of the mean of P over the rounds
of the run, and `gap only` takes all disagreement to be in that slowest mode, as bounds by the spectral gap do.

    python configs/findings/theory.py runs/finding-topologies
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from coordinator import load_config
from coordinator.planning.schedules import build_schedule
from topologies.schedule import Schedule


def curves(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rounds, relative distance and bytes sent so far, where it was measured."""
    rows = pq.read_table(folder / "metrics" / "rounds.parquet").to_pylist()
    rows = [row for row in rows if row["relative_distance"] is not None]
    columns = [
        np.array([row.get(name) or 0 for row in rows]) for name in ("round", "relative_distance", "bytes_so_far")
    ]
    return columns[0], columns[1], columns[2]


def pooled(schedule: Schedule, round_index: int) -> np.ndarray:
    """The pooling matrix of a round; an idle peer keeps its outputs."""
    return schedule(round_index).as_pooled().mixing.toarray()


def predicted(schedule: Schedule, carried: np.ndarray) -> np.ndarray:
    """Relative squared distance after 0, 1, ... rounds from independent outputs, of which a round carries so much."""
    n = schedule.num_peers
    centred = np.eye(n) - 1 / n
    state, found = np.eye(n), [1.0]
    for round_index, part in enumerate(carried):
        state = state - part * (state - pooled(schedule, round_index) @ state)
        found.append(float(np.square(centred @ state).sum() / (n - 1)))
    return np.array(found)


def carried_by(complete: np.ndarray, rounds: np.ndarray, n: int) -> np.ndarray:
    """The part c of every round, from the complete graph's curve: each mode shrinks by 1 - c n / (n - 1)."""
    logs = np.interp(np.arange(rounds[-1] + 1), rounds, np.log(complete / complete[0]))
    return (1 - np.exp(np.diff(logs) / 2)) * (n - 1) / n


def slowest(schedule: Schedule, num_rounds: int) -> float:
    """1 - the second largest eigenvalue (real part) of the mean pooling matrix over the rounds of a run."""
    mean = np.mean([pooled(schedule, t) for t in range(schedule.period or num_rounds)], axis=0)
    return float(1 - np.sort(np.linalg.eigvals(mean).real)[-2])


def first_at(values: np.ndarray, rounds: np.ndarray, level: float) -> float:
    """The round at which a falling curve reaches a level, interpolated; infinite if it does not."""
    below = np.flatnonzero(values <= level)
    if not len(below):
        return np.inf
    after = below[0]
    if after == 0:
        return float(rounds[0])
    before = after - 1
    share = (values[before] - level) / (values[before] - values[after])
    return float(rounds[before] + share * (rounds[after] - rounds[before]))


def main(folder: Path, share: float = 0.7) -> None:
    results = [row for row in pq.read_table(folder / "results.parquet").to_pylist() if row["status"] == "finished"]
    runs = {(row["cell"], row["seed"]): folder / "cells" / row["key"] / f"seed-{row['seed']}" for row in results}
    cells = list(dict.fromkeys(row["cell"] for row in results))
    print(f"rounds and MiB until the relative distance is at {share:g} of its start; means over seeds")
    print(f"{'':28}{'gap':>7}{'rounds':>9}{'theory':>9}{'gap only':>10}{'MiB':>9}{'at the end':>12}{'theory':>8}")
    for cell in cells:
        lines = []
        for row in (row for row in results if row["cell"] == cell):
            rounds, distance, sent = curves(runs[cell, row["seed"]])
            _, complete, _ = curves(runs["complete", row["seed"]])
            config = load_config(runs[cell, row["seed"]] / "config.toml")
            schedule = build_schedule(config)
            carried = carried_by(complete, rounds, config.peers.count)
            theory = distance[0] * predicted(schedule, carried)
            gap = slowest(schedule, int(rounds[-1]))
            gap_only_curve = distance[0] * np.cumprod(np.concatenate([[1.0], (1 - carried * gap) ** 2]))
            at = first_at(distance, rounds, share * distance[0])
            every = np.arange(len(theory))
            lines.append(
                (
                    gap,
                    at,
                    first_at(theory, every, share * distance[0]),
                    first_at(gap_only_curve, every, share * distance[0]),
                    np.interp(at, rounds, sent) / 2**20 if np.isfinite(at) else np.inf,
                    distance[-1],
                    theory[-1],
                )
            )
        gap, at, foretold, gap_only, mib, last, last_foretold = np.mean(lines, axis=0)
        print(f"{cell:28}{gap:7.3f}{at:9.1f}{foretold:9.1f}{gap_only:10.1f}{mib:9.1f}{last:12.3f}{last_foretold:8.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
