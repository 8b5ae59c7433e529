"""peer-consensus from Python: `simulate(load_config("configs/quickstart.toml"))`, `ablate(load_ablation(FILE))`."""

from typing import TYPE_CHECKING, Any

from coordinator.experiment.config import ConfigError, RunConfig, load_config
from coordinator.records.observer import RunObserver
from coordinator.records.result import Result
from coordinator.run.simulate import resume, simulate

if TYPE_CHECKING:
    from coordinator.ablations.ablate import AblationResult, ablate
    from coordinator.ablations.grid import Ablation, load_ablation

__all__ = [
    "Ablation",
    "AblationResult",
    "ConfigError",
    "Result",
    "RunConfig",
    "RunObserver",
    "ablate",
    "load_ablation",
    "load_config",
    "resume",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """Ablations are imported when they are asked for."""
    from importlib import import_module

    places = {"Ablation": "grid", "load_ablation": "grid", "AblationResult": "ablate", "ablate": "ablate"}
    if name not in places:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"coordinator.ablations.{places[name]}"), name)
