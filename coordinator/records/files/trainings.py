"""What the run and each of its control runs did: steps, first gradient, change of the weights; and which were idle."""

from collections.abc import Iterable, Mapping
from typing import Any

from coordinator.measures.declared import WEIGHT_CHANGE
from coordinator.measures.verdict import Void
from coordinator.records.run_state import RunState
from coordinator.scheduling.scheduler import Phase
from peers.learning.control import Control

NUMBERS = ("rounds", "steps", "first_gradient_norm", "relative_weight_change")  # in each row of the table
IDLE_SHARE = 1e-2  # of the run's first gradient norm: below, a control's is rounding, of messages too (int8: 2e-3)


def table(state: RunState) -> dict[str, Any]:
    """By name of the control run, or `exchange` for the run itself: means over its honest students, and who failed."""
    return {
        "exchange" if phase is Phase.ROUNDS else phase.value: _row(state, phase)
        for phase in Phase
        if phase in state.trainings
    }


def idle_controls(state: RunState) -> list[Control]:
    """The controls that did nothing: beside the run's first gradient, theirs was no more than rounding.

    Peers alone have no gradient where the target is their own output, as with a snapshot that is never renewed or equal
    temperatures. An optimiser such as AdamW makes steps of full size from the rounding that is left.
    """
    reference = _mean_of(state, state.training(Phase.ROUNDS).first_norms)
    found = []
    for control in (Control.ALONE, Control.ALONE_MATCHED):
        norm = _mean_of(state, state.training(Phase(control.value)).first_norms)
        if norm is not None and reference is not None and norm <= IDLE_SHARE * reference:
            found.append(control)
    return found


def weight_change(state: RunState, phase: Phase) -> float | None:
    """The students' mean of |theta - theta_0| / |theta_0|: of the run, at the last measurement."""
    changes = state.training(phase).weight_change
    if phase is Phase.ROUNDS:
        measured = state.last.peers if state.last else {}
        changes = {peer: values[WEIGHT_CHANGE.name] for peer, values in measured.items()}
    return _mean(changes[peer] for peer in state.students if peer in changes)


def _row(state: RunState, phase: Phase) -> dict[str, Any]:
    training = state.training(phase)
    return {
        "rounds": training.completed,
        "steps": _mean_of(state, training.steps),
        "first_gradient_norm": _mean_of(state, training.first_norms),
        "relative_weight_change": weight_change(state, phase),
        "void": _why_void(state, phase) or "",
        "not_finite": sorted(training.failed),
    }


def void_controls(state: RunState) -> list[Control]:
    """The controls from which there is no verdict."""
    return [control for control in Control if _why_void(state, Phase(control.value))]


def _why_void(state: RunState, phase: Phase) -> Void | None:
    """Why there is no verdict from a control run; None if there is one, or of the run itself."""
    if phase.control is not None and state.training(phase).failed:
        return Void.DIVERGED
    return Void.IDLE if phase.control in idle_controls(state) else None


def _mean_of(state: RunState, values: Mapping[int, int | float]) -> float | None:
    """The mean over honest peers."""
    return _mean(value for peer, value in values.items() if peer not in state.liars)


def _mean(values: Iterable[int | float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
