"""Plans a run before anything starts: loads the data, draws the schedule, estimates sizes and memory, checks all."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.control_checks import check_irrelevant_data
from coordinator.experiment.liar_checks import warn_of_parts
from coordinator.experiment.private_data import held_by
from coordinator.planning import brought
from coordinator.planning.data_checks import check_data, check_widths
from coordinator.planning.hosts import ACTOR_BYTES, FORKED_BYTES, ZYGOTE_BYTES, peers_per_host
from coordinator.planning.loading import load_data as load_data
from coordinator.planning.makes import FLOAT, GroupPlan, layouts, makes, plan_group, weight_bytes
from coordinator.planning.network import files_digest, trace_of, world_of
from coordinator.planning.probe_checks import warn_of_few_passes, warn_of_idle_controls
from coordinator.planning.probe_memory import answers_bytes, check_memory, probing_needs
from coordinator.planning.probe_sample import probed_peers
from coordinator.planning.schedules import build_schedule, links_of, with_roles
from coordinator.planning.trying import tried_out
from coordinator.planning.views import normalisations
from coordinator.planning.workers import forks
from peers.base import memory
from peers.data.brought import GivenData
from peers.data.dataset_check import digest_of
from peers.data.datasets import Dataset, Normalisation
from peers.data.formats.shapes import noun
from peers.data.holdings import Holdings
from peers.learning.control import Control, with_labels_only
from peers.learning.settings import PeerSettings
from peers.learning.twin import IRRELEVANT
from peers.probing.config import ProbeConfig
from topologies.analysis.measures import describe
from topologies.facts import TopologyFacts
from topologies.network.checks import check_trace
from topologies.network.trace import Trace
from topologies.schedule import Schedule
from topologies.worlds.world import World

# Measured proportional set size, CUDA build of torch: a Ray actor without peers, the coordinator, Ray's daemons.
COORDINATOR_BYTES, RAY_BYTES = 720 * 2**20, 450 * 2**20


@dataclass(frozen=True)
class Plan:
    config: RunConfig
    dataset: Dataset
    schedule: Schedule
    facts: TopologyFacts
    groups: tuple[GroupPlan, ...]
    width: int
    message_bytes: int
    data_digest: str = ""  # SHA-256 of images and labels; this and the following are set by `identified`
    links_digest: str = ""  # SHA-256 of a file's links in all its rounds; else empty: the config determines them
    normalisations: tuple[Normalisation, ...] = ()  # of each peer: of what its view makes of the training images
    weight_bytes: tuple[int, ...] = ()  # of each peer's parameters and buffers
    blind_teachers: tuple[int, ...] = ()  # in whose place networks of the control irrelevant see nothing
    network_digest: str = ""  # SHA-256 of the files that the network is read from; set by `identified`

    @cached_property
    def trace(self) -> Trace | None:
        """The trace of the simulated network, computed as it is read; None without one. Raises: ValueError."""
        return trace_of(self.config, self.schedule, self.world)

    @cached_property
    def world(self) -> World | None:
        """The laws of the simulated network; None without one. Raises: ValueError."""
        return world_of(self.config, self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The bytes of a message of each peer."""
        network = self.config.network
        if network is not None and network.message == "checkpoint":
            return self.weight_bytes
        return (self.message_bytes,) * self.config.peers.count

    @cached_property
    def probed(self) -> tuple[int, ...] | None:
        """The peers that the probes look at; None: all."""
        return probed_peers(self.config, self.schedule)

    @property
    def num_probed(self) -> int:
        """How many peers the probes look at."""
        return self.config.peers.count if self.probed is None else len(self.probed)

    @cached_property
    def num_hosts(self) -> int:
        """The number of Ray actors with peers; if left to a cluster, what it would be on this machine."""
        hosting, count = self.config.hosting, self.config.peers.count
        if hosting.pool == "in-process":
            return 0
        gpus = torch.cuda.device_count()
        return -(-count // peers_per_host(hosting, count, os.cpu_count() or 1, gpus, float(memory.available())))

    @property
    def data_bytes(self) -> int:
        held = [self.dataset, *self.dataset.others.values()]
        return sum(each.train_images.nbytes + each.test_images.nbytes for each in held)

    @property
    def holdings(self) -> Holdings | None:
        """Who holds which training examples; None if all peers hold all."""
        data, labels = self.config.data, self.dataset.train_labels
        return held_by(data, labels, self.config.peers.count, self.config.run.seed)

    @property
    def memory_bytes(self) -> int:
        """Estimate of the memory for the whole run: peers, processes, data."""
        peers = sum(group.count * group.peer_bytes for group in self.groups)
        ray = RAY_BYTES if self.num_hosts else 0
        # a student holds its teachers' messages, a stack of them and temporaries; the coordinator, all probe outputs
        decoded = self.config.data.batch_size * self.config.exchange.num_views * self.width * FLOAT
        peers += self.config.peers.count * (self.facts.max_degree + 4) * decoded
        peers += 4 * self.config.peers.count * self.config.evaluation.probe_batch * self.width * FLOAT
        peers += self.num_probed * answers_bytes(self.config, self.dataset, self.width) + self._kept_bytes
        evaluators = self.config.hosting.evaluators
        processes = self.num_hosts + (0 if evaluators == "auto" else evaluators)
        on_features, on_pixels = probing_needs(self.config, self.dataset, self.groups)
        probes = max(1, processes) * on_features + max(0, on_pixels - on_features)  # pixels: once, in one process
        return peers + probes + self._bytes_of(processes) + COORDINATOR_BYTES + ray + self.data_bytes

    @property
    def side_bytes(self) -> int:
        """Estimate of the memory for a control run beside the run: its peers and processes."""
        each = FORKED_BYTES if forks(self.config.hosting) else ACTOR_BYTES
        return self.num_hosts * each + sum(group.count * group.peer_bytes for group in self.groups)

    def _bytes_of(self, processes: int) -> int:
        """The memory of so many Ray actors without peers."""
        forked = forks(self.config.hosting)
        return ZYGOTE_BYTES + processes * FORKED_BYTES if forked else processes * ACTOR_BYTES

    @property
    def _kept_bytes(self) -> int:
        """What hosts keep because of the simulated network: older messages, and passes of further batches."""
        network = self.config.network
        if network is None or self.trace is None or self.trace.plain:
            return 0
        messages = (2 if network.lock_step else network.max_age + 2) * sum(self.sizes)
        further = 0 if self.trace.own_batches or network.lock_step else min(self.facts.max_degree, network.max_age)
        return messages + further * sum(group.count * group.activation_bytes for group in self.groups)

    @property
    def round_bytes(self) -> float:
        """Mean bytes that cross links in a round."""
        return self.facts.messages_per_round * sum(self.sizes) / len(self.sizes)


def prepare(config: RunConfig, dataset: Dataset | None = None) -> Plan:
    """Load the data (unless given), draw the schedule and check what no section can check alone.

    Refuses data or probes that exceed the memory. If it loads the data itself, warns if the whole run may exceed it.

    Raises: ConfigError.
    """
    loaded = dataset is None
    forks(config.hosting)  # refuses what cannot be
    try:
        config = brought.identified(config)
        schedule = build_schedule(config)
        facts = describe(with_roles(config, links_of(config)))  # asks a user's own function for many rounds
        dataset = load_data(config) if dataset is None else dataset
        blind = check_data(config, dataset, schedule)
        different = makes(config.peers, dataset.shape)
        config = tried_out(config, dataset, different)
        groups = tuple(plan_group(config, dataset, make) for make in different)
        check_irrelevant_data(config.evaluation, config.data, config.exchange, dataset, [g.output_dim for g in groups])
        check_memory(config, dataset, groups)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    except MemoryError as error:
        raise ConfigError(f"this machine's memory does not hold the data or the topology: {error}") from None
    width = check_widths(config, schedule, dataset, groups)
    warn_of_idle_controls(config)
    warn_of_few_passes(config, schedule, (make.network for make in different))
    message_bytes = config.exchange.wire.num_bytes(config.data.batch_size * config.exchange.num_views, width)
    weights = weight_bytes(different)
    sized = Plan(config, dataset, schedule, facts, groups, width, message_bytes, weight_bytes=weights)
    plan = replace(sized, blind_teachers=tuple(blind))
    check_trace_of(plan)
    if loaded:
        _warn_of_memory(plan)
    return plan


def _warn_of_memory(plan: Plan) -> None:
    """Warn if the whole run may exceed this machine's memory, in which its data are already."""
    further, free = plan.memory_bytes - plan.data_bytes, memory.available()
    if further > free and not plan.config.hosting.address:
        warnings.warn(
            f"the run will need about {memory.format_bytes(further)} of memory beside its data, and "
            f"{memory.format_bytes(free)} are left: it may be killed; lower peers.count or data.batch_size, or make "
            f"the {noun(plan.dataset.shape)} smaller",
            stacklevel=3,
        )


def check_trace_of(plan: Plan) -> None:
    """Refuse a simulated network in which the run cannot go on. Raises: ConfigError."""
    network = plan.config.network
    if network is None:
        return
    warn_of_parts(plan.config.exchange, network)
    try:
        for note in () if plan.world is None else plan.world.notes:
            warnings.warn(note, stacklevel=3)
        assert plan.trace is not None and plan.world is not None
        check_trace(plan.trace, network, plan.schedule, plan.config.run.rounds, plan.world.ends)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def identified(plan: Plan) -> Plan:
    """The plan with what is computed from all images: a separate step, since checking a config does not need it."""
    links = links_of(plan.config).digest() if plan.config.topology.kind in ("file", "import", "given") else ""
    of_peers = normalisations(plan.config, plan.dataset)
    data, network = digest_of(plan.dataset).hex(), files_digest(plan.config)
    return replace(plan, data_digest=data, links_digest=links, normalisations=of_peers, network_digest=network)


def settings_of(plan: Plan, control: Control | None = None) -> list[PeerSettings]:
    """The settings from which each peer of a planned run, or of one of its control runs, is created."""
    return peer_settings(plan.config, plan.dataset, control, plan.normalisations)


def peer_settings(
    config: RunConfig, dataset: Dataset, control: Control | None = None, given: Sequence[Normalisation] = ()
) -> list[PeerSettings]:
    """`settings_of` a config; the normalisation of what each peer sees is computed unless it is given."""
    normalised_by = given or normalisations(config, dataset)
    peers, exchange = config.peers, config.exchange
    if control is Control.SUPERVISED:
        peers, exchange = with_labels_only(peers, exchange, dataset.num_classes)
    if control is Control.TRUTHFUL:
        peers = peers.model_copy(update={"adversaries": ()})
    of_others: Sequence[Normalisation | None] = [None] * peers.count
    if control is Control.IRRELEVANT:
        of_others = normalisations(config, dataset.others[IRRELEVANT])
    of_peers, data = layouts(peers, dataset.shape), config.data
    # a ProbeConfig, since unpickling an EvaluationConfig would import the whole coordinator in every actor
    probes = ProbeConfig(**{name: getattr(config.evaluation, name) for name in ProbeConfig.model_fields})
    return [
        PeerSettings(
            index=index,
            seed=config.run.seed,
            num_rounds=config.run.rounds,
            peers=peers,
            exchange=exchange,
            data=data.without_object() if isinstance(data, GivenData) else data,
            probes=probes,
            normalisation=normalised_by[index],
            recompute=config.hosting.recompute,
            precision="float32" if config.hosting.precision == "auto" else config.hosting.precision,
            memory_layout="by-rule" if config.hosting.layout == "auto" else config.hosting.layout,
            deterministic=config.hosting.deterministic,
            data_on_device=config.hosting.data_on_device,
            layout=of_peers[index],
            control=control,
            vectorisable=config.hosting.execution != "loop",
            message="outputs" if config.network is None else config.network.message,
            other_data=config.other_data,
            other_normalisation=of_others[index],
        )
        for index in range(config.peers.count)
    ]
