"""Finds out which processes of a run are lost, and why."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from coordinator.experiment.redaction import first_line

NODE_TIMEOUT = 90.0  # seconds to wait for Ray to detect a lost node, which takes 15 to 30 by default
POLL = 0.5  # seconds between two checks
Reasons = dict[str, Exception | None]


def find_lost(ray: Any, actors: Mapping[str, Any], patience: float, tell: Callable[[str], None]) -> Reasons:
    """The lost actors by name, with Ray's exception, or None for an actor silent for more than `patience` seconds.

    An unreachable actor is polled until it answers or Ray has decided whether its node is gone: replacements started
    earlier might be placed on that node. tell: called with a message about such a wait.
    """
    answers = {name: actor.ready.remote() for name, actor in actors.items()}
    lost: Reasons = {}
    unreachable: set[str] = set()
    start = time.monotonic()
    while answers:
        ready, _ = ray.wait(list(answers.values()), num_returns=len(answers), timeout=min(POLL, patience))
        waited = time.monotonic() - start
        for name, answer in [(name, answer) for name, answer in answers.items() if answer in ready]:
            reason = _reason(ray, answer)
            if isinstance(reason, ray.exceptions.ActorUnavailableError) and waited < NODE_TIMEOUT:
                if not unreachable:
                    tell(f"{name} is out of reach: waiting until Ray knows whether its node is gone")
                unreachable.add(name)
                answers[name] = actors[name].ready.remote()
                continue
            del answers[name]
            unreachable.discard(name)
            if reason:
                lost[name] = reason
        if not unreachable and waited > patience:
            break
        if unreachable:
            time.sleep(POLL)
    return lost | dict.fromkeys(answers)


def _reason(ray: Any, answer: Any) -> Exception | None:
    try:
        ray.get(answer)
    except ray.exceptions.RayError as error:
        reason: Exception = error
        return reason
    return None


def describe_losses(ray: Any, lost: Mapping[str, Exception], node_of: Mapping[str, str], logs: str) -> str:
    """A sentence about the lost processes, grouped by reason: a lost node, or why the process itself ended.

    node_of: process name -> node id. logs: the folder of Ray's logs, or "" if it is not on this machine.
    """
    with_node = lost_with_node(ray, lost, node_of)
    groups: dict[str, list[str]] = {}
    for name, reason in lost.items():
        groups.setdefault(with_node.get(name) or _describe_end(ray, reason, logs), []).append(name)
    return "; ".join(
        f"{' and '.join(names)} {'was' if len(names) == 1 else 'were'} lost ({why})" for why, names in groups.items()
    )


def lost_with_node(ray: Any, lost: Mapping[str, Exception], node_of: Mapping[str, str]) -> dict[str, str]:
    """The processes that were lost together with their node: name -> a phrase naming that node."""
    nodes = {node["NodeID"]: node for node in ray.nodes()}
    found = {}
    for name, reason in lost.items():
        named = re.search(r"node has died. Node Id: (\w+)", str(reason))  # works for actors whose node is unknown, too
        node = nodes.get(named[1] if named else node_of.get(name, ""), {})
        if not node.get("Alive", True):
            found[name] = describe_lost_node(node)
    return found


def describe_lost_node(node: Mapping[str, Any]) -> str:
    """A phrase that names a lost node."""
    return f"node {node.get('NodeManagerAddress', '')} ({node['NodeID'][:8]}) is gone"


def _describe_end(ray: Any, reason: Exception, logs: str) -> str:
    text = str(reason)
    if isinstance(reason, ray.exceptions.OutOfMemoryError) or "running low on memory" in text:
        return "the node ran out of memory: free some, or lower peers.count"
    if isinstance(reason, ray.exceptions.ActorUnavailableError):
        return f"out of reach for {NODE_TIMEOUT:g} s"
    if "worker process has died" in text:
        return "killed or crashed" + (f"; Ray's logs are in {logs}" if logs else "")
    return f"{type(reason).__name__}: {first_line(reason)}"
