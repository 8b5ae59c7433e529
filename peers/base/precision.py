"""What a process's arithmetic is set to: TF32, bfloat16, determinism."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["float32", "tf32", "bfloat16"]


def configure(device: torch.device, num_threads: int, precision: Precision, deterministic: bool) -> None:
    """Set this process up for its peers. On the CPU only threads are chosen: it always repeats itself."""
    torch.set_num_threads(num_threads)
    if device.type != "cuda":
        return
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # which torch allows convolutions unless told otherwise
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may not repeat itself
    torch.use_deterministic_algorithms(deterministic)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """For the forward passes of a round: bfloat16 where that is asked; weights, losses and messages stay float32."""
    if precision != "bfloat16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
