"""What every kind of topology offers: its settings, an example of them, the peer counts that it takes, its schedule."""

from abc import ABC, abstractmethod
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from topologies.graphs import check_num_peers
from topologies.schedule import Schedule


class Topology(BaseModel, ABC):
    """What every kind of topology offers. Frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    self_weight: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description="weight of a student's own outputs in its target, in which its teachers have the rest; left out: "
        "0, while reports show the mixing matrix with the rule's own diagonal",
    )

    @abstractmethod
    def build(self, num_peers: int, seed: np.random.SeedSequence) -> Schedule:
        """The schedule of so many peers; what is drawn depends on the seed alone, which is left as it was.

        Raises:
            ValueError: when there is none; one line that names the field and what to do.
        """

    @classmethod
    def example(cls, num_peers: int = 8) -> "Topology":
        """Settings that suit so many peers; for kinds that need more than the defaults."""
        return cls()

    def check_count(self, num_peers: int) -> None:
        """Refuse a number of peers for which there is no such topology; a random draw may still fail to connect.

        Raises:
            ValueError: when there is none; one line that names counts or settings that would do.
        """
        check_num_peers(num_peers)

    def takes(self, num_peers: int) -> bool:
        """Whether there is such a topology of so many peers, as in `check_count`."""
        try:
            self.check_count(num_peers)
        except ValueError:
            return False
        return True
