"""Messages that share the peers' bandwidth: those that are transferred, and those that wait for their link."""

from typing import NamedTuple

from topologies.network.trace import Fate
from topologies.worlds.bandwidth import Flows
from topologies.worlds.world import World

Link = tuple[int, int]  # sender, receiver


class Transfer(NamedTuple):
    """A message on a link. sent: when. took: the latency after the transfer, as `World.transmission` gives it."""

    sender: int
    receiver: int
    version: int
    sent: int
    took: int


class Transfers:
    """What is under way. A link transfers all its messages at once, or one at a time.

    single: one at a time; of those that wait for it, a newer one replaces the older, as nobody would use that any more.
    """

    def __init__(self, world: World, single: bool) -> None:
        assert world.up is not None and world.down is not None
        self._sizes, self._single = world.sizes, single
        self._flows: Flows[tuple[int, int, int]] = Flows(world.up.tolist(), world.down.tolist())
        self._under_way: dict[tuple[int, int, int], Transfer] = {}
        self._busy: set[Link] = set()
        self._waiting: dict[Link, Transfer] = {}

    def copy(self) -> "Transfers":
        """Another one that goes on by itself."""
        other = object.__new__(Transfers)
        other.__dict__.update({name: value.copy() for name, value in self.__dict__.items() if hasattr(value, "copy")})
        other._sizes, other._single = self._sizes, self._single
        return other

    def has(self, sender: int, receiver: int, version: int) -> bool:
        """Whether a message is being transferred."""
        return (sender, receiver, version) in self._under_way

    def start(self, transfer: Transfer, now: int) -> Transfer | None:
        """Begin to transfer a message, or let it wait. Returns: the message that it replaces."""
        link = transfer[:2]
        if self._single and link in self._busy:
            replaced = self._waiting.get(link)
            self._waiting[link] = transfer
            return replaced
        self._begin(transfer, now)
        return None

    def next_end(self) -> int | None:
        """When the next transfer ends; None: there is none."""
        ending = self._flows.next_finish()
        return None if ending is None else ending[0]

    def end(self, now: int) -> Transfer:
        """The transfer that ends now."""
        ending = self._flows.next_finish()
        assert ending is not None and ending[0] <= now
        return self._take(ending[1], now)

    def cancel(self, peer: int, crashes: bool, now: int) -> list[tuple[Transfer, Fate]]:
        """Give up the messages to a peer that goes offline; and those from it, if it crashes."""
        fates = {each: _fate(each, peer, crashes) for each in (*self._waiting.values(), *self._under_way.values())}
        ended = [(each, fate) for each, fate in fates.items() if fate is not None]
        for transfer, _ in ended:
            if self._waiting.get(transfer[:2]) is transfer:
                del self._waiting[transfer[:2]]
        for transfer, _ in ended:
            if self.has(*transfer[:3]):
                self._take(transfer[:3], now)
        return ended

    def _begin(self, transfer: Transfer, now: int) -> None:
        sender, receiver, version = transfer[:3]
        self._under_way[sender, receiver, version] = transfer
        self._busy.add((sender, receiver))
        self._flows.start((sender, receiver, version), sender, receiver, self._sizes[sender], now)

    def _take(self, key: tuple[int, int, int], now: int) -> Transfer:
        """End a transfer; the message that waits for its link is next."""
        found = self._under_way.pop(key)
        self._flows.finish(key, now)
        link = key[:2]
        self._busy.discard(link)
        following = self._waiting.pop(link, None)
        if following is not None:
            self._begin(following, now)
        return found


def _fate(transfer: Transfer, peer: int, crashes: bool) -> Fate | None:
    """What becomes of a message when a peer goes offline; None: it stays under way."""
    if transfer.receiver == peer:
        return Fate.RECEIVER_OFFLINE
    return Fate.SENDER_CRASHED if crashes and transfer.sender == peer else None
