"""peer-consensus from Python: all that a program of your own calls, or receives.

`simulate(load_config("configs/quickstart.toml"))` runs an experiment, `ablate(load_ablation(FILE))` many; `network=`,
`data=`, `topology=`, `loss=` and `observers=` bring your own. `load_result(RUN)` gives a run back.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coordinator.ablations.ablate import AblationResult, ablate, load_ablation_result
    from coordinator.ablations.grids.grid import Ablation, load_ablation
    from coordinator.ablations.grids.seeds import over_seeds
    from coordinator.experiment.config import ConfigError, RunConfig, load_config
    from coordinator.measures.gains import Condition
    from coordinator.planning.brought import Objects
    from coordinator.records.event_kinds import FaultKind, Remaining, Stage, Status
    from coordinator.records.events import (
        CheckpointWritten,
        ControlVoid,
        Digested,
        EndedEarly,
        Fault,
        FaultsRecovered,
        Measured,
        Note,
        OutputsMeasured,
        PeerDropped,
        PeersRestored,
        Probed,
        RoundCompleted,
        RoundsChanged,
        RunEnded,
        RunEvent,
        RunReopened,
        RunStarted,
        StageEntered,
        StageLeft,
        StopChecked,
        WeightsMeasured,
    )
    from coordinator.records.files.result import Result
    from coordinator.records.observer import RunObserver
    from coordinator.records.stop import Stop, StopRun
    from coordinator.run.results import load_result
    from coordinator.run.simulate import resume, simulate
    from coordinator.scheduling.scheduler import Phase
    from peers.data.datasets import Dataset
    from topologies.schedule import Schedule

__all__ = [
    "Ablation",
    "AblationResult",
    "CheckpointWritten",
    "Condition",
    "ConfigError",
    "ControlVoid",
    "Dataset",
    "Digested",
    "EndedEarly",
    "Fault",
    "FaultKind",
    "FaultsRecovered",
    "Measured",
    "Note",
    "Objects",
    "OutputsMeasured",
    "PeerDropped",
    "PeersRestored",
    "Phase",
    "Probed",
    "Remaining",
    "Result",
    "RoundCompleted",
    "RoundsChanged",
    "RunConfig",
    "RunEnded",
    "RunEvent",
    "RunObserver",
    "RunReopened",
    "RunStarted",
    "Schedule",
    "Stage",
    "StageEntered",
    "StageLeft",
    "Status",
    "Stop",
    "StopChecked",
    "StopRun",
    "WeightsMeasured",
    "ablate",
    "load_ablation",
    "load_ablation_result",
    "load_config",
    "load_result",
    "over_seeds",
    "resume",
    "simulate",
]


_MODULES = {
    "Ablation": "coordinator.ablations.grids.grid",
    "AblationResult": "coordinator.ablations.ablate",
    "CheckpointWritten": "coordinator.records.events",
    "Condition": "coordinator.measures.gains",
    "ConfigError": "coordinator.experiment.config",
    "ControlVoid": "coordinator.records.events",
    "Dataset": "peers.data.datasets",
    "Digested": "coordinator.records.events",
    "EndedEarly": "coordinator.records.events",
    "Fault": "coordinator.records.events",
    "FaultKind": "coordinator.records.event_kinds",
    "FaultsRecovered": "coordinator.records.events",
    "Measured": "coordinator.records.events",
    "Note": "coordinator.records.events",
    "Objects": "coordinator.planning.brought",
    "OutputsMeasured": "coordinator.records.events",
    "PeerDropped": "coordinator.records.events",
    "PeersRestored": "coordinator.records.events",
    "Phase": "coordinator.scheduling.scheduler",
    "Probed": "coordinator.records.events",
    "Remaining": "coordinator.records.event_kinds",
    "Result": "coordinator.records.files.result",
    "RoundCompleted": "coordinator.records.events",
    "RoundsChanged": "coordinator.records.events",
    "RunConfig": "coordinator.experiment.config",
    "RunEnded": "coordinator.records.events",
    "RunEvent": "coordinator.records.events",
    "RunObserver": "coordinator.records.observer",
    "RunReopened": "coordinator.records.events",
    "RunStarted": "coordinator.records.events",
    "Schedule": "topologies.schedule",
    "Stage": "coordinator.records.event_kinds",
    "StageEntered": "coordinator.records.events",
    "StageLeft": "coordinator.records.events",
    "Status": "coordinator.records.event_kinds",
    "Stop": "coordinator.records.stop",
    "StopChecked": "coordinator.records.events",
    "StopRun": "coordinator.records.stop",
    "WeightsMeasured": "coordinator.records.events",
    "ablate": "coordinator.ablations.ablate",
    "load_ablation": "coordinator.ablations.grids.grid",
    "load_ablation_result": "coordinator.ablations.ablate",
    "load_config": "coordinator.experiment.config",
    "load_result": "coordinator.run.results",
    "over_seeds": "coordinator.ablations.grids.seeds",
    "resume": "coordinator.run.simulate",
    "simulate": "coordinator.run.simulate",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: the command line need not wait for torch to show its help."""
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
