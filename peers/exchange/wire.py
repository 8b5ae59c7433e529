"""Wire formats: pure functions that pack outputs into NumPy arrays for a link, and unpack them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from peers.base.finite import is_finite

WireDtype = Literal["float32", "float16", "bfloat16", "int8"]
Payload = tuple[np.ndarray, ...]

_TORCH: dict[str, torch.dtype] = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_LEVELS = 127  # int8 values on either side of zero
_SHORT = 2**16  # number of outputs that a 16-bit index can address


@dataclass(frozen=True)
class Wire:
    """A format: the dtype of values, and the number of outputs sent per distribution (0: all).

    int8: a sample's values are rounded to multiples of a step, its largest magnitude / 127, which is sent as well, in
    float32. The error is at most half a step; values below half a step arrive as 0.

    top_k: the k largest probabilities of a sample are sent with their indices, and the reader spreads the remaining
    mass evenly over the other outputs. This is the maximum-entropy distribution given the sent values; losses and
    targets need no change, unlike with one extra "rest" output. In sharp distributions, mainly with dtypes of few
    bits, rounding may leave no mass to spread (the others are 0), or make a sent value smaller than the share of the
    others (the order is lost).
    """

    dtype: WireDtype = "float32"
    top_k: int = 0

    def num_bytes(self, batch: int, width: int) -> int:
        """Size of a message of `batch` samples and `width` outputs in bytes: values, scales and indices."""
        sent = self.top_k or width
        value = 1 if self.dtype == "int8" else _TORCH[self.dtype].itemsize
        scale = 4 if self.dtype == "int8" else 0
        place = (2 if width <= _SHORT else 4) if self.top_k else 0
        return batch * (sent * (value + place) + scale)

    def flaw(self, payload: Payload, batch: int, width: int, distribution: bool, lie: bool = False) -> str:
        """Describe the flaw of a payload of `batch` samples and `width` outputs; "" if it has none.

        distribution: whether its values must be probabilities, whose sum may exceed 1 only by the format's rounding.
        lie: it may be anything of that form, finite or not.
        """
        found = [(part.dtype, part.shape) for part in payload]
        sent = self.top_k or width
        value = np.dtype({"bfloat16": "int16"}.get(self.dtype, self.dtype))
        expected = [(value, (batch, sent))] + ([(np.dtype("float32"), (batch,))] if self.dtype == "int8" else [])
        if self.top_k:
            expected.append((np.dtype(np.uint16 if width <= _SHORT else np.uint32), (batch, sent)))
        if found != expected:
            return f"arrays of {_format_arrays(found)} where {self.dtype} has {_format_arrays(expected)}"
        values = self._unpack_values(payload[: 2 if self.dtype == "int8" else 1], torch.device("cpu"))
        finite = is_finite(values)
        if not finite and not lie:
            return "values that are not finite"
        if self.dtype == "int8" and (payload[1] < 0).any():  # one that is not finite makes its values so
            return "scales that are negative"
        if self.top_k and (int(payload[-1].max()) >= width or (np.diff(np.sort(payload[-1], axis=-1)) == 0).any()):
            return f"places that are not different ones of {width} outputs"
        rounding = {"float32": 1e-4, "int8": 0.5 * sent / _LEVELS}.get(self.dtype, 0.02)
        if distribution and finite and (float(values.min()) < 0 or float(values.sum(dim=-1).max()) > 1 + rounding):
            return "values that are no probabilities"
        return ""

    def pack(self, outputs: Float[Tensor, "*peers batch width"]) -> Payload:
        """Pack into arrays that share no memory with `outputs`; each array keeps the leading axes of `outputs`."""
        outputs = outputs.detach()
        if not self.top_k:
            return self._pack_values(outputs)
        # a stable sort, so that of equal probabilities the first ones are sent
        places = torch.sort(outputs, dim=-1, descending=True, stable=True).indices[..., : self.top_k]
        kind = np.uint16 if outputs.shape[-1] <= _SHORT else np.uint32
        # non-finite values that are not sent must not go unnoticed
        whole = torch.isfinite(outputs).all(dim=-1, keepdim=True)
        values = torch.where(whole, outputs.gather(-1, places), torch.nan)
        return *self._pack_values(values), places.cpu().numpy().astype(kind)

    def unpack(self, payload: Payload, width: int, device: torch.device) -> Float[Tensor, "*peers batch width"]:
        """Unpack the outputs in float32, in new memory; the arrays may be read-only."""
        if not self.top_k:
            return self._unpack_values(payload, device)
        places = torch.tensor(payload[-1].astype(np.int64), device=device)
        return _spread(self._unpack_values(payload[:-1], device), places, width)

    def _pack_values(self, values: Float[Tensor, "*peers batch sent"]) -> Payload:
        if self.dtype == "int8":
            # a non-finite value makes the scale non-finite, and with it the whole sample
            scale = values.to(torch.float32).abs().amax(dim=-1) / _LEVELS
            steps = torch.where(scale[..., None] > 0, values / scale[..., None], 0.0).nan_to_num(0.0, 0.0, 0.0)
            whole = steps.round().clamp(-_LEVELS, _LEVELS).to(torch.int8)
            return whole.cpu().numpy(), scale.cpu().numpy()
        wire = values.to(device="cpu", dtype=_TORCH[self.dtype])
        if wire.data_ptr() == values.data_ptr():
            wire = wire.clone()  # a message must not change with its sender's tensors
        return ((wire.view(torch.int16) if self.dtype == "bfloat16" else wire).numpy(),)  # NumPy has no bfloat16

    def _unpack_values(self, payload: Payload, device: torch.device) -> Float[Tensor, "*peers batch sent"]:
        values = torch.tensor(payload[0], device=device)
        if self.dtype == "int8":
            return values.to(torch.float32) * torch.tensor(payload[1], device=device)[..., None]
        return (values.view(torch.bfloat16) if self.dtype == "bfloat16" else values).to(torch.float32)


def _format_arrays(parts: Sequence[tuple[np.dtype[Any], tuple[int, ...]]]) -> str:
    return " and ".join(f"{dtype} {'x'.join(map(str, shape))}" for dtype, shape in parts)


def _spread(
    values: Float[Tensor, "*peers batch sent"], places: Int64[Tensor, "*peers batch sent"], width: int
) -> Float[Tensor, "*peers batch width"]:
    """Distributions with `values` at `places`, and the remaining mass spread evenly over the other outputs.

    If rounding makes the values sum to more than 1, they are scaled to sum to 1, and nothing is spread.
    """
    total = values.sum(dim=-1, keepdim=True)
    rest = (1.0 - total).clamp_min(0.0) / (width - values.shape[-1])
    values = values / total.clamp_min(1.0)
    return rest.expand(*places.shape[:-1], width).scatter(-1, places, values)
