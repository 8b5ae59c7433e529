"""Export a peer's network from a checkpoint, for use in other programs."""

from pathlib import Path

from coordinator.checkpoints.export_formats import SUFFIXES
from coordinator.checkpoints.exporting import export_peer
from coordinator.experiment.config import ConfigError, RunConfig, load_config
from coordinator.records.files.result import Format
from coordinator.records.files.run_folder import check_run
from peers.base.brought import Given


def export(run: Path, peer: int, to: Path | None = None, form: Format = "state_dict") -> list[str]:
    """Write a peer's network; returns lines to print, see `export_peer`. Raises: ConfigError."""
    check_run("export", run)
    config = load_config(run / "config.toml")
    to = to or Path(f"peer-{peer}{SUFFIXES[form]}")
    _check_given(config, run, peer, to, form)
    return export_peer(config, run, peer, to, form)


def _check_given(config: RunConfig, run: Path, peer: int, to: Path, form: Format) -> None:
    """Raises: ConfigError, if the network was given from Python, where alone it can be built again."""
    kind = config.peers.kind_of(peer)
    given = [part for part in (kind.model, kind.head) if isinstance(part, Given)]
    if not given or not 0 <= peer < config.peers.count:
        return
    named = " and ".join(f"{part.argument} '{part.name}'" for part in given)
    arguments = ", ".join(f"{part.argument}=..." for part in given)
    call = f"load_result({str(run)!r}, {arguments}).export({peer}, {str(to)!r}, {form!r})"
    raise ConfigError(f"export: the run was given its {named} from Python, which no file holds: from Python: {call}")
