"""A GPU that is pretended: tensors say that they are there, while their values are computed on the CPU.

What a GPU refuses is refused: an operation on tensors of both devices, unless one of them is a scalar. So an error that
only a GPU shows is found without one.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")
COPIES = {"aten::_to_copy", "aten::copy_"}  # from one device to the other


class OnGPU(Tensor):
    """A tensor that says it is on the GPU. held: its values, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> "OnGPU":
        made: OnGPU = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            real.size(),
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device="meta",  # for the autograd engine, which asks a real GPU for its streams
        )
        made.held = real
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    def tolist(self) -> Any:
        return self.held.tolist()

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnGPU({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {})


class PretendedGPU(TorchDispatchMode):
    """While it is entered, "cuda" is a device."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # which would import torch's compiler

    _mode_key = torch._C._TorchDispatchModeKey.FAKE  # with it, torch does not look for a real one

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {})


@contextlib.contextmanager
def pretended_gpu() -> Iterator[None]:
    """A GPU for tensors; settings of the process are as before afterwards."""
    torch._C._ensureCUDADeviceGuardSet()
    before = torch._C._only_lift_cpu_tensors()
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    deterministic = torch.are_deterministic_algorithms_enabled()
    settings = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    torch._C._set_only_lift_cpu_tensors(True)
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a parameter becomes another object there
    try:
        with PretendedGPU():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)
        torch.use_deterministic_algorithms(deterministic)
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = settings


def computed(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operation gives on the CPU, on the device where it would be. Raises: RuntimeError, as a GPU does."""
    name = function._schema.name
    flat, _ = tree_flatten((args, kwargs))
    tensors = [each for each in flat if isinstance(each, Tensor)]
    there = any(isinstance(each, OnGPU) for each in tensors)
    strangers = [each for each in tensors if not isinstance(each, OnGPU) and each.dim() > 0]
    if there and strangers and name not in COPIES and not _is_index(name, args):
        shapes = ", ".join(str(tuple(each.shape)) for each in strangers)
        raise RuntimeError(f"{name}: tensors of shape {shapes} are on the CPU, others on the GPU")
    generator = kwargs.get("generator")
    wanted = there if kwargs.get("device") is None else torch.device(kwargs["device"]).type == "cuda"
    if generator is not None and wanted and generator.device.type == "cpu":
        raise RuntimeError(f"{name}: the generator is the CPU's, the values are to be on the GPU")
    if name == "aten::copy_":  # in place: it stays where it is
        there = isinstance(args[0], OnGPU)
    asked = kwargs.get("device")
    if asked is not None:
        there = torch.device(asked).type in ("cuda", "meta")  # meta: made inside an operation on the GPU
    with torch.utils._python_dispatch._disable_current_modes():
        real_args, real_kwargs = tree_map(_real, (args, kwargs))
        if asked is not None:
            real_kwargs["device"] = CPU
        if name == "aten::_to_copy" and there != isinstance(args[0], OnGPU):
            real_kwargs = {**real_kwargs, "non_blocking": False}
        found = function(*real_args, **real_kwargs)
        known = {id(each.held): each for each in tensors if isinstance(each, OnGPU)}
        return tree_map(lambda each: _placed(each, known) if there and isinstance(each, Tensor) else each, found)


def _real(each: Any) -> Any:
    return each.held if isinstance(each, OnGPU) else each


def _placed(real: Tensor, known: dict[int, Tensor]) -> Tensor:
    """On the GPU; what an operation in place returns is its argument."""
    argument = known.get(id(real))
    return OnGPU(real) if argument is None else argument


def _is_index(name: str, args: Any) -> bool:
    """Whether the CPU's tensors are indices, which a GPU takes; not the values that are put there."""
    put = name != "aten::index_put_" or isinstance(args[2], OnGPU) or args[2].dim() == 0
    return name in ("aten::index", "aten::index_put_") and isinstance(args[0], OnGPU) and put
