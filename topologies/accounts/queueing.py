"""How long messages wait for bandwidth: what a transfer takes beyond its time alone on the link, and its latency."""

import numpy as np

from topologies.accounts.sums import Histogram, KeyedSums
from topologies.network.trace import SECOND, Delivery, Fate, Publication
from topologies.worlds.world import World


class Queueing:
    """Adds up, by link, by how much longer messages that arrive have taken than if nothing else were sent.

    Its memory grows with the links and with the messages that are under way.
    """

    def __init__(self, world: World) -> None:
        """world: with limits up and down."""
        assert world.up is not None and world.down is not None
        self._world, self._num_peers = world, world.num_peers
        self._up, self._down = world.up.tolist(), world.down.tolist()
        self._numbers: dict[tuple[int, int], int] = {}  # of messages on each link
        self._under_way: dict[tuple[int, int, int], int] = {}  # their numbers, by sender, receiver and version
        self.seconds = Histogram(logarithmic=True)
        self.by_link = KeyedSums(2)  # messages, and their seconds of waiting, by receiver * peers + sender

    def publish(self, publication: Publication) -> None:
        """Number the messages of a publication on their links."""
        for receiver in publication.sent_to:
            link = (publication.peer, receiver)
            number = self._numbers.get(link, 0)
            self._numbers[link] = number + 1
            self._under_way[*link, publication.version] = number

    def deliver(self, delivery: Delivery) -> None:
        """Add a message whose fate is known, if it has arrived."""
        sender, receiver = delivery.sender, delivery.receiver
        number = self._under_way.pop((sender, receiver, delivery.version), None)
        if number is None or delivery.fate is not Fate.ARRIVED:
            return
        alone = self._world.sizes[sender] / min(self._up[sender], self._down[receiver])
        latency = self._world.transmission(sender, receiver, number) / SECOND
        waited = max(0.0, (delivery.arrived - delivery.sent) / SECOND - alone - latency)
        waited = waited if waited > 1e-6 else 0.0  # what the rounding of the transfers leaves
        self.seconds.add(waited)
        self.by_link.add(receiver * self._num_peers + sender, 1.0, waited)

    def mean_by_link(self) -> dict[int, float]:
        """The mean seconds of waiting, by receiver * peers + sender."""
        keys, table = self.by_link.table()
        return dict(zip(keys.tolist(), np.divide(table[:, 1], table[:, 0]).tolist(), strict=True))
