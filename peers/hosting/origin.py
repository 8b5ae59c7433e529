"""How this process began: forked from one that had imported what peers need, or started anew."""

import os
from typing import Literal

FORKED = "PEER_CONSENSUS_FORKED"  # environment variable that is set in forks
Origin = Literal["forked", "spawned"]


def origin() -> Origin:
    """How this process began."""
    return "forked" if os.environ.get(FORKED) else "spawned"
