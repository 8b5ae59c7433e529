"""Messages on links, added up: which were heard, with which weight and how old; which arrived, and which did not."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from topologies.accounts.sums import BUFFERED, Histogram, KeyedSums
from topologies.network.trace import SECOND, Delivery, Fate

NAMES = {"RECEIVER_OFFLINE": "offline", "SENDER_CRASHED": "crashed"}
FATES = {fate: NAMES.get(fate.name, fate.name.lower()) for fate in Fate}  # their names in tables and summary
HEARD = ("heard", "weight", "age", "seconds", "max_age", "max_seconds")
Rows = list[tuple[float | int, ...]]


class Messages:
    """Adds up messages by link, whose key is student * peers + teacher, and as histograms.

    weights: sums of the weights with which students learned, from themselves, too. ages, age_seconds: of messages of
    other peers when they are used. delivery_seconds: of those that arrived, on the way.
    """

    def __init__(self, num_peers: int) -> None:
        self.num_peers = num_peers
        self.ages = Histogram(logarithmic=False)
        self.age_seconds, self.delivery_seconds = Histogram(logarithmic=True), Histogram(logarithmic=True)
        self._weights = KeyedSums(1)
        self._heard = KeyedSums(4, 2)  # as HEARD
        self._delivered = KeyedSums(len(FATES) + 1)  # one for each fate; seconds on the way
        self._new_heard: Rows = []
        self._new_delivered: Rows = []

    def hear(self, student: int, teacher: int, weight: float, age: int, seconds: float) -> None:
        """Add a message that a student learns from."""
        self._new_heard.append((student * self.num_peers + teacher, weight, age, seconds))
        if len(self._new_heard) >= BUFFERED:
            self.add_up()

    def deliver(self, delivery: Delivery) -> None:
        """Add a message whose fate is known."""
        sender, receiver, _, sent, arrived, fate = delivery
        self._new_delivered.append((receiver * self.num_peers + sender, fate, (arrived - sent) / SECOND))
        if len(self._new_delivered) >= BUFFERED:
            self.add_up()

    @property
    def weights(self) -> KeyedSums:
        """The sums of weights by link."""
        self.add_up()
        return self._weights

    def counts(self) -> dict[str, int]:
        """How many messages had each fate."""
        self.add_up()
        _, table = self._delivered.table()
        return {name: int(table[:, fate].sum()) for fate, name in FATES.items()}

    def links(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each link along which a message was sent or heard, ascending, and its numbers."""
        self.add_up()
        heard, delivered = (
            dict(zip(keys.tolist(), table.tolist(), strict=True))
            for keys, table in (self._heard.table(), self._delivered.table())
        )
        for key in sorted({*heard, *delivered}):
            *fates, seconds = delivered.get(key, [0.0] * (len(FATES) + 1))
            numbers = {name: int(fates[fate]) for fate, name in FATES.items()}
            on_the_way = {"on_the_way": seconds / fates[0] if fates[0] else None}
            yield key, numbers | on_the_way | dict(zip(HEARD, heard.get(key, [0.0] * len(HEARD)), strict=True))

    def add_up(self) -> None:
        """Take what was added since the last call into the sums."""
        heard, self._new_heard = np.array(self._new_heard, np.float64).reshape(-1, 4), []
        delivered, self._new_delivered = np.array(self._new_delivered, np.float64).reshape(-1, 3), []
        if len(heard):
            self._add_heard(heard)
        if len(delivered):
            self._add_delivered(delivered)

    def _add_heard(self, rows: Float[np.ndarray, "rows 4"]) -> None:
        keys = rows[:, 0].astype(np.int64)
        self._weights.extend(keys, rows[:, 1:2])
        others = keys // self.num_peers != keys % self.num_peers
        keys, weights, ages, seconds = keys[others], *rows[others, 1:].T
        self._heard.extend(keys, np.stack([np.ones_like(ages), weights, ages, seconds, ages, seconds], axis=1))
        self.ages.extend(ages)
        self.age_seconds.extend(seconds)

    def _add_delivered(self, rows: Float[np.ndarray, "rows 3"]) -> None:
        keys, fates, seconds = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2]
        arrived = fates == Fate.ARRIVED
        table = np.zeros((len(rows), len(FATES) + 1))
        table[np.arange(len(rows)), fates] = 1.0
        table[:, -1] = np.where(arrived, seconds, 0.0)
        self._delivered.extend(keys, table)
        self.delivery_seconds.extend(seconds[arrived])
