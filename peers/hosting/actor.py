"""The host of peers, and the evaluator, as Ray actors."""

from collections.abc import Mapping
from typing import Any

import ray

from peers.exchange.assignment import Stats
from peers.exchange.sums import Sum
from peers.hosting.evaluator import Evaluator
from peers.hosting.host import PeerHost
from peers.hosting.origin import Origin, origin
from peers.hosting.packing import packed, packed_bundle, unpacked
from peers.hosting.postbox import Bundle


class Located:
    """Mixin for actors that reports the node they run on, and how their process began."""

    def node(self) -> str:
        """The id of the Ray node that this actor runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def began(self) -> Origin:
        """How the process of this actor began."""
        return origin()


class ActorHost(Located, PeerHost):
    """A host of peers as a Ray actor: what travels in every round is packed, see `packing`."""

    def publish(self, *told: Any) -> Any:
        return _answer(*super().publish(*map(unpacked, told)))

    def advance(self, *told: Any) -> Any:
        return _answer(*super().advance(*map(unpacked, told)))

    def step(self, *told: Any) -> Any:
        return _answer(*super().step(*map(unpacked, told)))

    def rejoin(self, *told: Any) -> Any:
        return _answer(*super().rejoin(*map(unpacked, told)))

    def total(self, *bundles: Any) -> Sum:
        return super().total(*map(unpacked, bundles))


def _answer(bundle: Bundle, stats: Mapping[int, Stats]) -> tuple[bytes | Bundle, bytes]:
    return packed_bundle(bundle), packed(stats)


class ActorEvaluator(Located, Evaluator):
    """An evaluator as a Ray actor."""


RemotePeerHost = ray.remote(ActorHost)
RemoteEvaluator = ray.remote(ActorEvaluator)
