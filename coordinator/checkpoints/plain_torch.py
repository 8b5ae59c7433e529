"""Python code that loads an exported state_dict and runs it, with PyTorch alone where the network can be written so."""

import textwrap
from pathlib import Path
from typing import Any

import torch
from torch import nn

from peers.networks.heads import BottleneckHead, PrototypeHead
from peers.networks.models import Blocks, SpatialMean
from peers.networks.network import Network
from peers.networks.trained import PIXEL, TrainedPeer

WRITTEN_AS_SHOWN = (  # layers whose repr is the call that makes them
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    *(nn.GroupNorm, nn.LayerNorm, nn.Identity, nn.Flatten, nn.Dropout),
    *(nn.ReLU, nn.LeakyReLU, nn.GELU, nn.ELU, nn.SiLU, nn.Tanh, nn.Sigmoid),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, SpatialMean),
)
TYPES = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"}
TYPES |= {"U8": "uint8", "BOOL": "bool"}  # names in safetensors and in torch
READ = """\
import json, pathlib, torch
from torch import nn
raw = pathlib.Path({path}).read_bytes()  # a safetensors file: the header's length, the header, the tensors
start = 8 + int.from_bytes(raw[:8], 'little')
header = json.loads(raw[8:start])
about = header.pop('__metadata__')
types = {types}
state = {{}}
for name, entry in header.items():
    first, last = (start + offset for offset in entry['data_offsets'])
    state[name] = torch.frombuffer(bytearray(raw[first:last]), dtype=types[entry['dtype']]).reshape(entry['shape'])"""
READ_WITH_PACKAGE = """\
import json, torch
from safetensors import safe_open
from peers.networks.brought import GivenHead, GivenModel
from peers.networks.config import PeerKind
with safe_open({path}, 'pt') as file:
    about, state = file.metadata(), {{name: file.get_tensor(name) for name in file.keys()}}
{given}network = PeerKind({parts}).build_network({shape}, {peer}, 'any')"""
GIVEN = {"model": ("GivenModel", "network"), "head": ("GivenHead", "head")}  # sections and arguments of `simulate`
USE = """\
network.load_state_dict(state)
network.eval()
normalisation = json.loads(about['inputs'])['normalisation']
mean, std = (torch.tensor(normalisation[name]).reshape({broadcast}) for name in ('mean', 'std'))
@torch.no_grad()
def peer(images):
    {returned}"""
SEEN = """\
from peers.views.view import View
inputs = json.loads(about['inputs'])
view = View.from_json(inputs['view'])
"""  # the sensors of the peer's view
RETURNED = """\
features = network.encoder({inputs})
    return features, {outputs}"""


def loading_code(trained: TrainedPeer, spec: dict[str, Any], path: Path) -> tuple[str, str]:
    """Code that reads the file at `path` and defines `peer(images)` -> (features, outputs); what it needs, in words.

    spec: the peer's model, norm, head, and start. Code for what was given from Python names it `given_network` and
    `given_head`, which are to be defined before.
    """
    network, shape = trained.network, trained.inputs.shape
    values = "images.to(torch.float32)" + (f" / {PIXEL}" if trained.inputs.is_pixels else "")
    seen = bool(trained.inputs.sensors)
    values = f"view.still({values}, inputs['peer'])" if seen else values
    inputs = f"({values} - mean) / std"
    encoder, head = _written(network.encoder), _head(network.head)
    if encoder is not None and head is not None:
        made, outputs = head
        read = READ.format(path=repr(str(path)), types=_types(network))
        built = "\n".join([read, "network = nn.Module()", f"network.encoder = {encoder}", *made])
        returned, needs = RETURNED.format(inputs=inputs, outputs=outputs), "torch"
    else:
        parts, given = _parts(spec)
        built = READ_WITH_PACKAGE.format(
            path=repr(str(path)), given=given, parts=parts, shape=shape, peer=trained.index
        )
        returned = f"return network({inputs})"
        needs = f"torch and peer-consensus{', and what was given' if given else ''}; format torchscript: torch alone"
    if seen:
        needs = needs if needs != "torch" else "torch and peer-consensus, for the view; format torchscript: torch alone"
    return f"{built}\n{SEEN if seen else ''}{USE.format(broadcast=_broadcast(shape), returned=returned)}", needs


def _broadcast(shape: tuple[int, ...]) -> str:
    """The shape of one value for each index of the first axis of an example, as code."""
    return ", ".join(["-1", *["1"] * (len(shape) - 1)])


def _parts(spec: dict[str, Any]) -> tuple[str, str]:
    """The arguments of `PeerKind`, as code, and lines of comments on the objects in it that the reader has to bring."""
    parts, lines = [], ""
    for name, value in spec.items():
        if name in GIVEN and value["kind"] == "given":
            section, argument = GIVEN[name]
            lines += f"# given_{argument}: the object that the run got as {argument}=..., '{value['name']}'\n"
            parts.append(f"{name}={section}.of(given_{argument})")
        else:
            parts.append(f"{name}={value!r}")
    return ", ".join(parts), lines


def _head(head: nn.Module) -> tuple[list[str], str] | None:
    """Statements that make `network.head`, and the expression of its outputs; None if it cannot be written so."""
    if type(head) is PrototypeHead:
        made = ["network.head = nn.Module()", _parameter("network.head.prototypes", head.prototypes)]
        centred = "features - features.mean(dim=0, keepdim=True)"
        return made, _cosines(centred, "network.head.prototypes")
    if type(head) is BottleneckHead:
        mlp = f"network.head.mlp = {_written(head.mlp)}"
        made = ["network.head = nn.Module()", mlp, _parameter("network.head.directions", head.directions)]
        return made, _cosines("network.head.mlp(features)", "network.head.directions")
    written = _written(head)
    return None if written is None else ([f"network.head = {written}"], "network.head(features)")


def _parameter(name: str, tensor: torch.Tensor) -> str:
    return f"{name} = nn.Parameter(torch.empty({', '.join(map(str, tensor.shape))}))"


def _cosines(vectors: str, directions: str) -> str:
    unit = "nn.functional.normalize"
    return f"nn.functional.linear({unit}({vectors}, dim=1), {unit}({directions}, dim=1))"


def _written(module: nn.Module) -> str | None:
    """The expression that makes a module of plain layers; None for any other module."""
    if type(module) is nn.Sequential or type(module) is Blocks:
        names, parts = [name for name, _ in module.named_children()], [_written(part) for part in module]
        if names != [str(index) for index in range(len(parts))] or None in parts:
            return None
        lines = ",\n".join(part for part in parts if part)
        return f"nn.Sequential(\n{textwrap.indent(lines, '    ')},\n)"
    if type(module) not in WRITTEN_AS_SHOWN or module._forward_hooks or module._forward_pre_hooks:
        return None
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and (
        module.padding_mode != "zeros" or isinstance(module.padding, str)
    ):
        return None  # these are shown without quotation marks
    return f"nn.{module!r}".replace(", bias=True, track", ", track")  # which older releases of torch do not know


def _types(network: Network) -> str:
    """The dtypes of the network's tensors, as code, by their names in safetensors."""
    used = {str(tensor.dtype).removeprefix("torch.") for tensor in network.state_dict().values()}
    return "{" + ", ".join(f"'{name}': torch.{kind}" for name, kind in TYPES.items() if kind in used) + "}"
