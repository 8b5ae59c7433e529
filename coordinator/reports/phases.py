"""How long the phases of a run will take, estimated by a short trial of a few of its peers in this process."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch

from coordinator.planning.plan import Plan, peer_settings
from coordinator.planning.views import different_sensors
from coordinator.records.stage_clock import duration
from peers.base.brought_errors import BroughtError
from peers.exchange.assignment import Assignment, Links
from peers.hosting.host import PeerHost
from peers.learning.settings import Execution, PeerSettings
from peers.probing.config import ProbeConfig
from peers.probing.measuring import ProbeSubject
from peers.probing.remembered import Remembered

TRIED_TOGETHER = 16  # peers of a vectorised trial
TRIAL_ROUNDS = 3  # the first one is a warm-up
TRIED_IMAGES = 1000  # that are probed: more would make a dry run slow
LOOKED_AT = 4  # rounds of a schedule that does not repeat
PASSES = 2  # batches shown to a calibrated network


@dataclass(frozen=True)
class Costs:
    """Seconds of one peer: a round, an observation, a probe without and with calibration, a probe of pixels."""

    round: float
    observation: float
    probe: float
    calibrated: float
    pixels: float


def estimated(plan: Plan) -> dict[str, str]:
    """Lines of a plan: the seconds of each phase, and what they are estimated by; or why they are not known."""
    hosting = plan.config.hosting
    if hosting.address or (hosting.device != "cpu" and torch.cuda.is_available()):
        return {"time": "not estimated: the peers do not run on this machine's CPUs"}
    at_once = _at_once(plan)
    try:
        phases = phases_of(plan, measured(plan), at_once)
    except BroughtError as error:  # what the user brings asks for more than a trial has
        return {"time": f"not estimated: {str(error).splitlines()[0]}"}
    words = ", ".join(f"{name} {duration(seconds)}" for name, seconds in phases.items())
    beside = f"on {at_once} processes" if at_once > 1 else "in one process"
    return {"time": f"about {words}", "estimate": f"of these times, by a short trial on this machine, {beside}"}


def phases_of(plan: Plan, costs: Costs, at_once: int) -> dict[str, float]:
    """Seconds by phase, where so many processes share the work. Without what the coordinator does itself."""
    config, probed = plan.config, plan.num_probed
    evaluation, rounds = config.evaluation, config.run.rounds
    steps = rounds * _participants(plan) * costs.round
    observed = (2 + (rounds - 1) // evaluation.every) * config.peers.count * costs.observation
    under_way = (rounds - 1) // evaluation.probe_every * probed if evaluation.probe_every else 0
    of_trained = costs.calibrated if evaluation.buffers == "recalibrated" else costs.probe
    sensors = min(len(different_sensors(config)), probed)
    final = of_trained + evaluation.reset * costs.probe + evaluation.recalibrated * costs.calibrated
    found = {
        "controls": sensors * costs.pixels + probed * (costs.probe + costs.calibrated),
        "rounds": steps + observed + under_way * of_trained,
        "final probes": probed * final,
    }
    if evaluation.controls:
        one = steps + config.peers.count * costs.observation + probed * of_trained
        found["control runs"] = len(evaluation.controls) * one
    return {name: seconds / at_once for name, seconds in found.items()}


def measured(plan: Plan) -> Costs:
    """What a peer costs here, timed on the first peers of the run."""
    config = plan.config
    share = min(1.0, TRIED_IMAGES / _num_probed_images(plan))
    settings, execution = _tried(plan, share)
    with _one_host(settings, plan, execution) as host:
        peers = list(host.peers)
        needs = max(1, config.exchange.aggregation.needs(), round(plan.facts.mean_degree))
        links = {
            peer: tuple(peers[(place + step) % len(peers)] for step in range(1, min(needs, len(peers) - 1) + 1))
            for place, peer in enumerate(peers)
        }
        host.publish(_assignments(links, 0))
        seconds = [_timed(partial(host.advance, at, _assignments(links, at + 1))) for at in range(TRIAL_ROUNDS)]
        first, batches = peers[0], list(range(PASSES))
        _probe(host, first, ProbeSubject.AS_IS)  # a warm-up
        probe = _timed(lambda: _probe(host, first, ProbeSubject.AS_IS))
        shown = _timed(lambda: _probe(host, first, ProbeSubject.CALIBRATED, batches))
        pixels = _timed(lambda: _probe(host, first, ProbeSubject.RAW_PIXELS))
        observation = _timed(lambda: host.observe(grams=len(peers) < 2)) / len(peers)
    passes = min(config.evaluation.calibration_passes, config.run.rounds)
    calibration = max(shown - probe, 0.0) / PASSES * passes
    return Costs(min(seconds[1:]) / len(peers), observation, probe / share, probe / share + calibration, pixels / share)


def _probe(host: PeerHost, peer: int, subject: ProbeSubject, rounds: Sequence[int] = ()) -> None:
    """Probe a peer, whatever has been probed of it before."""
    host.peers[peer].probed = Remembered()
    host.probe(subject, {peer: rounds})


def _tried(plan: Plan, share: float) -> tuple[list[PeerSettings], Execution]:
    """The settings of the peers of the trial, with probes of a share of the images; and how they are executed."""
    config = plan.config
    vectorised = config.hosting.execution == "vectorised"
    together = TRIED_TOGETHER if vectorised else max(1, config.exchange.aggregation.needs()) + 1
    honest = [peer for peer in range(config.peers.count) if peer not in config.peers.liars]
    all_settings = peer_settings(config, plan.dataset, None, plan.normalisations)
    probes = _fewer(config.evaluation, share)
    chosen = [replace(all_settings[peer], probes=probes, device="cpu") for peer in honest[:together]]
    return chosen, "vectorised" if vectorised else "loop"


def _fewer(probes: ProbeConfig, share: float) -> ProbeConfig:
    """The same probes of fewer images, if that is asked for."""
    own = ProbeConfig(**{name: getattr(probes, name) for name in ProbeConfig.model_fields})
    if share == 1:
        return own
    train = max(round(own.probe_train * share), own.knn.k, 10)
    return own.model_copy(update={"probe_train": train, "probe_test": max(round(own.probe_test * share), 2)})


@contextmanager
def _one_host(settings: list[PeerSettings], plan: Plan, execution: Execution) -> Iterator[PeerHost]:
    """A host of these peers in this process, whose number of threads is put back afterwards."""
    host, threads = PeerHost(), torch.get_num_threads()
    try:
        host.open(settings, plan.dataset, plan.config.hosting.threads, execution)
        yield host
    finally:
        torch.set_num_threads(threads)


def _assignments(links: dict[int, tuple[int, ...]], at: int) -> dict[int, Assignment]:
    return {
        peer: Assignment(at, at, Links(teachers, (1 / len(teachers),) * len(teachers)), teaches=True)
        for peer, teachers in links.items()
    }


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _num_probed_images(plan: Plan) -> int:
    evaluation, data = plan.config.evaluation, plan.dataset
    return min(evaluation.probe_train, len(data.train_labels)) + min(evaluation.probe_test, len(data.test_labels))


def _participants(plan: Plan) -> float:
    """The peers that compute in a round, students and teachers, on average over the first rounds."""
    first = range(min(plan.config.run.rounds, plan.schedule.period or LOOKED_AT, LOOKED_AT))
    counts = [len({*round_.students, *round_.teaching}) for round_ in map(plan.schedule, first)]
    return sum(counts) / len(counts)


def _at_once(plan: Plan) -> int:
    """The processes that compute at the same time."""
    return max(1, min(plan.num_hosts, os.cpu_count() or 1))
