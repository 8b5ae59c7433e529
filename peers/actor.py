"""The host of peers, and the evaluator, as Ray actors."""

import ray

from peers.evaluator import Evaluator
from peers.host import PeerHost


class ActorHost(PeerHost):
    """A host that can tell where it runs."""

    def node(self) -> str:
        """The id of the Ray node that this actor is on."""
        return str(ray.get_runtime_context().get_node_id())


RemotePeerHost = ray.remote(ActorHost)
RemoteEvaluator = ray.remote(Evaluator)
