"""The world of a run: every time, loss and absence as a pure function of the settings, a seed, and numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from topologies.worlds import aws, draws, latency_file, places
from topologies.worlds.churn import ChurnConfig, Weights
from topologies.worlds.compute import ComputeConfig
from topologies.worlds.config import NetworkConfig
from topologies.worlds.draws import SECOND, Draws, Purpose
from topologies.worlds.latency import FileLatency, RegionLatency
from topologies.worlds.places import LatencyTable
from topologies.worlds.presence import Presence, presences
from topologies.worlds.transmission import (
    ConstantTransmission,
    LatencyLaw,
    LossLaw,
    Transmission,
    latency_law,
    loss_law,
)

END_OF_TIME = 1 << 62  # nanoseconds
RETURNS = {"own": Weights.OWN, "fresh": Weights.FRESH, "neighbour": Weights.NEIGHBOUR}


@dataclass(frozen=True)
class World:
    """What the simulation asks. All of it may be asked in any order, copied and pickled.

    step_ns(peer, number): nanoseconds of the peer's number-th computation. transmission(sender, receiver, number):
    nanoseconds until the number-th message of a link arrives, after its transfer; `~nanoseconds`, below 0, if it is
    lost: then it would have arrived after these. wake_ns(peer, number): nanoseconds before its number-th wake-up.
    up, down: bytes a second by peer, None: no limits. sizes: bytes of a message by sender. latency_ns: set if all
    messages arrive after this time. on_return, crashes: how each peer comes back and goes. places: of the peers, and
    table: the latencies between these, None without places. loss_share: of the messages that each
    peer sends, in the long run. notes: what to tell the user.
    """

    num_peers: int
    step_ns: Callable[[int, int], int]
    transmission: Callable[[int, int, int], int]
    wake_ns: Callable[[int, int], int]
    presence: tuple[Presence | None, ...]
    up: Float[np.ndarray, " peers"] | None
    down: Float[np.ndarray, " peers"] | None
    sizes: tuple[int, ...]
    latency_ns: int | None
    on_return: tuple[Weights, ...]
    crashes: tuple[bool, ...]
    loss_share: tuple[float, ...]
    places: tuple[str | None, ...]
    table: LatencyTable | None
    notes: tuple[str, ...]
    _choices: int = field(repr=False)

    @property
    def has_churn(self) -> bool:
        """Whether any peer is ever offline."""
        return any(known is not None for known in self.presence)

    @property
    def has_loss(self) -> bool:
        """Whether any message may be lost."""
        return any(self.loss_share)

    @property
    def availability(self) -> tuple[float | None, ...]:
        """The share of time that each peer is online in the long run; None for a presence that does not repeat."""
        return tuple(1.0 if known is None else known.share for known in self.presence)

    @property
    def ends(self) -> bool:
        """Whether all peers are offline for ever in the end."""
        return all(
            known is not None
            and known.share is None
            and not known.is_online(END_OF_TIME)
            and known.change_after(END_OF_TIME) is None
            for known in self.presence
        )

    def message_bytes(self, sender: int) -> int:
        """The size of a message of this peer."""
        return self.sizes[sender]

    def is_online(self, peer: int, at: int) -> bool:
        """Whether a peer is online at a nanosecond; at the time of a change, as after it."""
        known = self.presence[peer]
        return known is None or known.is_online(at)

    def change_after(self, peer: int, at: int) -> tuple[int, bool] | None:
        """The first change strictly after `at`, and whether the peer is online then; None: it never changes again."""
        known = self.presence[peer]
        return None if known is None else known.change_after(at)

    def choice(self, peer: int, number: int, count: int) -> int:
        """The peer's number-th choice among `count` alternatives, uniformly from 0 to count - 1."""
        return int(draws.uniform(draws.stream(self._choices, peer, 0), number) * count)

    @classmethod
    def of(
        cls,
        network: NetworkConfig,
        num_peers: int,
        seed: np.random.SeedSequence | int,
        message_bytes: int | Sequence[int],
    ) -> "World":
        """The world of `num_peers` peers. message_bytes: of a message, for all or by sender.

        Raises: ValueError: for settings that do not fit the number of peers, and files that break a rule; one line.
        """
        seed = np.random.SeedSequence(seed) if isinstance(seed, int) else seed
        _check_groups(network, num_peers)
        table, rows = _placed(network, num_peers)
        names = tuple(None if table is None else table.names[row] for row in rows)
        transmission, latency_ns = _transmission(network, num_peers, seed, None if table is None else (table, rows))
        up, down = _limits(network, names)
        churns = per_peer(network, num_peers, "churn")
        losses = per_peer(network, num_peers, "loss")
        return cls(
            num_peers=num_peers,
            step_ns=_steps(network, num_peers, seed),
            transmission=transmission,
            wake_ns=Draws(num_peers, draws.child(seed, Purpose.WAKE), _Waking(network.wake_every)).at,
            presence=_presence(churns, seed, names),
            up=up,
            down=down,
            sizes=(message_bytes,) * num_peers if isinstance(message_bytes, int) else tuple(message_bytes),
            latency_ns=latency_ns,
            on_return=tuple(RETURNS[getattr(law, "on_return", "own")] for law in churns),
            crashes=tuple(getattr(law, "leave", "graceful") == "crash" for law in churns),
            loss_share=tuple(law.share for law in losses),
            places=names,
            table=table,
            notes=() if table is None else table.notes,
            _choices=draws.key_of(seed, Purpose.CHOICE),
        )


def per_peer(network: NetworkConfig, num_peers: int, key: str) -> list[Any]:
    """The settings of one kind, such as `loss`, for every peer: its group's, or else the section's."""
    found = [getattr(network, key)] * num_peers
    for group in network.groups:
        if getattr(group, key) is not None:
            for peer in group.peers:
                found[peer] = getattr(group, key)
    return found


