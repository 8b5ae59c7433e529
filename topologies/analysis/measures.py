"""The figures of a schedule: degrees, links, diameter, and how fast plain averaging reaches agreement."""

import numpy as np

from topologies.analysis.agreement import repeated
from topologies.analysis.drawn import measured
from topologies.analysis.structure import diameter, translations
from topologies.analysis.tally import Tally
from topologies.facts import TopologyFacts
from topologies.schedule import Schedule


def describe(schedule: Schedule, rounds: int | None = None) -> TopologyFacts:
    """The schedule's figures: exact over one period, or measured on `rounds` random rounds (None: enough)."""
    if schedule.facts is not None:
        return schedule.facts
    tally = Tally(schedule.num_peers)
    if schedule.period is None:
        digits = None
        agreement = measured(schedule, rounds, tally)
    else:
        seen = [schedule(index) for index in range(schedule.period)]
        digits = translations(seen)
        agreement = repeated(seen, digits)
        for round_ in seen:
            tally.add(round_)
    degrees = np.array(tally.degrees, int)
    links = int(degrees.sum())
    return TopologyFacts(
        num_peers=schedule.num_peers,
        min_degree=int(degrees.min()) if len(degrees) else 0,
        mean_degree=float(degrees.mean()) if len(degrees) else 0.0,
        max_degree=int(degrees.max(initial=0)),
        edges=links / tally.num_rounds,
        messages_per_round=(links - tally.to_itself) / tally.num_rounds,
        diameter=diameter(tally.links(), alike=digits is not None),
        spectral_gap=agreement.spectral_gap,
        rounds_to=agreement.rounds_to,
        rounds_over=agreement.rounds_over,
    )
