"""What a run's simulated network did: its events, links and peers as tables, the rest as a part of the summary.

All of it follows from the trace, which is run through once more when the run ends. So a run that is interrupted or
resumed writes the same for the rounds that are done, and no state of it is kept in checkpoints.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coordinator.records.files.run_folder import aside, write_table
from topologies.accounts.account import Account
from topologies.accounts.events import Event, EventLog
from topologies.accounts.intervals import Doing, Interval, IntervalLog
from topologies.network.trace import TimedRound, Trace
from topologies.schedule import Schedule
from topologies.worlds import aws
from topologies.worlds.config import NetworkConfig
from topologies.worlds.places import LatencyTable, homes
from topologies.worlds.world import World

ROWS = 65_536  # of a row group, which are in memory at a time
EVENTS, PRESENCE, INTERVALS = "events", "network_presence", "network_intervals"
SCHEMAS = {
    EVENTS: pa.schema(
        {
            "round": pa.int64(),
            "seconds": pa.float64(),
            "kind": pa.string(),
            "peer": pa.int64(),
            "other": pa.int64(),
            "version": pa.int64(),
            "batch": pa.int64(),
            "age": pa.int64(),
            "age_seconds": pa.float64(),
            "until": pa.float64(),
            "reason": pa.string(),
        }
    ),
    PRESENCE: pa.schema({"round": pa.int64(), "seconds": pa.float64(), "peer": pa.int64(), "online": pa.bool_()}),
}
COMINGS_AND_GOINGS = {"online": True, "offline": False}
FIRST_ROUNDS, FIRST_PEERS = 12, 48  # whose intervals are kept, for a picture
Told = Callable[[int, list[Event]], None]  # the number of a round as in tables, from 1, and its events


def account_of(
    trace: Trace,
    schedule: Schedule,
    clock: str,
    world: World,
    num_rounds: int,
    tell: Told | None = None,
    also: Callable[[TimedRound], None] = lambda round_: None,
) -> Account:
    """The account of the first rounds of a trace.

    tell: gets the events of each; those of second 0 are of round 0. also: gets each round.
    """
    first, log = trace.cut_at(0), EventLog(trace.own_batches)
    account = Account(schedule, first, clock, world)
    if tell is not None:
        tell(0, log.at_start(first))
    for round_ in itertools.islice(trace.rounds(), num_rounds):
        account.add(round_)
        also(round_)
        if tell is not None:
            tell(round_.index + 1, log.of_round(round_))
    return account


def write_network(
    folder: Path, trace: Trace, schedule: Schedule, network: NetworkConfig, world: World, num_rounds: int
) -> dict[str, Any]:
    """Write the tables of a run's network into `metrics`; returns what the summary says of it. Raises: OSError.

    `network_edges` and `network_peers` have a row for each link and peer, `network_intervals` what the first peers did
    in the first rounds; `events`, unless `network.events` is false, and `network_presence`, if peers come and go, grow
    with the rounds, and are written bit by bit.
    """
    metrics = folder / "metrics"
    metrics.mkdir(parents=True, exist_ok=True)
    files = {EVENTS: network.events, PRESENCE: world.has_churn}
    with ExitStack() as stack:
        written = {
            name: stack.enter_context(row_file(metrics / f"{name}.parquet", SCHEMAS[name]))
            for name, wanted in files.items()
            if wanted
        }

        def tell(number: int, events: list[Event]) -> None:
            if EVENTS in written:
                written[EVENTS].add((number, *event) for event in events)
            if PRESENCE in written:
                known = [event for event in events if event.kind in COMINGS_AND_GOINGS]
                rows = ((number, event.seconds, event.peer, COMINGS_AND_GOINGS[event.kind]) for event in known)
                written[PRESENCE].add(rows)

        log = IntervalLog(trace.cut_at(0))
        also = first_rounds(log)
        account = account_of(trace, schedule, network.clock, world, num_rounds, tell if written else None, also)
    write_table(metrics / "network_edges.parquet", list(account.edges()), ("student", "teacher"))
    write_table(metrics / "network_peers.parquet", account.peers(), ("peer",))
    rows = [
        {"peer": peer, "doing": str(each.doing), "start": each.start, "end": each.end}
        for peer, row in enumerate(log.intervals()[:FIRST_PEERS])
        for each in row
    ]
    write_table(metrics / f"{INTERVALS}.parquet", rows, ("peer",))
    return summary_of(account, network, world, trace.plain)


def first_rounds(log: IntervalLog) -> Callable[[TimedRound], None]:
    """Adds a round to the log if it is one of the first."""

    def add(round_: TimedRound) -> None:
        if round_.index < FIRST_ROUNDS:
            log.add(round_)

    return add


def summary_of(account: Account, network: NetworkConfig, world: World, plain: bool) -> dict[str, Any]:
    """The part `network` of a summary. plain: whether delays change nothing but the time."""
    return {
        "clock": network.clock,
        "message": network.message,
        "changes_numbers": not plain,
        **account.summary(asked_of(world)),
        "age_bins": account.age_bins(),
        "places": list(world.places) if world.table is not None else None,
    }


def asked_of(world: World) -> dict[str, float | None]:
    """The mean shares of lost messages and of time online that the settings amount to in the long run.

    None: a presence that does not repeat has no long run.
    """
    online = [share for share in world.availability if share is not None]
    whole = len(online) == world.num_peers
    return {"loss": fmean(world.loss_share), "availability": fmean(online) if whole else None}


def intervals_in(folder: Path, completed: int) -> tuple[int, list[list[Interval]]]:
    """How many rounds are in the table of intervals of a run's folder, and the intervals by peer."""
    found: list[list[Interval]] = []
    for row in pq.read_table(folder / "metrics" / f"{INTERVALS}.parquet").to_pylist():
        while len(found) <= row["peer"]:
            found.append([])
        found[row["peer"]].append(Interval(Doing(row["doing"]), row["start"], row["end"]))
    return min(completed, FIRST_ROUNDS), found


def latency_table(section: Mapping[str, Any]) -> LatencyTable | None:
    """The table of latencies that a section `[network]` names, of which the coordinates are known; else None."""
    latency = section.get("latency", {})
    if latency.get("kind") != "regions":
        return None
    return homes() if latency.get("table") == "home" else aws.table()


@contextmanager
def row_file(path: Path, schema: pa.Schema) -> Iterator["RowFile"]:
    """A Parquet file that is written bit by bit in a `with` block, and takes its name when it is whole."""
    with aside(path) as part, open(part, "wb") as file, pq.ParquetWriter(file, schema) as writer:
        rows = RowFile(writer, schema)
        yield rows
        rows.flush()


class RowFile:
    """Collects rows, and writes them in groups of some ROWS."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._columns: list[list[Any]] = [[] for _ in schema]

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows, whose values are in the order of the schema."""
        for kept, new in zip(self._columns, zip(*rows, strict=True), strict=False):  # no columns, if there are no rows
            kept += new
        if len(self._columns[0]) >= ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is collected as a row group."""
        if self._columns[0]:
            arrays = [pa.array(column, field.type) for column, field in zip(self._columns, self._schema, strict=True)]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            self._columns = [[] for _ in self._schema]
