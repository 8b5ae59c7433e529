"""The live page: how late it is, what it takes from the run, and how long a first look takes at 1,024 peers.

Seconds from the end of a round to the event at a client; rounds a second while the server and one client are at work
over those while the server is stopped, block by block within one run; seconds and bytes of a document, and of the
change by one more measurement.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import experiment, show

from coordinator.documents.changes import changes
from coordinator.documents.document import RunDocument
from coordinator.experiment.config import load_config, to_toml
from coordinator.planning.schedules import build_schedule
from coordinator.records.events import RoundCompleted, RunStarted
from coordinator.run.simulate import simulate
from coordinator.scheduling.scheduler import Phase

ROOT = Path(__file__).parents[2]
MARGIN = 1.0  # seconds before the server is stopped
MEASURES = ("mean_entropy", "marginal_entropy", "mutual_information", "scaled_information", "feature_std", "rankme")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=300, help="of a block")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--large", type=int, default=1024, help="peers of the large documents")
    parser.add_argument("--frames", type=int, default=20, help="of the large documents; 3 where everybody is linked")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        beside = watched_run(Path(folder), asked.peers, asked.rounds, asked.repeats)
        topologies: dict[str, dict[str, Any]] = {
            "ring": {"kind": "ring"},
            "torus": {"kind": "torus"},
            "random regular, 4": {"kind": "random-regular", "degree": 4},
            "complete": {"kind": "complete"},
        }
        large = {
            name: first_look(Path(folder) / name, asked.large, 3 if name == "complete" else asked.frames, topology)
            for name, topology in topologies.items()
        }
    show({"benchmark": "watch", **vars(asked), **beside, "documents": large})


class Watching:
    """An observer of the run: starts the server and a client, and stops the server in every other block."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.ends: dict[int, float] = {}
        self.seen: list[tuple[float, int]] = []  # when the client knew of how many rounds
        self.seconds: dict[bool, list[float]] = {True: [], False: []}
        self.cpu = [0.0, 0.0]  # seconds of the server, and of the run, while the server was at work
        self._server: subprocess.Popen[str] | None = None
        self._block, self._begun, self._used = -1, 0.0, 0.0

    def __call__(self, event: object) -> None:
        if isinstance(event, RunStarted):
            self._start(event.folder)
        elif isinstance(event, RoundCompleted) and event.phase is Phase.ROUNDS:
            self.ends[event.completed] = time.time()
            if event.completed % self.rounds == 0:
                self._turn()

    def _start(self, folder: Path) -> None:
        command = [sys.executable, "-m", "coordinator", "watch", str(folder), "--port", "0"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        address = self._server.stdout.readline().split()[0]
        os.setpriority(os.PRIO_PROCESS, self._server.pid, 10)  # as beside a run
        with urllib.request.urlopen(f"{address}/data/main", timeout=120) as answer:  # what it needs is imported
            answer.read()
        threading.Thread(target=self._follow, args=(address,), daemon=True).start()

    def _follow(self, address: str) -> None:
        with urllib.request.urlopen(f"{address}/events/main", timeout=120) as answer:
            for raw in answer:
                if raw.startswith(b"data: "):
                    data = json.loads(raw[6:])
                    completed = data.get("set", data).get("completed")
                    if completed is not None:
                        self.seen.append((time.time(), completed))

    def _turn(self) -> None:
        """A block ends; in the first one everything warms up."""
        assert self._server is not None
        at_work = self._block % 2 == 0
        if self._block >= 0:
            self.seconds[at_work].append(time.time() - self._begun)
            self.cpu[0] += (cpu_of(self._server.pid) - self._used) if at_work else 0.0
            self.cpu[1] += self.seconds[True][-1] if at_work else 0.0
        self._block += 1
        self._server.send_signal(signal.SIGCONT if self._block % 2 == 0 else signal.SIGSTOP)
        self._begun, self._used = time.time(), cpu_of(self._server.pid)

    def end(self) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGCONT)
        self._server.terminate()
        self._server.wait()

    def latencies(self) -> list[float]:
        """Of the rounds of blocks in which the server was at work, but for those just before it was stopped."""
        found = []
        for completed, end in self.ends.items():
            last = self.ends[-(-completed // self.rounds) * self.rounds]
            if (completed - 1) // self.rounds % 2 == 1 and last - end > MARGIN:
                came = next((when for when, known in self.seen if known >= completed and when >= end), None)
                found += [came - end] if came is not None else []
        return found


def watched_run(folder: Path, peers: int, rounds: int, repeats: int) -> dict[str, Any]:
    total = rounds * (1 + 2 * repeats)
    config = experiment(
        peers,
        "mlp",
        64,
        total,
        {"kind": "ring"},
        hosting={"pool": "in-process"},
        evaluation={"every": 20, "controls": []},
    )
    watching = Watching(rounds)
    simulate(config, folder / "runs", [watching])
    watching.end()
    late = sorted(watching.latencies())
    ratios = [alone / beside for beside, alone in zip(watching.seconds[True], watching.seconds[False], strict=False)]
    return {
        "rounds_per_second": round(rounds / statistics.median(watching.seconds[False]), 1),
        "seconds_late": {"median": round(statistics.median(late), 3), "95%": round(late[int(0.95 * len(late))], 3)},
        "rounds_per_second_watched_over_alone": {
            name: round(of(ratios), 3) for name, of in (("median", statistics.median), ("least", min), ("most", max))
        },
        "cpu_of_the_server": round(watching.cpu[0] / watching.cpu[1], 3),
    }


def cpu_of(process: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_look(folder: Path, peers: int, frames: int, topology: Mapping[str, Any]) -> dict[str, Any]:
    """Of a finished run with these measurements, and of one more."""
    (folder / "metrics" / ".live").mkdir(parents=True)
    table = {"data": {"kind": "digits"}, "peers": {"count": peers}, "topology": dict(topology)}
    config = load_config({**table, "run": {"rounds": 10 * frames}, "evaluation": {"every": 10}})
    (folder / "config.toml").write_text(to_toml(config))
    round_ = build_schedule(config)(0).arrays()
    for frame in range(frames + 1):
        if frame == frames:
            begun = time.perf_counter()
            reader = RunDocument(folder)
            first = reader.read()
            size = len(json.dumps(first, separators=(",", ":")))
            took = time.perf_counter() - begun
        write_frame(folder / "metrics" / ".live", 10 * frame, peers, round_)
    begun = time.perf_counter()
    change = json.dumps(changes(first, reader.read()), separators=(",", ":"))
    return {
        "links": len(round_.teachers),
        "seconds": round(took, 2),
        "megabytes": round(size / 1e6, 2),
        "one_more": {"seconds": round(time.perf_counter() - begun, 2), "megabytes": round(len(change) / 1e6, 2)},
    }


def write_frame(folder: Path, completed: int, peers: int, links: Any) -> None:
    """The rows of one measurement, with a value of its own for every peer and link."""
    draw = np.random.default_rng(completed)
    number = f"{completed:06d}.parquet"
    rounds = {name: [float(draw.random())] for name in ("relative_distance", "agreement", "loss")}
    pq.write_table(pa.table({"round": [completed], **rounds}), folder / f"rounds-{number}")
    of_peers = {name: draw.random(peers) for name in (*MEASURES, "loss", "linear_accuracy")}
    keys = {"round": np.full(peers, completed), "peer": np.arange(peers)}
    pq.write_table(pa.table({**keys, **of_peers}), folder / f"peers-{number}")
    count = len(links.teachers)
    ends = {"round": np.full(count, completed), "student": links.students, "teacher": links.teachers}
    pq.write_table(pa.table({**ends, "total_variation": draw.random(count)}), folder / f"edges-{number}")


if __name__ == "__main__":
    main()
