"""Completes a run's checkpoints, and restores its peers from them."""

from collections.abc import Sequence
from typing import Any

from coordinator.checkpoints.snapshots import Checkpoint, Checkpoints, round_name
from coordinator.experiment.redaction import without_secrets
from coordinator.pools.base import Pool, ask
from coordinator.records.events import CheckpointWritten, FaultKind, PeersRestored
from coordinator.records.files.tables import Tables
from coordinator.records.recorder import Recorder
from coordinator.scheduling.scheduler import PeersSaved, Phase, SaveFailed
from peers.learning.settings import PeerSettings


class CheckpointManager:
    """Completes the checkpoints that the peers write, and restores the peers from the newest intact one.

    identity: describes the experiment; see `identity_of`.
    """

    def __init__(self, store: Checkpoints, identity: dict[str, Any], recorder: Recorder, tables: Tables) -> None:
        self._store = store
        self._identity = identity
        self._recorder = recorder
        self._tables = tables

    def aside(self, phase: Phase, completed: int) -> str:
        """The folder that peers write to until a checkpoint is complete."""
        return self._store.aside(phase, completed)

    def complete(self, phase: Phase, completed: int, saved: PeersSaved | SaveFailed) -> None:
        """Complete a checkpoint from the files of all peers; a failure is recorded as a fault, and the run goes on."""
        written = CheckpointWritten(phase, completed, self._recorder.times)
        try:
            if isinstance(saved, SaveFailed):
                raise saved.error
            self._tables.save()  # first: a checkpoint requires the rows up to its round
            state = {"run_state": self._recorder.state.with_checkpoint(written).to_json(), **self._identity}
            self._store.complete(phase, completed, saved.checksums, state, self._recorder.probes.to_bytes())
        except OSError as error:
            why = without_secrets(error.strerror or str(error))
            last = next((round_name(phase, older) for older in self._store.completed(phase)), "")
            remaining = f"that of {last} is the last" if last else "there is none yet"
            self._recorder.fault(
                FaultKind.CHECKPOINT_NOT_WRITTEN,
                f"no checkpoint of {round_name(phase, completed)} could be written ({why}); {remaining}",
            )
        else:
            self._recorder.publish(written)

    def discard_beyond(self, completed: int) -> None:
        """Remove the checkpoints of control runs after more rounds than this, with which the run has ended."""
        for phase in Phase:
            if phase.control:
                self._store.discard(phase, completed)

    def restore(self, phase: Phase, pool: Pool, settings: Sequence[PeerSettings]) -> int:
        """Restore a pool's peers from the newest intact checkpoint of a phase; returns its number of completed rounds.

        settings: of the peers in this phase. Without a checkpoint, the peers start untrained and the result is 0. A
        checkpoint of rounds that the run's state does not know of is not used.
        """
        pool.restart(settings)
        known = self._recorder.state.training(phase).completed
        completed, damaged = self._store.newest_whole(phase, lambda found: _restore(pool, found), known)
        for problem in damaged:
            self._recorder.fault(FaultKind.CHECKPOINT_DAMAGED, problem)
        if completed is None:
            if damaged:
                pool.restart(settings)  # some peers may have been restored
            return 0
        if completed:
            self._recorder.publish(PeersRestored(phase, completed))
        return completed


def _restore(pool: Pool, found: Checkpoint) -> int:
    found.arrays()  # an intact checkpoint includes the coordinator's arrays: check them, too
    checksums = found.checksums(sum(len(host.peers) for host in pool.hosts))
    ask(pool, lambda host: host.restore(found.folder, {peer: checksums[peer] for peer in host.peers}))
    return found.completed
