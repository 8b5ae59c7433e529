"""Settings of a process's arithmetic: TF32, bfloat16, determinism."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch

Precision = Literal["float32", "tf32", "bfloat16"]


def configure(device: torch.device, num_threads: int, deterministic: bool) -> None:
    """Configure this process for its peers. On the CPU only the threads: its results are always deterministic."""
    torch.set_num_threads(num_threads)
    if device.type != "cuda":
        return
    _allow_tf32(False)  # torch enables it for convolutions by default
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may be nondeterministic
    torch.use_deterministic_algorithms(deterministic)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context of a round's forward passes: bfloat16 or TF32 if configured; weights and messages stay float32."""
    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return backward(device, precision)


def backward(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context of a round's backward passes: TF32 if configured; bfloat16 is taken over from the forward passes."""
    return _tf32() if precision == "tf32" and device.type == "cuda" else nullcontext()


@contextmanager
def _tf32() -> Iterator[None]:
    """TF32 for a while: probes and measures stay in float32."""
    _allow_tf32(True)
    try:
        yield
    finally:
        _allow_tf32(False)


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
