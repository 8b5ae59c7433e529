"""Tries out the losses and target transforms that users bring, before a run starts, on random data."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from peers.base.brought import Brought
from peers.base.brought_errors import BroughtError
from peers.base.content import digest_of
from peers.exchange.config import ExchangeConfig
from peers.learning.trial import BATCH, NotVectorised, reason, trained


def check_loss(exchange: ExchangeConfig, dim: int) -> None:
    """Check loss and target transform: a finite number with a gradient, equal if repeated.

    Warns of a loss with parameters of its own. Raises: BroughtError.
    """
    part, *_ = brought_parts(exchange)
    student, received = _vectors(exchange, dim)
    _check_arguments(exchange, student, received)
    leaf, contents = student.clone().requires_grad_(), _contents(exchange)
    first, second = (_loss(exchange, given, received) for given in (leaf, student))
    if not torch.isfinite(first):
        raise BroughtError(f"{part.origin}: must give a finite number for random outputs, got {first.item()}")
    if not torch.equal(first, second):
        raise BroughtError(f"{part.origin}: must give equal numbers for equal outputs: draw nothing, and keep no state")
    if _contents(exchange) != contents:
        raise BroughtError(
            f"{part.origin}: changes something in a call that it keeps for the next one, which no checkpoint holds and "
            "all peers of a process share: keep no state"
        )
    gradient = torch.autograd.grad(first, leaf, allow_unused=True)[0] if first.requires_grad else None
    if gradient is None:
        raise BroughtError(f"{part.origin}: must depend on the student's outputs, through torch operations")
    if not torch.isfinite(gradient).all():
        raise BroughtError(f"{part.origin}: its gradient must be finite for random outputs, got NaN or infinite ones")
    for brought in brought_parts(exchange):
        value = brought.bring()
        made = value() if isinstance(value, type) else value
        if isinstance(made, nn.Module) and trained(made):
            warnings.warn(f"{brought.origin}: has parameters of its own, which nothing trains", stacklevel=2)


def _contents(exchange: ExchangeConfig) -> list[str]:
    """The digests of loss and target transforms as they are now."""
    return [digest_of(part.bring()) for part in brought_parts(exchange)]


def check_vectorised_loss(exchange: ExchangeConfig, dim: int) -> None:
    """Raises: NotVectorised."""
    student, received = _vectors(exchange, dim)
    try:
        vmap(grad(lambda student: _loss(exchange, student, received)))(torch.stack([student, student]))
    except Exception as error:  # vmap raises many types
        origin = brought_parts(exchange)[0].origin
        raise NotVectorised(f"{origin}: cannot be vectorised ({reason(error)})") from None


def brought_parts(exchange: ExchangeConfig) -> list[Brought]:
    """What the user has brought of loss and target transforms: only that is tried out."""
    return [part for part in (exchange.loss, exchange.target, exchange.self_target) if isinstance(part, Brought)]


def _vectors(exchange: ExchangeConfig, dim: int) -> tuple[Tensor, Tensor]:
    """A student's outputs, and what it receives of a teacher."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(BATCH, dim, generator=generator) for _ in range(2))
    return student, exchange.sent(teacher)


def _loss(exchange: ExchangeConfig, student: Tensor, received: Tensor) -> Tensor:
    centre = torch.zeros(received.shape[1], device=received.device)
    loss = exchange.distillation_loss(student, received[None], torch.ones(1), centre)
    return loss + exchange.comparison.to_itself(student, centre) if exchange.self_loss else loss


def _check_arguments(exchange: ExchangeConfig, student: Tensor, received: Tensor) -> None:
    """Call each part on tensors of its own, which it must leave as they are."""
    parts: list[tuple[Any, tuple[Tensor, ...]]] = []
    for target in (exchange.target, exchange.self_target):
        if isinstance(target, Brought):
            parts.append((target, (received.clone(), torch.zeros(received.shape[1]))))
    if isinstance(exchange.loss, Brought):
        parts.append((exchange.loss, (student.clone(), received.clone())))
    for part, arguments in parts:
        if not callable(part.bring()):
            raise BroughtError(
                f"{part.origin}: must be a function, or a class of such, got a {type(part.bring()).__name__}"
            )
        kept = [argument.clone() for argument in arguments]
        getattr(part, "vector", part)(*arguments)
        if not all(torch.equal(before, after) for before, after in zip(kept, arguments, strict=True)):
            raise BroughtError(f"{part.origin}: must not change its arguments in place: write x - y, not x.sub_(y)")
