"""The critical path of a trace: the chain of computations, messages and waits that its last step has waited for.

It is followed forwards: with each message that may still be used goes the division of its own critical path. So memory
does not grow with the rounds. Whatever is not on the path could have been faster without any gain.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from topologies.network.trace import SECOND, MessageKey, Publication, Step

MOST_PEERS = 2_048  # of more peers, the path is not divided by peer
SHOWN = 5  # peers in the summary
PACEMAKER, LEAD = 0.25, 1.5  # a peer sets the pace from this share on, if it is so many times the next peer's
IDLE, OFFLINE = 0, 1  # places in a path; then the computing of each peer, then the messages of each, under way
FIRST = 2
Path = tuple[int, Int[np.ndarray, " parts"]]  # when it ends, in nanoseconds; how many of them go to each part


class CriticalPath:
    """Follows the critical path of each peer; steps are added in the order of their waves."""

    def __init__(self, num_peers: int) -> None:
        self._peers = num_peers if num_peers <= MOST_PEERS else 0
        nothing: Path = (0, np.zeros(FIRST + 2 * max(1, self._peers), np.int64))
        self._of_peer: list[Path] = [nothing] * num_peers
        self._of_message: dict[MessageKey, Path] = {}
        self._longest = nothing

    def publish(self, publication: Publication) -> None:
        """Add a publication that follows no step: a first one, one between steps, or that of a peer that is back."""
        end, parts = self._of_peer[publication.peer]
        if publication.at > end:
            parts = parts.copy()
            parts[OFFLINE if publication.back is not None else IDLE] += publication.at - end
        self._keep(publication, (publication.at, parts))

    def step(self, step: Step) -> None:
        """Add a step and the publication that follows it."""
        end, parts = self._of_peer[step.peer]
        place = IDLE
        if step.waited_for not in (-1, step.peer):
            version = next(
                (step.version - edge.age for edge in step.heard if edge.teacher == step.waited_for), step.version
            )
            end, parts = self._of_message.get((step.waited_for, version), (end, parts))
            place = self._messages(step.waited_for)
        elif step.waited_for == step.peer and step.start > step.published:  # a barrier: its message to somebody else
            place = self._messages(step.peer)
        parts = parts.copy()
        parts[place] += step.start - end
        own = (step.peer, step.version)
        if step.published == step.start and place != IDLE and own in self._of_message:  # an answer of gossip
            self._of_message[own] = (step.start, parts.copy())
        parts[self._computing(step.peer)] += step.finish - step.start
        path = self._of_peer[step.peer] = (step.finish, parts)
        if step.finish > self._longest[0]:
            self._longest = path
        if step.following is not None:
            self._keep(step.following, path)

    def release(self, released: Mapping[int, tuple[int, ...]]) -> None:
        """Forget the messages that nobody will use any more. released: versions by sender."""
        for sender, versions in released.items():
            for version in versions:
                self._of_message.pop((sender, version), None)

    def summary(self, clock: str, waited_for: Sequence[int]) -> dict[str, Any]:
        """The shares of the path: computing, messages under way, idle until a deadline or a wake-up, offline.

        waited_for: how long others have waited for each peer.

        peers: those for whom most of the time went by, by their number: the shares of their computing and of their
        messages. sentence: the same in words.
        """
        end, parts = self._longest
        shares = parts / end if end else parts.astype(np.float64)
        computing, messages = np.split(shares[FIRST:], 2)
        found: dict[str, Any] = {
            "seconds": end / SECOND,
            "compute": float(computing.sum()),
            "latency": float(messages.sum()),
            "idle": float(shares[IDLE]),
            "offline": float(shares[OFFLINE]),
            "peers": {},
        }
        if self._peers:
            together = computing + messages
            most = [int(peer) for peer in np.argsort(-together, kind="stable")[:SHOWN] if together[peer] > 0]
            found["peers"] = {
                str(peer): {"compute": float(computing[peer]), "latency": float(messages[peer])} for peer in most
            }
        return found | {"sentence": in_words(found, clock, {str(peer) for peer, each in enumerate(waited_for) if each})}

    def share_of(self, peer: int) -> float | None:
        """The share of the path that is the computing of a peer, or its messages under way; None: it is not known."""
        end, parts = self._longest
        if not self._peers or not end:
            return None
        return float((parts[self._computing(peer)] + parts[self._messages(peer)]) / end)

    def _keep(self, publication: Publication, path: Path) -> None:
        self._of_peer[publication.peer] = path
        if publication.useful:
            self._of_message[publication.peer, publication.version] = path

    def _computing(self, peer: int) -> int:
        return FIRST + (peer if self._peers else 0)

    def _messages(self, peer: int) -> int:
        return FIRST + (self._peers + peer if self._peers else 1)


def in_words(path: Mapping[str, Any], clock: str, waited_for: Collection[str]) -> str:
    """Such as `60% of the time was waiting for peer 7: 55% its computing, 5% its messages under way`.

    path: as in `CriticalPath.summary`. waited_for: the peers for which others have waited. The sentence names a peer
    only if it clearly is what the others wait for.
    """
    if not path["seconds"]:
        return ""
    until = {"deadline": "until a deadline", "gossip": "until the next wake-up"}.get(clock, "for nothing")
    kinds = {
        "computing": path["compute"],
        "messages under way": path["latency"],
        f"waiting {until}": path["idle"],
        "being offline": path["offline"],
    }
    together = {peer: each["compute"] + each["latency"] for peer, each in path["peers"].items()}
    shares = [*sorted(together.values(), reverse=True), 0.0, 0.0]
    peer = max(together, key=lambda each: together[each], default="")
    if peer in waited_for and shares[0] >= max(PACEMAKER, LEAD * shares[1], path["idle"]):
        of_peer = path["peers"][peer]
        parts = {"its computing": of_peer["compute"], "its messages under way": of_peer["latency"]}
        return f"{shares[0]:.0%} of the time was waiting for peer {peer}: {_listed(parts)}"
    waits = waited_for or clock == "gossip"
    nobody = "; no single peer sets the pace" if waits else "; no peer waited for another"
    return f"of the time {_listed(kinds)}{nobody}"


def _listed(parts: Mapping[str, float]) -> str:
    """Such as `60% computing, 40% messages under way`: the largest first, without those that round to nothing."""
    largest = sorted(parts.items(), key=lambda part: -part[1])
    return ", ".join(f"{share:.0%} {name}" for name, share in largest if share >= 0.005)
