"""A run's checkpoints: written while it goes on, and read to bring its peers back."""

from typing import Any

from coordinator.checkpoints.snapshots import Checkpoint, Checkpoints, round_name
from coordinator.experiment.redaction import without_secrets
from coordinator.pools.base import Pool, ask
from coordinator.records.events import CheckpointWritten, FaultKind, PeersRestored
from coordinator.records.recorder import Recorder
from coordinator.records.tables import Tables
from coordinator.scheduling.scheduler import PeersSaved, Phase, SaveFailed


class CheckpointManager:
    """Completes the checkpoints that the peers write, and takes the peers back to the newest that is whole.

    identity: of which experiment they are; see `identity`.
    """

    def __init__(
        self, store: Checkpoints, identity: dict[str, Any], pool: Pool, recorder: Recorder, tables: Tables
    ) -> None:
        self._store = store
        self._identity = identity
        self._pool = pool
        self._recorder = recorder
        self._tables = tables

    def aside(self, phase: Phase, completed: int) -> str:
        """Where the peers write while a checkpoint is not complete."""
        return self._store.aside(phase, completed)

    def complete(self, phase: Phase, completed: int, saved: PeersSaved | SaveFailed) -> None:
        """Complete what the peers have written; where that fails the run goes on, and says so."""
        written = CheckpointWritten(phase, completed)
        try:
            if isinstance(saved, SaveFailed):
                raise saved.error
            self._tables.save(self._recorder.state.completed)  # first: a checkpoint needs the rows until then
            state = {"run_state": self._recorder.state.with_checkpoint(written).to_json(), **self._identity}
            self._store.complete(phase, completed, saved.checksums, state, self._recorder.probes.to_bytes())
        except OSError as error:
            why = without_secrets(error.strerror or str(error))
            last = next((round_name(phase, each) for each in self._store.completed(phase)), "")
            left = f"that of {last} is the last" if last else "there is none yet"
            self._recorder.fault(
                FaultKind.CHECKPOINT_NOT_WRITTEN,
                f"no checkpoint of {round_name(phase, completed)} could be written ({why}); {left}",
            )
        else:
            self._recorder.publish(written)

    def restore(self, phase: Phase) -> int:
        """Take all peers back to the newest checkpoint that is whole; returns the rounds it had completed.

        Without one they are the untrained peers again, before round 0.
        """
        completed, damaged = self._store.newest_whole(phase, self._take)
        for each in damaged:
            self._recorder.fault(FaultKind.CHECKPOINT_DAMAGED, each)
        if completed is None:
            self._pool.get([host.restart() for host in self._pool.hosts])
            return 0
        if completed:
            self._recorder.publish(PeersRestored(phase, completed))
        return completed

    def _take(self, found: Checkpoint) -> int:
        found.arrays()  # whole means all of it: the state that was taken up is of the same one
        checksums = found.checksums(sum(len(host.peers) for host in self._pool.hosts))
        ask(self._pool, lambda host: host.restore(found.folder, {peer: checksums[peer] for peer in host.peers}))
        return found.completed
