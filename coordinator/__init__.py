"""peer-consensus from Python: all that a program of your own calls, or receives.

`simulate(load_config("configs/quickstart.toml"))` runs an experiment, `ablate(load_ablation(FILE))` many; `network=`,
`data=`, `topology=`, `loss=` and `observers=` bring your own. `load_result(RUN)` gives a run back.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coordinator.ablations.ablate import AblationResult, ablate, load_ablation_result
    from coordinator.ablations.grid import Ablation, load_ablation
    from coordinator.ablations.seeds import over_seeds
    from coordinator.experiment.config import ConfigError, RunConfig, load_config
    from coordinator.records.events import Measured, OutputsMeasured, Probed, RoundCompleted, RunEnded, RunEvent
    from coordinator.records.observer import RunObserver
    from coordinator.records.result import Result
    from coordinator.records.stop import Stop, StopRun
    from coordinator.run.results import load_result
    from coordinator.run.simulate import resume, simulate
    from peers.data.datasets import Dataset
    from topologies.schedule import Schedule

__all__ = [
    "Ablation",
    "AblationResult",
    "ConfigError",
    "Dataset",
    "Measured",
    "OutputsMeasured",
    "Probed",
    "Result",
    "RoundCompleted",
    "RunConfig",
    "RunEnded",
    "RunEvent",
    "RunObserver",
    "Schedule",
    "Stop",
    "StopRun",
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
    "Ablation": "coordinator.ablations.grid",
    "AblationResult": "coordinator.ablations.ablate",
    "ConfigError": "coordinator.experiment.config",
    "Dataset": "peers.data.datasets",
    "Measured": "coordinator.records.events",
    "OutputsMeasured": "coordinator.records.events",
    "Probed": "coordinator.records.events",
    "Result": "coordinator.records.result",
    "RoundCompleted": "coordinator.records.events",
    "RunConfig": "coordinator.experiment.config",
    "RunEnded": "coordinator.records.events",
    "RunEvent": "coordinator.records.events",
    "RunObserver": "coordinator.records.observer",
    "Schedule": "topologies.schedule",
    "Stop": "coordinator.records.stop",
    "StopRun": "coordinator.records.stop",
    "ablate": "coordinator.ablations.ablate",
    "load_ablation": "coordinator.ablations.grid",
    "load_ablation_result": "coordinator.ablations.ablate",
    "load_config": "coordinator.experiment.config",
    "load_result": "coordinator.run.results",
    "over_seeds": "coordinator.ablations.seeds",
    "resume": "coordinator.run.simulate",
    "simulate": "coordinator.run.simulate",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: the command line need not wait for torch to show its help."""
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
