"""The host of peers, and the evaluator, as Ray actors."""

import ray

from peers.hosting.evaluator import Evaluator
from peers.hosting.host import PeerHost
from peers.hosting.origin import Origin, origin


class Located:
    """Mixin for actors that reports the node they run on, and how their process began."""

    def node(self) -> str:
        """The id of the Ray node that this actor runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def began(self) -> Origin:
        """How the process of this actor began."""
        return origin()


class ActorHost(Located, PeerHost):
    """A host of peers as a Ray actor."""


class ActorEvaluator(Located, Evaluator):
    """An evaluator as a Ray actor."""


RemotePeerHost = ray.remote(ActorHost)
RemoteEvaluator = ray.remote(ActorEvaluator)
