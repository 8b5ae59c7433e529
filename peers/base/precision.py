"""Settings of a process's arithmetic: TF32, bfloat16, determinism."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["float32", "tf32", "bfloat16"]


def configure(device: torch.device, num_threads: int, precision: Precision, deterministic: bool) -> None:
    """Configure this process for its peers. On the CPU only the threads: its results are always deterministic."""
    torch.set_num_threads(num_threads)
    if device.type != "cuda":
        return
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # torch enables it for convolutions by default
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may be nondeterministic
    torch.use_deterministic_algorithms(deterministic)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context of a round's forward passes: bfloat16 if configured; weights, losses and messages stay float32."""
    if precision != "bfloat16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
