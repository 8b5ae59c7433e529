"""What each peer sees of a batch: once, or in two views of its own; and its private batches."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from peers.base.seeds import stream
from peers.data.batches import KEPT, Batches, flip_mask
from peers.data.chosen import Chosen
from peers.data.datasets import Dataset, normalised
from peers.data.examples import Examples
from peers.learning.control import Control
from peers.learning.settings import PeerSettings

Batch = tuple[Float[Tensor, "samples *shape"], Int64[Tensor, " samples"]]
EVERYBODY = -1  # in the place of a peer, where all see the same
SEEN = 8  # peers of whom what they see is memoised at a time: a pending forward pass holds its own images


@dataclass(frozen=True)
class _Sources:
    """Which examples are in which batch, and the examples themselves."""

    chosen: Chosen
    public: Examples
    private: Examples

    @classmethod
    def of(cls, settings: PeerSettings, dataset: Dataset, unused: bool) -> "_Sources":
        """unused: whether they stay as they are, and need no place on a GPU."""
        chosen = Chosen(settings.data, dataset, settings.peers.count, settings.seed)
        device, resident = torch.device(settings.device), settings.data_on_device and not unused
        public = Examples(chosen.source, device, resident)
        return cls(chosen, public, public if chosen.source is dataset else Examples(dataset, device, resident))


class Sight:
    """Normalised images and labels as a peer's network gets them: functions of (seed, round, peer). One for a process.

    With two views a batch of B images is 2 B samples: all images in their first view, then all in their second. Callers
    must not write to them. common: whether all peers of the run see the same. num_views: of each image.
    """

    def __init__(self, settings: Sequence[PeerSettings], dataset: Dataset, like: "Sight | None" = None) -> None:
        """settings: of the peers of this process. like: of the same data and views, whose copies of them are used."""
        first = settings[0]
        self._settings = {each.index: each for each in settings}
        self._first, self._dataset = first, dataset
        self._views = {each.index: each.view for each in settings}
        self.common, self.num_views = first.peers.common_view, first.exchange.num_views
        self.has_private = first.data.partition is not None
        self._seen: OrderedDict[tuple[int, int], Batch] = OrderedDict()
        self._shown: OrderedDict[int, Batch] = OrderedDict()  # before views and normalisation
        self._most = KEPT
        is_plain = not first.peers.has_views and not self.has_private
        self._plain: Batches | None = (like._plain if like else first.batches(dataset)) if is_plain else None
        self._sources: _Sources = like._sources if like else _Sources.of(first, dataset, is_plain)

    def for_run(self, settings: Sequence[PeerSettings]) -> "Sight":
        """The same for a control run, with these settings of the peers."""
        return Sight(settings, self._dataset, like=self)

    def keep(self, count: int) -> None:
        """Memoise so many batches at least, as where peers of one process are at different rounds."""
        self._most = max(self._most, count)
        if self._plain is not None:
            self._plain.keep(count)

    # ---- of the batch that messages are about ----

    def __call__(self, batch: int, peer: int) -> Batch:
        """What a peer sees of a round's batch, which messages are about, on the peers' device."""
        if self._plain is not None and self.num_views == 1:
            plain: Batch = self._plain(batch)
            return plain
        key = (batch, EVERYBODY if self.common else peer)
        if key not in self._seen:
            while len(self._seen) >= self._most * (1 if self.common else min(len(self._views), SEEN)):
                self._seen.popitem(last=False)
            self._seen[key] = self._look(batch, peer)
        self._seen.move_to_end(key)
        return self._seen[key]

    def together(self, batch: int, peers: Sequence[int]) -> tuple[Float[Tensor, "*images"], Int64[Tensor, " samples"]]:
        """What some peers see of a round's batch: images [peers, samples, ...]; [samples, ...] where it is common."""
        if self.common:
            return self(batch, peers[0])
        images = torch.stack([self._look(batch, peer)[0] for peer in peers])
        return images, self.labels(batch)

    def labels(self, batch: int) -> Int64[Tensor, " samples"]:
        """The labels of a round's batch, the same for all peers."""
        labels: Tensor = self._plain(batch)[1] if self._plain is not None else self._show(batch)[1]
        return labels if self.num_views == 1 else labels.repeat(self.num_views)

    # ---- of the peers' own data ----

    def private(self, batch: int, peer: int) -> Batch | None:
        """What a peer sees of its private batch in the step on a round's batch; None if all peers hold all."""
        if not self.has_private:
            return None
        first = self._first
        chosen = self._sources.chosen.private(batch, peer, pooled=first.control is Control.POOLED)
        mirrored = self._mirrored(batch, len(chosen), peer)
        values, labels = self._sources.private(chosen, mirrored)
        return self._viewed(values, batch, peer, 2), labels.repeat(self.num_views)

    def private_together(
        self, batch: int, peers: Sequence[int]
    ) -> tuple[Float[Tensor, "peers samples *shape"], Int64[Tensor, "peers samples"]] | None:
        """The same of some peers."""
        found = [each for peer in peers if (each := self.private(batch, peer)) is not None]
        if not found:
            return None
        images, labels = zip(*found, strict=True)
        return torch.stack(images), torch.stack(labels)

    # ---- how it is made ----

    def _look(self, batch: int, peer: int) -> Batch:
        if self._plain is not None:
            images, labels = self._plain(batch)
            return torch.cat([images] * self.num_views), labels.repeat(self.num_views)
        values, labels = self._show(batch)
        return self._viewed(values, batch, peer, 0), labels.repeat(self.num_views)

    def _show(self, batch: int) -> Batch:
        """A round's images, in 0..1, and labels, before anybody looks at them."""
        if batch not in self._shown:
            while len(self._shown) >= self._most:
                self._shown.popitem(last=False)
            chosen = self._sources.chosen.public(batch)
            self._shown[batch] = self._sources.public(chosen, self._mirrored(batch, len(chosen)))
        self._shown.move_to_end(batch)
        return self._shown[batch]

    def _viewed(self, values: Tensor, batch: int, peer: int, first_number: int) -> Tensor:
        """All views of the images, normalised. first_number: as in `View.draw`."""
        view, settings = self._views[peer], self._settings[peer]
        numbers = range(first_number, first_number + self.num_views)
        images = torch.cat([view.draw(values, peer, batch, number) for number in numbers])
        return normalised(images, *settings.normalisation).to(memory_format=settings.memory_format)

    def _mirrored(self, batch: int, size: int, *peer: int) -> Bool[np.ndarray, " images"] | None:
        """Which images of a batch `data.flip` mirrors, for all peers that see it."""
        first = self._first
        return flip_mask(stream(first.seed, "flips", *peer), batch, size) if first.data.flip else None
