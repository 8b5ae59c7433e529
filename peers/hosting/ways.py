"""Ways in which a host can compute its peers, and which is the fastest on this machine: timed once, then remembered."""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch

from peers.base.layout import Layout
from peers.base.precision import Precision
from peers.data.datasets import Dataset
from peers.learning.settings import Execution, PeerSettings

BUDGET = 2.0  # seconds that a way may take, about, however large the networks are
MOST_PEERS, LEAST_BATCH, ROUNDS = 16, 32, 3  # the first of the rounds is a warm-up
Seconds = Callable[["Way", Sequence[PeerSettings], int], float]
"""The least seconds of so many rounds of some peers."""


@dataclass(frozen=True)
class Way:
    """How hosts compute their peers; `layout` is of the loop, vectorised execution has the contiguous one."""

    execution: Execution
    layout: Layout
    precision: Precision

    def of(self, settings: PeerSettings) -> PeerSettings:
        return replace(settings, memory_layout=self.layout, precision=self.precision)


USUAL = Way("loop", "by-rule", "float32")
CHOICES = tuple(field.name for field in fields(Way))  # settings of [hosting] on which numbers may depend


def fastest(
    settings: Sequence[PeerSettings], dataset: Dataset, threads: int, ways: Sequence[Way], seconds: Seconds
) -> Way:
    """The way of the fewest seconds for a peer and round, from the cache if this was timed here before."""
    file = _file(settings, dataset, threads, ways)
    with suppress(OSError, ValueError, TypeError):
        if file is not None:
            known = Way(**json.loads(file.read_text(encoding="utf-8")))
            if known in ways:
                return known
    timed = _affordable(settings, ways[0], seconds)
    found = min(ways, key=lambda way: seconds(way, timed, ROUNDS))
    if file is not None:
        with suppress(OSError):  # then it is timed again the next time
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(asdict(found)), encoding="utf-8")
            part.replace(file)
    return found


def _affordable(settings: Sequence[PeerSettings], way: Way, seconds: Seconds) -> list[PeerSettings]:
    """As many peers as can be timed within the budget, two at least; with a smaller batch if it takes that, too."""
    batch = settings[0].data.batch_size
    few = min(batch, LEAST_BATCH)
    of_an_image = seconds(way, _some(settings, 2, few), 1) / (2 * few)
    images = BUDGET / ((ROUNDS + 1) * max(of_an_image, 1e-9))
    count = min(max(int(images / batch), 2), MOST_PEERS)
    return _some(settings, count, min(max(int(images / count), few), batch))


def _some(settings: Sequence[PeerSettings], count: int, batch: int) -> list[PeerSettings]:
    data = settings[0].data.model_copy(update={"batch_size": batch})
    return [replace(each, data=data) for each in settings[:count]]


def _file(settings: Sequence[PeerSettings], dataset: Dataset, threads: int, ways: Sequence[Way]) -> Path | None:
    """Where the fastest way is remembered; None for a network or head of the user's that nothing identifies."""
    first, kinds = settings[0], [each.peers.kind_of(each.index) for each in settings[:MOST_PEERS]]
    if any(getattr(part, "digest", "any") == "" for kind in kinds for part in (kind.model, kind.head)):
        return None
    device = torch.cuda.get_device_name() if first.device == "cuda" else _processor()
    known = [
        [kind.model_dump(mode="json", include={"model", "norm", "head", "optimizer"}) for kind in kinds],
        [first.exchange.model_dump(mode="json"), list(dataset.shape), first.data.batch_size, first.recompute],
        [device, os.cpu_count(), threads, torch.__version__, len(settings), [asdict(way) for way in ways]],
    ]
    name = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    return Path(memory()).expanduser() / f"{name[:32]}.json"


def memory() -> str:
    """The folder in which this user's choices are remembered; without it they are made anew."""
    return f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/peer-consensus/ways"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line
    return platform.processor() or platform.machine()
