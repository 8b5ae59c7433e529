"""The base class of all topologies: settings, an example of them, valid peer counts, and the schedule."""

from abc import ABC, abstractmethod
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from topologies.graphs import check_num_peers
from topologies.schedule import Schedule


class Topology(BaseModel, ABC):
    """What every kind of topology offers. Frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    self_weight: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description="weight of a student's own outputs in its target, in which its teachers have the rest; left out: "
        "0 (and reports show two matrices: the gossip matrix of the theory, with the rule's own diagonal, and the "
        "pooling matrix)",
    )

    @abstractmethod
    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule for this number of peers; random draws depend on `seed` only, which is not modified.

        Raises:
            ValueError: when it cannot be built; one line that names the field and what to do.
        """

    @classmethod
    def example(cls, num_peers: int = 8) -> "Topology":
        """Settings that suit this number of peers; overridden where the defaults do not."""
        return cls()

    def check_count(self, num_peers: int) -> None:
        """Refuse a number of peers for which the topology does not exist; a random draw may still be disconnected.

        Raises:
            ValueError: when it does not exist; one line that names counts or settings that work.
        """
        check_num_peers(num_peers)

    def takes(self, num_peers: int) -> bool:
        """Whether `check_count` accepts this number of peers."""
        try:
            self.check_count(num_peers)
        except ValueError:
            return False
        return True
