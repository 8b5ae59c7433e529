"""Which peers of a host run together."""

from collections.abc import Sequence

from peers.learning.peer import Peer
from peers.learning.vectorised.peer_stack import WIDTH, PeerStack


def stacks_of(peers: Sequence[Peer]) -> list[PeerStack]:
    """Stacks of at most `WIDTH` peers of one network and optimiser, whatever their groups and views.

    A peer that would be alone in its stack is run in the loop; so is one in whose place a twin teaches, which learns by
    itself.
    """
    kinds: list[list[Peer]] = []
    for peer in (peer for peer in peers if peer.twin is None):
        alike = next((members for members in kinds if _are_alike(members[0], peer)), None)
        if alike is None:
            kinds.append([peer])
        else:
            alike.append(peer)
    parts = [alike[first : first + WIDTH] for alike in kinds for first in range(0, len(alike), WIDTH)]
    return [PeerStack(part) for part in parts if len(part) > 1]


def _are_alike(peer: Peer, other: Peer) -> bool:
    """Whether one forward pass and one optimiser step can run both: rows have weights and images of their own.

    What one builds for each peer may differ where no tensor shows it.
    """
    kind, its = peer.kind, other.kind
    alike = kind.has_network_of(its) and kind.optimizer == its.optimizer
    return kind.one_for_all and alike and peer.settings.layout == other.settings.layout
