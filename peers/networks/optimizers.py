"""Optimisers: their settings, their steps by torch's functional API, and the state of their moments.

The classes of `torch.optim` compute the same, but creating one imports torch's compiler: more than a second and a
hundred MiB for each process of peers. Besides, one call here can step many peers at once.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from peers.base.section import Variant

Beta = Annotated[float, Field(ge=0, lt=1)]
Tensors = list[Tensor]
Moments = dict[str, list[Tensor]]
Fused = bool | None  # None: the default of torch.optim
TOGETHER = 2**20  # numbers in all up to which tensors are updated together: that needs as much memory again


class Optimizer(Variant):
    lr: float = Field(1e-3, gt=0, le=1e38, description="learning rate (arXiv 2604.18390: 1e-8; Random Teachers: 1e-3)")
    weight_decay: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="weight decay: added to the gradient by sgd and adam, decoupled from it by adamw (Loshchilov and "
        "Hutter 2019)",
    )
    schedule: Literal["constant", "cosine"] = Field(
        "constant",
        description="learning rate over the run: constant, or a half cosine from lr down to 0 at the last round",
    )
    clip_norm: float = Field(
        0.0,
        ge=0,
        le=1e38,
        description="largest Euclidean norm of a peer's gradient; longer ones are scaled down; 0: no clipping",
    )

    def lr_at(self, round_index: int, num_rounds: int) -> float:
        """The learning rate of a round: a function of the round only, so that a run can be resumed anywhere."""
        if self.schedule == "constant":
            return self.lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * round_index / num_rounds))


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the last step's direction that is kept; 0: none")

    @classmethod
    def example(cls) -> "SGD":
        return cls(momentum=0.9)

    @property
    def moment_names(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def update(
        self, parameters: Tensors, gradients: Tensors, moments: Moments, steps: int, lr: float, fused: Fused = None
    ) -> None:
        """One step in place, after `steps` earlier steps. Source: torch.optim.SGD."""
        buffers = list(moments.get("momentum_buffer", [None] * len(parameters)))
        sgd(
            parameters,
            gradients,
            buffers,
            fused=fused,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


class Adaptive(Optimizer):
    """The common part of Adam and AdamW: everything but the function that makes the step."""

    betas: tuple[Beta, Beta] = Field(
        (0.9, 0.999), description="decay rates of the running means of the gradient and of its square"
    )
    moment_names: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    function: ClassVar[Callable[..., None]]
    decoupled: ClassVar[bool] = False

    def update(
        self, parameters: Tensors, gradients: Tensors, moments: Moments, steps: int, lr: float, fused: Fused = None
    ) -> None:
        """One step in place, after `steps` earlier steps. Source: torch.optim.Adam, torch.optim.AdamW."""
        if fused is None and all(parameter.device.type == "cpu" for parameter in parameters):
            means, squares = moments["exp_avg"], moments["exp_avg_sq"]
            together = len(parameters) if sum(parameter.numel() for parameter in parameters) <= TOGETHER else 1
            for start in range(0, len(parameters), max(together, 1)):
                some = slice(start, start + together)
                self._update_on_cpu(parameters[some], gradients[some], means[some], squares[some], steps + 1, lr)
            return
        counters = [torch.tensor(float(steps), device=parameter.device if fused else "cpu") for parameter in parameters]
        self.function(
            parameters,
            gradients,
            moments["exp_avg"],
            moments["exp_avg_sq"],
            [],
            counters,
            fused=fused,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=lr,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )

    def _update_on_cpu(
        self, parameters: Tensors, gradients: Tensors, means: Tensors, squares: Tensors, steps: int, lr: float
    ) -> None:
        """What torch's function does on a CPU, bit for bit, without its checks and with one call for some tensors.

        Of small networks, checks and calls take most of the time of a step.
        """
        first, second = self.betas
        step_size = lr / (1 - first**steps)
        scale = (1 - second**steps) ** 0.5
        if self.weight_decay and self.decoupled:
            torch._foreach_mul_(parameters, 1 - lr * self.weight_decay)
        elif self.weight_decay:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=self.weight_decay))
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, scale)
        torch._foreach_add_(roots, 1e-8)
        torch._foreach_addcdiv_(parameters, means, roots, -step_size)


class Adam(Adaptive):
    """Adam (Kingma and Ba 2015)."""

    kind: Literal["adam"] = "adam"
    function = staticmethod(adam)


class AdamW(Adaptive):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    function = staticmethod(adamw)
    decoupled = True


OptimizerConfig = Annotated[SGD | Adam | AdamW, Field(discriminator="kind")]


@torch.no_grad()
def clipped(parameters: Sequence[Tensor], most: float) -> float:
    """Scale the parameters' gradients down to a norm of `most` (0: not at all); returns their norm before.

    Source: torch.nn.utils.clip_grad_norm_.
    """
    if most:
        return torch.nn.utils.clip_grad_norm_(parameters, most, foreach=False).item()
    norms = [torch.linalg.vector_norm(each.grad) for each in parameters if each.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms)).item() if norms else 0.0


class OptimizerState:
    """The moments of some parameters and the number of steps taken, which are part of a peer's state.

    `moments[name][i]` belongs to the i-th parameter; moments are created at the first step.
    """

    def __init__(self, config: OptimizerConfig, parameters: Sequence[Tensor]) -> None:
        self.config = config
        self.parameters = list(parameters)
        self.moments: dict[str, list[Tensor]] = {}
        self.steps = 0

    def allocate(self) -> None:
        """Create every moment that does not exist yet, as zeros."""
        for name in self.config.moment_names:
            if name not in self.moments:
                self.moments[name] = [torch.zeros_like(parameter, requires_grad=False) for parameter in self.parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], lr: float) -> None:
        """Update the parameters that have a gradient, in place."""
        self.allocate()
        moving = [index for index, gradient in enumerate(gradients) if gradient is not None]
        self.config.update(
            [self.parameters[index] for index in moving],
            [gradient for gradient in gradients if gradient is not None],
            {name: [moment[index] for index in moving] for name, moment in self.moments.items()},
            self.steps,
            lr,
        )
        self.steps += 1

    def tensors(self) -> dict[str, Tensor]:
        """The state by name, `<parameter>.<moment>`, and `steps`."""
        named = {f"{i}.{name}": moment for name, moments in self.moments.items() for i, moment in enumerate(moments)}
        return {"steps": torch.tensor(self.steps), **named}

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load a state that `tensors` returned, in place."""
        self.steps = int(tensors["steps"])
        if self.steps:
            self.allocate()
        for name, moments in self.moments.items():
            for index, moment in enumerate(moments):
                if self.steps:
                    moment.copy_(tensors[f"{index}.{name}"])
                else:
                    moment.zero_()
