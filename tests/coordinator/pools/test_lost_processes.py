"""What is lost, and why: a stand-in for Ray says what Ray 2.60 was seen to say."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from coordinator.experiment.config import HostingConfig
from coordinator.pools import lost_processes
from coordinator.pools.base import HostLost, SameLoss
from coordinator.pools.lost_processes import describe_losses, find_lost
from coordinator.pools.pending_calls import PendingCalls
from coordinator.pools.ray_handles import RayHost
from coordinator.pools.ray_pool import RayPool

UP, DOWN = "a" * 56, "b" * 56
KILLED = "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR ... OOM killer ..."
NODE_DIED = f"The actor died because its node has died. Node Id: {DOWN}\n\tthe actor's node was terminated unexpectedly"


class Died(ray.exceptions.ActorDiedError):
    """With the text that Ray gives."""

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)
        self.error_msg = text

    def __str__(self) -> str:
        return f"{self.BASE_ERROR_MSG}\n\tclass_name: ActorHost\n{self.error_msg}"


def away() -> Exception:
    return ray.exceptions.ActorUnavailableError("is unavailable: RpcError: Socket closed", b"0" * 16)


class Process:
    """Answers in order: None, or with an exception; the last one again and again; "silent" never."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.ready = self
        self.asked = 0

    def remote(self) -> tuple[int, Any]:
        self.asked += 1
        return id(self) + self.asked, self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Caller:
    """An actor that takes any call and never answers."""

    def __getattr__(self, method: str) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: object()))


class Ray:
    exceptions, ObjectRef = ray.exceptions, ray.ObjectRef

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        ready = [each for each in references if each[1] != "silent"]
        return ready, [each for each in references if each[1] == "silent"]

    def get(self, reference: Any) -> Any:
        if isinstance(reference[1], Exception):
            raise reference[1]

    def nodes(self) -> list[dict[str, Any]]:
        addresses = {UP: "10.0.0.1", DOWN: "10.0.0.2"}
        return [{"NodeID": id_, "NodeManagerAddress": at, "Alive": id_ == UP} for id_, at in addresses.items()]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_processes, "POLL", 0.001)
    monkeypatch.setattr(lost_processes, "NODE_TIMEOUT", 0.2)


def found(*processes: Process, patience: float = 0.05) -> tuple[lost_processes.Reasons, list[str]]:
    told: list[str] = []
    names = {f"host {place}": each for place, each in enumerate(processes)}
    return find_lost(Ray(), names, patience, told.append), told


def test_find_lost__waits_until_ray_knows() -> None:
    """A node goes silently: at first its processes are only out of reach, and one of them comes back."""
    died = Died(NODE_DIED)
    lost, told = found(Process(None), Process(away(), away(), died), Process(away(), None))
    assert lost == {"host 1": died}
    assert told == ["host 1 is out of reach: waiting until Ray knows whether its node is gone"]


def test_find_lost__does_not_wait_for_ever() -> None:
    lost, _ = found(Process("silent"), Process(away()))
    assert lost["host 0"] is None and isinstance(lost["host 1"], ray.exceptions.ActorUnavailableError)


@pytest.mark.parametrize(
    ("reason", "where", "words"),
    [
        (Died(KILLED), UP, "killed or crashed; Ray's logs are in /logs"),
        (Died(KILLED), DOWN, "node 10.0.0.2 (bbbbbbbb) is gone"),  # noticed before its node was
        (Died(NODE_DIED), "", "node 10.0.0.2 (bbbbbbbb) is gone"),
        (
            ray.exceptions.OutOfMemoryError("\nRay killed 4 worker(s) based on the killing policy\nand a page more"),
            UP,
            "the node ran out of memory: free some, or lower peers.count",
        ),
        (
            Died("The actor died: Task was killed due to the node running low on memory.\nMemory ..."),
            UP,
            "the node ran out of memory: free some, or lower peers.count",
        ),
        (away(), UP, "out of reach for 0.2 s"),
        (Died("no idea"), UP, "Died: The actor died unexpectedly before finishing this task."),
    ],
)
def test_describe_losses__what_became_of_it(reason: Exception, where: str, words: str) -> None:
    assert describe_losses(Ray(), {"the host of peer 0": reason}, {"the host of peer 0": where}, "/logs") == (
        f"the host of peer 0 was lost ({words})"
    )


def test_describe_losses__together_what_went_together() -> None:
    lost = {"host 0": Died(NODE_DIED), "host 1": Died(KILLED), "evaluator 0": Died(NODE_DIED)}
    assert describe_losses(Ray(), lost, {}, "") == (
        "host 0 and evaluator 0 were lost (node 10.0.0.2 (bbbbbbbb) is gone); host 1 was lost (killed or crashed)"
    )


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RayPool]:
    """A pool whose processes answer so."""

    def make(*hosts: Process) -> RayPool:
        made = object.__new__(RayPool)
        made._ray, made._hosting, made._guard, made._tell = Ray(), HostingConfig(), None, lambda text: None
        made.hosts, made.evaluators = [RayHost([place], made._note) for place in range(len(hosts))], []
        for host, process in zip(made.hosts, hosts, strict=True):
            host.actor = process
        made._node_of, made._replaced, made._unopened, made._recovering = {}, set(), set(), False
        made._calls = PendingCalls(made._ray)
        monkeypatch.setattr("coordinator.pools.ray_pool.PATIENCE", 0.05)
        return made

    return make


def test_loss__is_told_with_what_is_lost(pool: Callable[..., RayPool]) -> None:
    loss = pool(Process(None), Process(away(), Died(NODE_DIED)))._loss(away())
    assert type(loss) is HostLost
    assert str(loss) == "the host of peer 1 was lost (node 10.0.0.2 (bbbbbbbb) is gone)"
    unknown = pool(Process(None))._loss(ray.exceptions.ObjectLostError("0" * 56, None, ""))
    assert str(unknown).startswith("what a host had sent was lost (ObjectLostError: ")


def test_loss__is_the_same_until_it_has_been_replaced(pool: Callable[..., RayPool]) -> None:
    """Another process, or what was put on a node that goes as well; a replacement that dies is a failure of its own."""
    killed, with_node = Process(Died(KILLED)), Process(Died(NODE_DIED))
    for process, replaced, same in ((killed, False, True), (killed, True, False), (with_node, True, True)):
        recovering = pool(process)
        recovering._recovering, recovering._replaced = True, {"the host of peer 0"} if replaced else set()
        assert isinstance(recovering._loss(away()), SameLoss) is same
    assert type(pool(killed)._loss(away())) is HostLost  # no recovery is under way


def test_recovery__ends_with_the_first_call_that_restores_nothing(pool: Callable[..., RayPool]) -> None:
    recovering = pool(Caller())
    recovering._recovering = True
    (host,) = recovering.hosts
    host.restart([])
    host.restore("folder", {0: ""})
    assert recovering._recovering
    host.digest()
    assert not recovering._recovering
