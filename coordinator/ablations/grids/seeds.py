"""One experiment over several seeds: an ablation without axes, whose verdicts are over seeds."""

import re
import warnings
from collections.abc import Sequence

from coordinator.ablations.grids.grid import Ablation, load_ablation
from coordinator.experiment.config import ConfigError, RunConfig, to_table

MOST_SEEDS, MOST = 1000, 2**63


def over_seeds(config: RunConfig, seeds: Sequence[int]) -> Ablation:
    """The experiment as an ablation of one cell, for `ablate`, which runs the seeds side by side.

    If the config does not set `hosting.pool`, the peers of each run are in one process, as the seeds keep the CPUs
    busy; the numbers are the same. Checkpoints are not written: an interrupted run is repeated.

    Raises: ConfigError.
    """
    table = to_table(config)
    if config.checkpoint.every and "every" in config.checkpoint.model_fields_set:
        warnings.warn(
            "checkpoint.every is ignored over several seeds: a run that was interrupted is repeated", stacklevel=2
        )
    table["checkpoint"] = {**table["checkpoint"], "every": 0}
    if "pool" not in config.hosting.model_fields_set and not config.hosting.address:
        table["hosting"] = {**table["hosting"], "pool": "in-process"}
    return load_ablation({**table, "name": config.run.name, "seeds": list(seeds)})


def read_seeds(text: str, first: int) -> tuple[int, ...]:
    """The seeds that `--seeds` asks for: N from `first` on, or a list such as 1,2,5. Raises: ConfigError."""
    if not re.fullmatch(r"\s*[0-9]{1,19}\s*(,\s*[0-9]{1,19}\s*)*", text):
        raise ConfigError(f"--seeds: must be a number of seeds such as 3, or seeds such as 1,2,5; got '{text}'")
    numbers = tuple(map(int, text.split(",")))
    if len(numbers) > 1:
        repeated = next((seed for seed in numbers if numbers.count(seed) > 1), None)
        if repeated is not None:
            raise ConfigError(f"--seeds: must differ, got {repeated} twice: remove one")
        _check_count(len(numbers))
        return numbers
    (count,) = numbers
    _check_count(count)
    if first + count > MOST:
        raise ConfigError(f"--seeds: seeds are below 2^63, and {count} from run.seed = {first} on are not: lower it")
    return tuple(range(first, first + count))


def _check_count(count: int) -> None:
    if not 2 <= count <= MOST_SEEDS:
        raise ConfigError(
            f"--seeds: must be from 2 to {MOST_SEEDS:,} seeds, got {count}: "
            + ("leave --seeds out for one run" if count < 2 else "fewer will do")
        )
