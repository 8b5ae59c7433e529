"""Who holds which training examples: each peer's private ones, and the public ones that messages are about."""

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64

from peers.data.section import DataSection
from peers.partitions.config import FromFile, PublicRest

Labels = Int64[np.ndarray, " examples"]
Indices = Int64[np.ndarray, " _"]  # of any number each

KEPT = 4  # holdings memoised: those of a run, and of what is tried beside it
_kept: OrderedDict[bytes, "Holdings"] = OrderedDict()


@dataclass(frozen=True, eq=False)
class Holdings:
    """Numbers of training examples; callers must not write to them.

    public: ascending; empty where the images of another data set are public. private: by peer, in the order in which
    they were dealt out. Together they are all examples, but for what the partition leaves out.
    """

    public: Indices
    private: tuple[Indices, ...]

    @cached_property
    def pooled(self) -> Indices:
        """The private examples of all peers together, ascending."""
        return np.sort(np.concatenate(self.private))


def holdings(data: DataSection, labels: Labels, num_peers: int, seed: int) -> Holdings:
    """Who holds what under `data.partition` and `data.public`; a pure function, computed once in a process.

    labels: of all training examples. Without `data.public`, no training example is public.

    Raises: ValueError, of one line, if the partition is none of these labels and peers.
    """
    partition = data.partition
    assert partition is not None, "only private data are held by somebody"
    if isinstance(partition, FromFile) and not partition.held:
        data = data.model_copy(update={"partition": partition.identified()})
    key = _key(data, labels, num_peers, seed)
    if key not in _kept:
        found = _holdings(data, labels, num_peers, seed)
        if len(_kept) >= KEPT:
            _kept.popitem(last=False)
        _kept[key] = found
    _kept.move_to_end(key)
    return _kept[key]


def check_sizes(found: Holdings, data: DataSection, num_public: int) -> None:
    """Refuse what leaves less than a batch. Raises: ValueError, of one line.

    num_public: public images, be they training examples or those of another data set.
    """
    if num_public < data.batch_size:
        of_share = "raise data.public.share, or" if data.public is not None and data.public.kind == "share" else ""
        raise ValueError(
            f"data.batch_size: must be at most the {num_public:,} public examples, got {data.batch_size}: "
            f"{of_share or 'take more of them as public ones, or'} lower it"
        )
    sizes = [len(part) for part in found.private]
    needed, name = private_batch(data)
    short = [peer for peer, size in enumerate(sizes) if size < needed]
    if short:
        more = f", and so {len(short) - 1} more" if short[1:] else ""
        raise ValueError(
            f"data.partition: peer {short[0]} holds {sizes[short[0]]} private examples, fewer than a private batch of "
            f"{needed}{more}: lower {name} (now {needed}), deal out more evenly, or take fewer peers"
        )


def private_batch(data: DataSection) -> tuple[int, str]:
    """The examples in a peer's private batch, and the setting that says so."""
    size = data.private_batch_size
    return (size, "data.private_batch_size") if size else (data.batch_size, "data.private_batch_size, or batch_size")


def _holdings(data: DataSection, labels: Labels, num_peers: int, seed: int) -> Holdings:
    partition, public = data.partition, data.public
    assert partition is not None
    if isinstance(partition, FromFile):
        lists = partition.split(labels, num_peers, seed)
        nobodys = np.setdiff1d(np.arange(len(labels)), np.concatenate(lists))
        return Holdings(nobodys if isinstance(public, PublicRest) else nobodys[:0], tuple(lists))
    chosen = np.zeros(0, dtype=np.int64) if public is None else public.choose(labels, seed)
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    return Holdings(chosen, tuple(rest[part] for part in partition.split(labels[rest], num_peers, seed)))


def _key(data: DataSection, labels: Labels, num_peers: int, seed: int) -> bytes:
    """The content of all that the holdings depend on."""
    parts = [None if part is None else part.model_dump(exclude={"path"}) for part in (data.partition, data.public)]
    sha = hashlib.sha256(json.dumps([*parts, len(labels), num_peers, seed], sort_keys=True).encode())
    sha.update(np.ascontiguousarray(labels).data)
    return sha.digest()
