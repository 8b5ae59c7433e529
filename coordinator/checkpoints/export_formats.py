"""The formats of an exported peer: the content of the file, and the Python code that loads it."""

import copy
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from coordinator.checkpoints.plain_torch import loading_code
from coordinator.experiment.config import ConfigError
from coordinator.experiment.redaction import first_line
from coordinator.records.files.result import Format
from peers.learning import snapshot
from peers.networks.trained import PIXEL, InputFormat, RawNetwork, TrainedPeer

SUFFIXES: dict[Format, str] = {"state_dict": ".safetensors", "torchscript": ".pt", "onnx": ".onnx"}
OTHER_BATCHES = (1, 5)  # a traced network is tried with these
TORCHSCRIPT_CODE = """\
import torch
peer = torch.jit.load({path})
peer.eval()"""
ONNX_CODE = """\
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession({path})
def peer(images):
    return session.run(['features', 'outputs'], {{'images': images}})"""


@dataclass(frozen=True)
class Exported:
    """The content of a file, the code that loads it and defines `peer(images)`, and the packages that this needs."""

    content: bytes
    code: str
    needs: str


def as_state_dict(trained: TrainedPeer, spec: dict[str, Any], about: dict[str, str], path: Path) -> Exported:
    """The parameters and buffers in safetensors, with the normalisation in the metadata."""
    tensors = snapshot.unshared(trained.network.state_dict())
    content = safetensors.torch.save(tensors, {**about, "peers": json.dumps(spec)})
    code, needs = loading_code(trained, spec, path)
    example = f"features, outputs = peer(torch.zeros({_sizes(trained.inputs)}, dtype=torch.{trained.inputs.dtype}))"
    return Exported(content, f"{code}\n{example}", needs)


def as_torchscript(trained: TrainedPeer, spec: dict[str, Any], about: dict[str, str], path: Path) -> Exported:
    """A traced module that takes raw examples, any number of them. Raises: ConfigError, if it cannot be traced."""
    _check_sensors("torchscript", trained.inputs)
    raw = copy.deepcopy(trained.with_normalisation()).requires_grad_(False)
    content = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # what tracing warns of is tried below; torch deprecates all of TorchScript
        try:
            traced = torch.jit.trace(raw, _examples(trained.inputs, 2), check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(traced, content, _extra_files={"about.json": json.dumps(about)})
            same = all(_agree(raw, traced, _examples(trained.inputs, number)) for number in OTHER_BATCHES)
        except Exception as error:  # whatever the network's own code raises
            raise _impossible("torchscript", error) from None
    if not same:
        raise _impossible("torchscript", "the traced network gives other outputs for other numbers of images")
    dtypes = f"  # {_meaning(trained.inputs)}, of any dtype"
    example = f"features, outputs = peer(torch.zeros({_sizes(trained.inputs)}, dtype=torch.{trained.inputs.dtype}))"
    return Exported(content.getvalue(), f"{TORCHSCRIPT_CODE.format(path=repr(str(path)))}\n{example}{dtypes}", "torch")


def as_onnx(trained: TrainedPeer, spec: dict[str, Any], about: dict[str, str], path: Path) -> Exported:
    """An ONNX graph that takes raw examples in the data set's dtype, any number of them. Raises: ConfigError."""
    _check_sensors("onnx", trained.inputs)
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"format onnx needs {' and '.join(missing)}, which torch.onnx builds on: pip install "
            f"{' '.join(missing)}, or use format torchscript"
        )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program: Any = torch.onnx.export(
                trained.with_normalisation(),
                (_examples(trained.inputs, 2),),
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["features", "outputs"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        except Exception as error:
            raise _impossible("onnx", error) from None
    model = program.model_proto  # a new one at every call
    for name, value in about.items():
        model.metadata_props.add(key=name, value=value)
    example = f"features, outputs = peer(np.zeros(({_sizes(trained.inputs)}), np.{trained.inputs.dtype}))"
    code = f"{ONNX_CODE.format(path=repr(str(path)))}\n{example}  # {_meaning(trained.inputs)}"
    return Exported(model.SerializeToString(), code, "onnxruntime")


FORMATS: dict[str, Callable[[TrainedPeer, dict[str, Any], dict[str, str], Path], Exported]] = {
    "state_dict": as_state_dict,
    "torchscript": as_torchscript,
    "onnx": as_onnx,
}


def _check_sensors(name: Format, inputs: InputFormat) -> None:
    """Raises: ConfigError, if what the peer sees depends on more than the image."""
    drawing = next((step.name for step in inputs.sensors if step.draws), None)
    if drawing:
        raise ConfigError(
            f"format {name}: the peer's sensor '{drawing}' draws anew for each image, which a graph of torch cannot: "
            "use format state_dict"
        )


def _impossible(name: Format, error: object) -> ConfigError:
    return ConfigError(f"format {name}: torch cannot export this network ({first_line(error)}): use format state_dict")


def _sizes(inputs: InputFormat) -> str:
    return ", ".join(map(str, (2, *inputs.shape)))


def _meaning(inputs: InputFormat) -> str:
    return f"raw pixels, 0 to {PIXEL}" if inputs.is_pixels else "values as in the data set"


def _examples(inputs: InputFormat, number: int) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    if inputs.is_pixels:
        return torch.randint(0, PIXEL + 1, (number, *inputs.shape), generator=generator, dtype=torch.uint8)
    return torch.randn(number, *inputs.shape, generator=generator)


def _agree(raw: RawNetwork, traced: Any, examples: Tensor) -> bool:
    """Whether a traced network gives the same for bytes and floats as the network itself, up to rounding."""
    found = [traced(examples), traced(examples.to(torch.float64))]
    return all(
        torch.allclose(one, other, rtol=1e-4, atol=1e-5)
        for each in found
        for one, other in zip(raw(examples), each, strict=True)
    )
