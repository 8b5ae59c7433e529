"""peer-consensus from Python: `simulate(load_config("configs/quickstart.toml"))`."""

from coordinator.config import ConfigError, RunConfig, load_config
from coordinator.simulate import Result, simulate

__all__ = ["ConfigError", "Result", "RunConfig", "load_config", "simulate"]
