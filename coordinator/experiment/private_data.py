"""What private data ask of the other sections, and which examples are public where nobody says so."""

from collections.abc import Mapping
from typing import Any

from peers.data.config import DataConfig
from peers.data.datasets import Dataset
from peers.data.holdings import Holdings, Labels, check_sizes, holdings
from peers.data.section import DataSection
from peers.exchange.config import ExchangeConfig
from peers.partitions.config import FromFile, PublicRest, PublicShare

ROUNDS_ONLY = ("batch_size", "flip", "on_each_node", "validation", "partition", "public", "private_batch_size")


def with_public(values: object) -> object:
    """The tables of a run, in which data.public has its default if there is a partition and no section [public]."""
    if not isinstance(values, Mapping) or values.get("public") is not None:
        return values
    data = values.get("data")
    if isinstance(data, DataSection):
        if data.partition is None or data.public is not None:
            return values
        chosen = PublicRest() if isinstance(data.partition, FromFile) else PublicShare()
        return {**values, "data": data.model_copy(update={"public": chosen})}
    if not isinstance(data, Mapping) or data.get("partition") is None or data.get("public") is not None:
        return values
    partition = data["partition"]
    kind = partition.get("kind") if isinstance(partition, Mapping) else getattr(partition, "kind", "")
    default: dict[str, Any] = (PublicRest() if kind == "file" else PublicShare()).model_dump()
    return {**values, "data": {**data, "public": default}}


def check_private(data: DataConfig, exchange: ExchangeConfig, others: Mapping[str, DataConfig]) -> None:
    """Refuse private data that nothing is learned from, or public ones without private ones. Raises: ValueError."""
    for name, section in others.items():
        _check_other(name, section)
    if data.partition is None:
        _check_without(data, others)
        return
    if data.public is not None and "public" in others:
        raise ValueError(
            f"data.public is '{data.public.kind}', but the section [public] names another data set, whose images are "
            "public: leave one of them out"
        )
    if data.private_batch_size == 1:
        raise ValueError("data.private_batch_size: must be at least 2, or 0 for data.batch_size, got 1: raise it")
    from_file = isinstance(data.partition, FromFile)
    if data.public is not None and from_file is not isinstance(data.public, PublicRest):
        raise ValueError(
            f"data.public.kind is '{data.public.kind}', which does not go with data.partition.kind "
            f"'{data.partition.kind}': "
            + (
                "with lists from a file, public is what is in none of them: set it to rest, or add a section [public]"
                if from_file
                else "rest is what the lists of a file leave over: set it to share or classes"
            )
        )
    if not exchange.has_own_terms:
        raise ValueError(
            f"data.partition is '{data.partition.kind}', but exchange.supervised and exchange.self_loss are 0, so that "
            "nothing would be learned from private data: set one of them, or leave data.partition out"
        )


def held_by(data: DataConfig, labels: Labels, num_peers: int, seed: int) -> Holdings | None:
    """Who holds which training examples; None if all peers hold all. Raises: ValueError."""
    return None if data.partition is None else holdings(data, labels, num_peers, seed)


def check_holdings(data: DataConfig, dataset: Dataset, num_peers: int, seed: int) -> None:
    """Refuse a partition that leaves a peer, or the public images, with less than a batch. Raises: ValueError."""
    found = held_by(data, dataset.train_labels, num_peers, seed)
    if found is not None:
        check_sizes(found, data, len(found.public if data.public else dataset.others["public"].train_labels))


def _check_without(data: DataConfig, others: Mapping[str, DataConfig]) -> None:
    if data.public is not None or "public" in others:
        name = "data.public" if data.public is not None else "public"
        raise ValueError(
            f"{name}: public images are set apart from private ones, but all peers hold all: set data.partition, or "
            f"leave {name} out"
        )
    if data.private_batch_size:
        raise ValueError(
            f"data.private_batch_size is {data.private_batch_size}, but no data are private: set data.partition, or "
            "leave it out"
        )


def _check_other(name: str, section: DataConfig) -> None:
    """Of another data set only the images and their limits count."""
    if section.kind == "given":
        raise ValueError(f"{name}.kind: 'given' is for data, the run's own: name a data set, or import it")
    fields = DataSection.model_fields
    changed = [key for key in ROUNDS_ONLY if getattr(section, key) != fields[key].default]
    if changed:
        raise ValueError(
            f"{name}.{changed[0]}: is of no use in this section, of which only the images count: set "
            f"data.{changed[0]}, or leave it out"
        )
