"""Random draws of networks: from generators of their own, and never from torch's global one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

M = TypeVar("M")
_GLOBAL_GENERATOR = threading.RLock()
TAKE_A_GENERATOR = {"uniform_", "normal_", "exponential_", "bernoulli_", "rand", "randn", "randint", "randperm"}
DRAW_NOTHING = {  # mostly called for a new network and its blank pass; swapping generators takes longer
    *("__get__", "__set__", "_set_grad_enabled", "device", "dim", "is_contiguous", "size"),
    *("add_", "clone", "copy_", "detach", "div", "empty", "fill_", "mean", "ones", "sum", "zero_", "zeros"),
    *("flatten", "movedim", "permute", "reshape", "to", "view"),
    *("batch_norm", "conv2d", "gelu", "group_norm", "layer_norm", "leaky_relu", "linear", "max_pool2d", "relu"),
}

PLAIN = {Tensor, torch.nn.Parameter}  # other kinds of tensors may do anything when a function is called


def seeded(build: Callable[[], M], seed: int) -> M:
    """The result of `build`, with all its random draws on the CPU from a generator of its own.

    The result is the same as after `torch.manual_seed(seed)`, whatever other threads draw at the same time; the state
    of the global generator is not changed.
    """
    with OwnGenerator(seed):
        return build()


@contextmanager
def noise(seed: int, device: torch.device) -> Iterator[None]:
    """Let what a forward pass draws depend on `seed` alone, on a GPU, too."""
    if device.type != "cuda":
        with OwnGenerator(seed):
            yield
        return
    with torch.random.fork_rng(devices=[device]):
        torch.cuda.manual_seed(seed)
        yield


def _is_torchs(function: Any) -> bool:
    """Whether a function is not one of a user's that has the name of one of torch's."""
    module = getattr(function, "__module__", None)
    return module is None or module.split(".")[0] in ("torch", "builtins")


class OwnGenerator(TorchFunctionMode):
    """Makes torch's functions in this thread draw from one generator instead of torch's global one.

    For functions without a generator argument, the global generator temporarily gets its state, one thread at a time.
    A TorchDispatchMode would see single operations, but imports torch's compiler.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def state(self) -> Tensor:
        return self._generator.get_state()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in DRAW_NOTHING and _is_torchs(func) and all(each in PLAIN for each in types):
            return func(*args, **kwargs)
        devices = {value.device.type for value in (*args, *kwargs.values()) if isinstance(value, Tensor)}
        devices.add(torch.device(kwargs.get("device") or "cpu").type)
        if not devices <= {"cpu", "meta"}:
            return func(*args, **kwargs)  # uses the device's own generator
        if name in TAKE_A_GENERATOR:
            given = kwargs.get("generator")
            return func(*args, **{**kwargs, "generator": self._generator if given is None else given})
        with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
            torch.default_generator.set_state(self._generator.get_state())
            with torch._C.DisableTorchFunction():  # a generator around this one must not draw in its place
                made = func(*args, **kwargs)
            self._generator.set_state(torch.default_generator.get_state())
            return made
