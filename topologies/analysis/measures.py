"""The figures of a schedule: degrees, links, diameter, and how fast averaging with its matrices reaches agreement."""

import numpy as np

from topologies.analysis.agreement import repeated
from topologies.analysis.connectivity import algebraic_connectivity
from topologies.analysis.drawn import measured
from topologies.analysis.structure import diameter, translations
from topologies.analysis.tally import Tally
from topologies.facts import TopologyFacts
from topologies.schedule import Round, Schedule


def describe(schedule: Schedule, rounds: int | None = None) -> TopologyFacts:
    """The schedule's figures: exact over one period, or measured on `rounds` random rounds (None: enough)."""
    if schedule.facts is not None:
        return schedule.facts
    tally = Tally(schedule.num_peers)
    if schedule.period is None:
        digits = None
        agreement, pooled = measured(schedule, rounds, tally), None
    else:
        seen = [schedule(index) for index in range(schedule.period)]
        digits = translations(seen)
        agreement = repeated(seen, digits)
        alone = [round_.as_pooled() for round_ in seen]
        pooled = agreement if all(map(_same_mixing, seen, alone)) else repeated(alone, digits)
        for round_ in seen:
            tally.add(round_)
    degrees = np.array(tally.degrees, int)
    links = int(degrees.sum())
    longest, at_least = diameter(tally.links(), alike=digits is not None)
    return TopologyFacts(
        num_peers=schedule.num_peers,
        min_degree=int(degrees.min()) if len(degrees) else 0,
        mean_degree=float(degrees.mean()) if len(degrees) else 0.0,
        max_degree=int(degrees.max(initial=0)),
        edges=links / tally.num_rounds,
        messages_per_round=(links - tally.to_itself) / tally.num_rounds,
        diameter=longest,
        diameter_least=at_least,
        spectral_gap=agreement.spectral_gap,
        rounds_to=agreement.rounds_to,
        rounds_over=agreement.rounds_over,
        pooling_gap=pooled.spectral_gap if pooled else None,
        pooling_connectivity=algebraic_connectivity(tally.mean_pooling(), digits, schedule.exchangeable),
        pooling_rounds_to=pooled.rounds_to if pooled else None,
        pooling_rounds_over=pooled.rounds_over if pooled else None,
    )


def _same_mixing(first: Round, second: Round) -> bool:
    return first.kept == second.kept
