"""The result of a run and the way in which it ended."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.redaction import first_line
from coordinator.records.event_kinds import Status as Status
from coordinator.records.files.run_folder import KEYS
from peers.data.datasets import Normalisation
from peers.networks.network import Network
from peers.networks.trained import InputFormat, TrainedPeer

OF_NETWORK = ("events", "network_peers", "network_edges", "network_presence")  # tables of the simulated network
Format = Literal["state_dict", "torchscript", "onnx"]  # of an exported peer


@dataclass(frozen=True)
class Ending:
    """How a run ended. message: if it ended early, the reason in words."""

    status: Status
    message: str = ""


@dataclass(frozen=True)
class Result:
    """The result of a run, and its trained peers; `load_result` makes it again from the run's folder.

    summary: the content of `summary.json`. config: the run's. trained: a peer as in the newest intact checkpoint of the
    run; raises ConfigError without one. exported: see `export`. message: the reason if the run ended early.

    A peer is named by its index. Images are given raw, as the data set has them: a NumPy array or a torch tensor
    [examples, *shape] of pixels from 0 to 255 (or of the values that the data set has instead); they go through the
    sensors of the peer's view, if it has any, and are normalised as in the run. Example:

        result = simulate(load_config("configs/quickstart.toml"))
        features = result.features(my_images, 0)  # float32 [examples, features]
        losses = result.table("peers").to_pandas()["loss"]
    """

    status: Status
    summary: dict[str, Any] = field(repr=False)
    folder: Path
    config: RunConfig = field(repr=False)
    trained: Callable[[int], TrainedPeer] = field(repr=False, compare=False)
    exported: Callable[[int, Path, Format], list[str]] = field(repr=False, compare=False)
    message: str = ""

    @property
    def normalisation(self) -> Normalisation:
        """Mean and standard deviation that inputs are normalised by, for each channel (of pixels: divided by 255).

        Where peers have sensors, this is peer 0's; each peer's own is `result.trained(peer).inputs.normalisation`.
        """
        return self._inputs.normalisation

    def network(self, peer: int) -> Network:
        """A new copy of the trained network, in eval mode on the CPU; called, it returns (features, outputs).

        It takes normalised images; `result.trained(peer).with_normalisation()` is a module that takes raw ones, and
        has the sensors of the peer's view. Warns if it is not of the round that the summary is of. Raises: ConfigError,
        without an intact checkpoint.
        """
        return self._trained(peer).network

    def features(self, images: object, peer: int) -> Float32[np.ndarray, "examples features"]:
        """The encoder's features of raw images, in eval mode. Raises: ValueError, if they are not like the run's."""
        return self._trained(peer).features(images)

    def outputs(self, images: object, peer: int) -> Float32[np.ndarray, "examples outputs"]:
        """The head's outputs (logits) of raw images, in eval mode. Raises: as `features`."""
        return self._trained(peer).outputs(images)

    def predict(self, images: object, peer: int) -> Int64[np.ndarray, " examples"]:
        """The class of each image, which is the largest output. Raises: ConfigError, unless peers learn from labels."""
        if not self.config.exchange.uses_labels:
            raise ConfigError(
                "predict: the peers learned without labels (exchange.supervised is 0), so no output stands for a "
                "class: fit a classifier of your own to result.features, or train with exchange.supervised above 0"
            )
        classes: Int64[np.ndarray, " examples"] = self.outputs(images, peer).argmax(axis=1)
        return classes

    def export(self, peer: int, path: str | Path, form: Format = "state_dict") -> list[str]:
        """Write the trained network with its normalisation to a file; returns the lines of Python that load it.

        form: `state_dict` (safetensors), `torchscript` or `onnx`. The lines define `peer(images)`, from raw images to
        (features, outputs); a comment says which packages they need. Raises: ConfigError, without an intact checkpoint,
        or if torch cannot export the network so.
        """
        return self.exported(peer, Path(path), form)

    def table(self, name: str) -> pa.Table:
        """A table of the run as Arrow: `rounds`, `peers` (and rounds), `edges` (and rounds), or `pairs` of peers.

        With a simulated network also `events`, `network_peers`, `network_edges`, and `network_presence` if peers came
        and went. Raises: ConfigError, for another name, or if the file is missing or damaged.
        """
        names = [*KEYS, *(OF_NETWORK if self.summary.get("network") else ())]
        if name not in names:
            raise ConfigError(f"table: must be one of {', '.join(names)}, got {name!r}")
        path = self.folder / "metrics" / f"{name}.parquet"
        try:
            return pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(f"table: cannot read '{path}' ({first_line(error)}): bring the file back") from None

    @property
    def _inputs(self) -> InputFormat:
        try:
            return InputFormat.from_json(self.summary["data"])
        except KeyError:
            raise ConfigError(
                f"'{self.folder}' was written by an older version of peer-consensus, which kept no normalisation: run "
                "it again"
            ) from None

    def _trained(self, peer: int) -> TrainedPeer:
        """The peer, with a warning for what is told of it."""
        trained, rounds = self.trained(peer), self.summary["rounds"]
        notes = [*trained.notes]
        if trained.completed != rounds:
            notes.append(
                f"peer {peer} is as after round {trained.completed}, from the newest whole checkpoint, and the summary "
                f"is of round {rounds}"
            )
        for note in notes:
            warnings.warn(note, stacklevel=3)
        return trained
