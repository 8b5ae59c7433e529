"""The stages run their rounds with whatever scheduler they are given."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from coordinator import load_config, resume, simulate
from coordinator.pools.base import Pool
from coordinator.records.events import RoundCompleted, RunEvent
from coordinator.run.signals import Interrupts
from coordinator.scheduling.scheduler import Cadence, PeersSaved, RoundRecord, SaveFailed, Scheduler
from coordinator.scheduling.synchronous import SynchronousScheduler
from topologies.schedule import Schedule

CALLS: list[tuple[str, int, int]] = []


@dataclass(frozen=True)
class RoundByRound:
    """Another scheduler: nothing overlaps, and every round begins with messages that are published anew."""

    pool: Pool
    shared_sum: bool = False

    def records(
        self, schedule: Schedule, cadence: Cadence, start: int, stop: Callable[[], bool]
    ) -> Iterator[RoundRecord]:
        CALLS.append(("records", start, cadence.num_rounds))
        for completed in range(start, cadence.num_rounds):
            if stop():
                return
            one = replace(cadence, num_rounds=completed + 1, observe_every=0, checkpoint_every=0)
            (record,) = SynchronousScheduler(self.pool).records(schedule, one, completed, stop)
            yield record

    def save(self, folder: str, completed: int) -> PeersSaved | SaveFailed:
        CALLS.append(("save", completed, completed))
        return SynchronousScheduler(self.pool).save(folder, completed)


def test_simulate__takes_another_scheduler(small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The control alone runs on one as well, and the last checkpoint of an interrupted run is asked of it."""
    table = {**small, "checkpoint": {"every": 100, "seconds": 0}}
    straight = simulate(load_config(table), tmp_path / "straight").summary
    assert issubclass(RoundByRound, Scheduler)
    monkeypatch.setattr("coordinator.scheduling.choice.SynchronousScheduler", RoundByRound)
    CALLS.clear()
    interrupts = Interrupts()

    class Asking:
        def observe(self, event: RunEvent) -> None:
            interrupts.stop_requested |= isinstance(event, RoundCompleted) and event.completed == 3

    first = simulate(load_config(table), tmp_path / "cut", [Asking()], interrupts=interrupts)
    assert CALLS == [("records", 0, 8), ("save", 3, 3)] and first.summary["rounds"] == 3
    result = resume(first.folder)
    assert CALLS[2:] == [("records", 3, 8), ("records", 0, 8)]
    for name in ("rounds", "bytes_exchanged", "probes", "digest"):
        assert result.summary[name] == straight[name], name
