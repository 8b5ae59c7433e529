"""The host of peers, and the evaluator, as Ray actors."""

import ray

from peers.hosting.evaluator import Evaluator
from peers.hosting.host import PeerHost


class Located:
    """What can tell where it runs."""

    def node(self) -> str:
        """The id of the Ray node that this actor is on."""
        return str(ray.get_runtime_context().get_node_id())


class ActorHost(Located, PeerHost):
    """A host that can tell where it runs."""


class ActorEvaluator(Located, Evaluator):
    """An evaluator that can tell where it runs."""


RemotePeerHost = ray.remote(ActorHost)
RemoteEvaluator = ray.remote(ActorEvaluator)
