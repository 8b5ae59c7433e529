"""The result of a run: what `simulate` and `resume` return, and the same again from the run's folder."""

from functools import partial
from pathlib import Path
from typing import Any, Unpack

from coordinator.checkpoints.exporting import export_peer
from coordinator.checkpoints.trained_peers import trained_peer
from coordinator.experiment.config import ConfigError, RunConfig, load_config
from coordinator.experiment.reading import from_json
from coordinator.planning.brought import Keywords, Objects
from coordinator.records.files.result import Ending, Result, Status
from coordinator.records.files.run_folder import check_run, way_on


def result_of(config: RunConfig, folder: Path, summary: dict[str, Any], ending: Ending) -> Result:
    """The result of the run in a folder."""
    trained, exported = partial(trained_peer, config, folder), partial(export_peer, config, folder)
    return Result(ending.status, summary, folder, config, trained, exported, ending.message)


def load_result(run: str | Path, **objects: Unpack[Keywords]) -> Result:
    """The result of a run that has ended, from its folder: what `simulate` returned then.

    Its networks are those of the newest intact checkpoint; if the run was interrupted or stopped, this may be of an
    earlier round than the summary, which is told by a warning when a network is asked for.

    objects: what the run was given from Python, as in `simulate`; only its networks need some of it.

    Raises: ConfigError, if the folder is none of a run, or of one that has not ended.
    """
    path = Path(run)
    if (path / "ablation.toml").is_file():
        raise ConfigError(f"load_result: '{run}' is an ablation: use load_ablation_result, or name a run in its cells")
    check_run("load_result", path)
    config = Objects.of(objects).take_again(load_config(path / "config.toml"))
    try:
        summary = from_json((path / "summary.json").read_bytes())
        ending = Ending(Status(summary["status"]), summary["message"])
    except FileNotFoundError:
        raise ConfigError(
            f"load_result: '{run}' has no summary.json, as its run has not ended or was killed: {way_on(path)}"
        ) from None
    except OSError as error:
        raise ConfigError(f"load_result: cannot read the summary.json of '{run}': {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"load_result: the summary.json of '{run}' is damaged: {way_on(path)}") from None
    return result_of(config, path.resolve(), summary, ending)