class _Waking:
    """Exponential intervals of one mean."""

    def __init__(self, mean: float) -> None:
        self._mean = mean

    def __call__(self, peer: int, rng: np.random.Generator, count: int) -> Float[np.ndarray, " draws"]:
        seconds: Float[np.ndarray, " draws"] = rng.exponential(self._mean, count)
        return seconds


class _Computing:
    """Each peer's law and factor."""

    def __init__(self, laws: list[ComputeConfig], factors: Float[np.ndarray, " peers"]) -> None:
        self._laws, self._factors = laws, factors

    def __call__(self, peer: int, rng: np.random.Generator, count: int) -> Float[np.ndarray, " draws"]:
        seconds: Float[np.ndarray, " draws"] = self._laws[peer].draw(rng, count) * self._factors[peer]
        return seconds


class _Same:
    """Every computation of a peer takes equally long."""

    def __init__(self, ns: list[int]) -> None:
        self._ns = ns

    def at(self, peer: int, number: int) -> int:
        return self._ns[peer]


def _steps(network: NetworkConfig, num_peers: int, seed: np.random.SeedSequence) -> Callable[[int, int], int]:
    """Computation times: the law's draw x the peer's own speed x slowdown of stragglers and groups."""
    laws: list[ComputeConfig] = per_peer(network, num_peers, "compute")
    speeds = np.random.default_rng(draws.child(seed, Purpose.SPEED)).standard_normal(num_peers)
    factors = np.exp(speeds * [law.node_sigma for law in laws])
    own = {id(law): law.factors(num_peers) for law in {id(law): law for law in laws}.values()}
    factors *= [own[id(law)][peer] for peer, law in enumerate(laws)]
    stragglers = np.random.default_rng(draws.child(seed, Purpose.STRAGGLERS))
    factors *= network.stragglers.factors(num_peers, stragglers)
    for group in network.groups:
        factors[list(group.peers)] *= group.slowdown
    draw = _Computing(laws, factors)
    if all(law.constant for law in laws):
        rng = np.random.default_rng(0)  # which nothing is drawn from
        return _Same([draws.nanoseconds(draw(peer, rng, 1))[0] for peer in range(num_peers)]).at
    return Draws(num_peers, draws.child(seed, Purpose.COMPUTE), draw).at


def _transmission(
    network: NetworkConfig,
    num_peers: int,
    seed: np.random.SeedSequence,
    placed: tuple[LatencyTable, list[int]] | None,
) -> tuple[Callable[[int, int, int], int], int | None]:
    """The law of all links; and its value, if it is the same for all messages."""
    laws = per_peer(network, num_peers, "latency")
    made: dict[int, LatencyLaw] = {id(law): latency_law(law, seed, placed) for law in laws}
    latencies = [made[id(law)] for law in laws]
    wanted = per_peer(network, num_peers, "loss")
    lossy: dict[int, tuple[LossLaw, int, int] | None] = {id(law): loss_law(law, seed) for law in wanted}
    losses = [lossy[id(law)] for law in wanted]
    values = {round(law.seconds * SECOND) if law.constant else None for law in laws}
    (value,) = values if len(values) == 1 else {None}
    if value is not None and not any(losses):
        return ConstantTransmission(value).at, value
    return Transmission(latencies, losses).at, value


def _placed(network: NetworkConfig, num_peers: int) -> tuple[LatencyTable | None, list[int]]:
    """The table of latencies between places, if there is one, and the row of each peer. Raises: ValueError."""
    law = network.latency
    if isinstance(law, RegionLatency):
        table = aws.table() if law.table == "aws" else places.homes()
    elif isinstance(law, FileLatency):
        table = latency_file.read(law.path, law.unit, law.round_trip)
    else:
        return None, [0] * num_peers
    rows = places.place_peers(law.regions, table, num_peers)
    for number, group in enumerate(network.groups):
        if group.region is not None:
            for peer in group.peers:
                rows[peer] = table.index(group.region, f"network.groups[{number}].region")
    return table, rows


def _limits(
    network: NetworkConfig, names: Sequence[str | None]
) -> tuple[Float[np.ndarray, " peers"] | None, Float[np.ndarray, " peers"] | None]:
    """Bytes a second up and down, by peer; None if nobody has a limit. Raises: ValueError."""
    laws = per_peer(network, len(names), "bandwidth")
    made = {
        id(law): law.rates([name if other is law else None for name, other in zip(names, laws, strict=True)])
        for law in laws
    }
    up, down = (np.array([made[id(law)][way][peer] for peer, law in enumerate(laws)]) for way in (0, 1))
    limited = bool(np.isfinite(up).any() or np.isfinite(down).any())
    return (up, down) if limited else (None, None)


def _presence(
    churns: list[ChurnConfig], seed: np.random.SeedSequence, names: Sequence[str | None]
) -> tuple[Presence | None, ...]:
    found: dict[int, Presence] = {}
    for law in {id(law): law for law in churns}.values():
        peers = [peer for peer, other in enumerate(churns) if other is law]
        found |= presences(law, peers, len(churns), seed, names)
    return tuple(found.get(peer) for peer in range(len(churns)))


def _check_groups(network: NetworkConfig, num_peers: int) -> None:
    for number, group in enumerate(network.groups):
        for peer in group.peers:
            if not 0 <= peer < num_peers:
                raise ValueError(
                    f"network.groups[{number}].peers: must be from 0 to peers.count - 1 = {num_peers - 1}, got {peer}; "
                    "remove it, or raise peers.count"
                )
