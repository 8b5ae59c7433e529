"""What a pool offers is what a host can do: the same methods with the same types, in every pool."""

import inspect
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from coordinator.pools.base import Host, ProbeWorker, Ref
from coordinator.pools.in_process import InProcessHost
from coordinator.pools.ray_handles import RayEvaluator, RayHost
from peers.hosting.evaluator import Evaluator
from peers.hosting.host import PeerHost

ROOT = Path(__file__).parents[3]
OF_THE_POOL = {"open", "ready", "use"}  # the pool itself makes the peers, and asks for signs of life


def methods(kind: type) -> set[str]:
    return {name for name, value in vars(kind).items() if inspect.isfunction(value) and not name.startswith("_")}


def without_references(hint: Any) -> Any:
    """A type with `Ref[X]` replaced by X."""
    if get_origin(hint) is Ref:
        return without_references(get_args(hint)[0])
    if isinstance(hint, list):  # the parameters of a callable
        return [without_references(each) for each in hint]
    arguments = tuple(without_references(each) for each in get_args(hint))
    if isinstance(hint, types.UnionType) or get_origin(hint) is Union:
        return Union[arguments]  # noqa: UP007
    return get_origin(hint)[arguments] if arguments and isinstance(get_origin(hint), type) else hint


def signature(kind: type, name: str) -> tuple[list[tuple[str, Any, Any]], dict[str, Any]]:
    """Parameters with their kinds and defaults, and the types of all of them and of the answer."""
    method = getattr(kind, name)
    parameters = [(each.name, each.kind, each.default) for each in inspect.signature(method).parameters.values()]
    return parameters, {key: without_references(hint) for key, hint in get_type_hints(method).items()}


@pytest.mark.parametrize("name", sorted(methods(Host)))
@pytest.mark.parametrize("offered", [Host, InProcessHost, RayHost])
def test_host__each_call_has_the_signature_of_the_hosts_method(name: str, offered: type):
    assert signature(offered, name) == signature(PeerHost, name)


@pytest.mark.parametrize("offered", [ProbeWorker, RayEvaluator])
def test_evaluator__its_call_has_the_signature_of_the_evaluators_method(offered: type):
    assert signature(offered, "probe") == signature(Evaluator, "probe")


def test_host__offers_all_that_a_host_can_do():
    assert methods(Host) == methods(PeerHost) - OF_THE_POOL == methods(InProcessHost) == methods(RayHost) - OF_THE_POOL
    assert methods(ProbeWorker) == methods(Evaluator) - OF_THE_POOL == methods(RayEvaluator) - OF_THE_POOL


def test_without_references():
    assert without_references(Ref[dict[int, bytes]]) == dict[int, bytes]
    assert without_references(tuple[Ref[int], Ref[dict[int, str]] | None]) == tuple[int, dict[int, str] | None]
    assert without_references(list[int]) != without_references(list[str])


WRONG = """
from coordinator.pools.base import Pool, ask

def right(pool: Pool) -> list[bytes]:
    bundle, stats = pool.hosts[0].publish({})
    pool.get([pool.hosts[1].total(bundle)])
    return ask(pool, lambda host: host.digest())

def wrong(pool: Pool) -> list[str]:
    pool.hosts[0].save(3, "folder")
    pool.hosts[0].advance(1, {}, {})
    pool.hosts[0].digests()
    return ask(pool, lambda host: host.digest())
"""


@pytest.mark.slow
def test_mypy__finds_a_wrong_call(tmp_path: Path):
    path = tmp_path / "wrong.py"
    path.write_text(WRONG)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert lines == {10, 11, 12, 13}, done.stdout
