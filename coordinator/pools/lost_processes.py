"""Which processes of a run are lost, and why, once Ray knows."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from coordinator.experiment.redaction import first_line

NOTICE = 90.0  # seconds in which Ray finds out that a node is gone; by default it takes 15 to 30
PAUSE = 0.5  # seconds between questions
Reasons = dict[str, Exception | None]


def find_lost(ray: Any, processes: Mapping[str, Any], patience: float, tell: Callable[[str], None]) -> Reasons:
    """Ray's reason for each process, by name, that has ended; None for one that is silent for `patience` seconds.

    One that is out of reach is asked until Ray knows whether its node is gone, or it answers again: what is started
    anew before may be put on that node. `tell` is told of such a wait.
    """
    asked = {name: process.ready.remote() for name, process in processes.items()}
    lost: Reasons = {}
    away: set[str] = set()
    start = time.monotonic()
    while asked:
        ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=min(PAUSE, patience))
        waited = time.monotonic() - start
        for name, answer in [(name, answer) for name, answer in asked.items() if answer in ready]:
            reason = _reason(ray, answer)
            if isinstance(reason, ray.exceptions.ActorUnavailableError) and waited < NOTICE:
                if not away:
                    tell(f"{name} is out of reach: waiting until Ray knows whether its node is gone")
                away.add(name)
                asked[name] = processes[name].ready.remote()
                continue
            del asked[name]
            away.discard(name)
            if reason:
                lost[name] = reason
        if not away and waited > patience:
            break
        if away:
            time.sleep(PAUSE)
    return lost | dict.fromkeys(asked)


def _reason(ray: Any, answer: Any) -> Exception | None:
    try:
        ray.get(answer)
    except ray.exceptions.RayError as error:
        reason: Exception = error
        return reason
    return None


def in_words(ray: Any, lost: Mapping[str, Exception], where: Mapping[str, str], logs: str) -> str:
    """What was lost, by what became of it: nodes with all that was on them, processes that ended.

    where: the id of each process's node. logs: where Ray's are, if that is on this machine.
    """
    with_node = gone_with(ray, lost, where)
    groups: dict[str, list[str]] = {}
    for name, reason in lost.items():
        groups.setdefault(with_node.get(name) or _ended(ray, reason, logs), []).append(name)
    return "; ".join(
        f"{' and '.join(names)} {'was' if len(names) == 1 else 'were'} lost ({why})" for why, names in groups.items()
    )


def gone_with(ray: Any, lost: Mapping[str, Exception], where: Mapping[str, str]) -> dict[str, str]:
    """Those of the lost whose node is gone, and its loss in words."""
    nodes = {node["NodeID"]: node for node in ray.nodes()}
    found = {}
    for name, reason in lost.items():
        named = re.search(r"node has died. Node Id: (\w+)", str(reason))  # also of what never came to say where it is
        node = nodes.get(named[1] if named else where.get(name, ""), {})
        if not node.get("Alive", True):
            found[name] = gone(node)
    return found


def gone(node: Mapping[str, Any]) -> str:
    return f"node {node.get('NodeManagerAddress', '')} ({node['NodeID'][:8]}) is gone"


def _ended(ray: Any, reason: Exception, logs: str) -> str:
    text = str(reason)
    if isinstance(reason, ray.exceptions.OutOfMemoryError) or "running low on memory" in text:
        return "the node ran out of memory: free some, or lower peers.count"
    if isinstance(reason, ray.exceptions.ActorUnavailableError):
        return f"out of reach for {NOTICE:g} s"
    if "worker process has died" in text:
        return "killed or crashed" + (f"; Ray's logs are in {logs}" if logs else "")
    return f"{type(reason).__name__}: {first_line(reason)}"
