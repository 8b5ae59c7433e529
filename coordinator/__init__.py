"""peer-consensus from Python: `simulate(load_config("configs/quickstart.toml"))`, `ablate(load_ablation(FILE))`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coordinator.ablations.ablate import AblationResult, ablate, load_ablation_result
    from coordinator.ablations.grid import Ablation, load_ablation
    from coordinator.ablations.seeds import over_seeds
    from coordinator.experiment.config import ConfigError, RunConfig, load_config
    from coordinator.records.observer import RunObserver
    from coordinator.records.result import Result
    from coordinator.records.stop import Stop, StopRun
    from coordinator.run.results import load_result
    from coordinator.run.simulate import resume, simulate

__all__ = [
    "Ablation",
    "AblationResult",
    "ConfigError",
    "Result",
    "RunConfig",
    "RunObserver",
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
    "Ablation": "ablations.grid",
    "AblationResult": "ablations.ablate",
    "ConfigError": "experiment.config",
    "Result": "records.result",
    "RunConfig": "experiment.config",
    "RunObserver": "records.observer",
    "Stop": "records.stop",
    "StopRun": "records.stop",
    "ablate": "ablations.ablate",
    "load_ablation": "ablations.grid",
    "load_ablation_result": "ablations.ablate",
    "load_config": "experiment.config",
    "load_result": "run.results",
    "over_seeds": "ablations.seeds",
    "resume": "run.simulate",
    "simulate": "run.simulate",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: the command line need not wait for torch to show its help."""
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"coordinator.{_MODULES[name]}"), name)
