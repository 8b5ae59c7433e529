"""What liars and rules of pooling need: honest peers, enough teachers, outputs of the right kind."""

import warnings

import numpy as np
import torch

from coordinator.experiment.reading import ConfigError
from peers.attacks.config import Adversaries, Constant, Copycat, PermutedOutputs, Scene
from peers.base.brought import Brought, called
from peers.exchange.config import ExchangeConfig
from peers.networks.config import PeersConfig
from peers.pooling.config import Aggregation, Krum, MultiKrum, NoTrust
from topologies.schedule import Round, Schedule
from topologies.worlds.config import NetworkConfig

ATTACK, RULE = "peers.adversaries.attack", "exchange.aggregation"


def check_liars(peers: PeersConfig, exchange: ExchangeConfig) -> None:
    """Refuse liars, and rules of pooling, that contradict other settings. Raises: ValueError, in one line."""
    _check_peers(peers)
    for some in peers.adversaries:
        if some.attack.needs_outputs and exchange.what == "features":
            raise ValueError(
                f"{ATTACK} '{called(some.attack)}' is about how likely outputs are, but exchange.what is 'features': "
                "set it to probabilities or logits, or take another attack, such as alie"
            )
    if exchange.delivery == "shared-sum":
        _check_sum(peers, exchange)
    if exchange.average == "losses" and exchange.aggregation.robust:
        raise ValueError(
            f"{RULE} '{called(exchange.aggregation)}' pools outputs, but exchange.average 'losses' compares with each "
            f"teacher: set exchange.average to outputs, or {RULE} to mean"
        )
    if isinstance(exchange.aggregation, Krum):
        _check_weights(exchange)
    if exchange.confident_share < 1:
        _check_confident(exchange)


def check_pooling(peers: PeersConfig, exchange: ExchangeConfig, schedule: Schedule, rounds: int, width: int) -> None:
    """Refuse a rule that some student has too few teachers for, and attacks on outputs that are not there.

    Looks at all rounds, of a schedule that does not repeat at the first ones. width: of the exchanged vectors.
    Raises: ConfigError, in one line.
    """
    try:
        for some in peers.adversaries:
            _check_width(some, exchange, width)
        _try_out(peers, exchange, width)
        if peers.adversaries:
            _check_students(peers, schedule, rounds)
        least = exchange.aggregation.needs()
        copycats = [some for some in peers.adversaries if isinstance(some.attack, Copycat)]
        if least == 1 and not copycats:
            return
        for index, full in enumerate(schedule.telling(rounds)):
            _check_teachers(exchange.aggregation, least, full, index)
            for some in copycats:
                _check_copied(some, peers, full, index)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def warn_of_parts(exchange: ExchangeConfig, network: NetworkConfig) -> None:
    """Warn where messages are late, so that a student pools what it hears in parts, batch by batch."""
    compares = exchange.aggregation.needs() > 1 or exchange.memory != "none" or not isinstance(exchange.trust, NoTrust)
    if compares and network.clock in ("free-running", "deadline") and network.message == "outputs":
        warnings.warn(
            f"with network.clock '{network.clock}' a student pools late messages apart, with others about the same "
            "batch, if there are any: of those that stand alone a rule, memory or trust can tell nothing, so that lies "
            "among them are learned from",
            stacklevel=4,
        )


def _check_peers(peers: PeersConfig) -> None:
    named = [peer for some in peers.adversaries for peer in some.peers]
    for place, peer in enumerate(named):
        if not 0 <= peer < peers.count:
            raise ValueError(
                f"peers.adversaries.peers must name peers 0 to {peers.count - 1}, got {peer}: name one of these, or "
                "raise peers.count"
            )
        if peer in named[:place]:
            raise ValueError(
                f"peers.adversaries.peers must name a peer once, got {peer} twice: a peer lies in one way; take it out "
                "of one of them"
            )
        if peer in peers.frozen:
            raise ValueError(
                f"peers.adversaries.peers names peer {peer}, which is in peers.frozen, too, but liars learn as all "
                "others do: take it out of one of them"
            )
    if len(named) == peers.count:
        raise ValueError(f"peers.adversaries.peers must leave somebody honest, got all {peers.count} peers: name fewer")
    if named and len(named) + len(set(peers.frozen)) == peers.count:
        raise ValueError(
            f"peers.adversaries.peers must leave an honest peer that learns, but all {peers.count} peers lie or are in "
            "peers.frozen: name fewer"
        )


def _check_students(peers: PeersConfig, schedule: Schedule, rounds: int) -> None:
    """Of liars that are all that learns: every mean would be about nobody."""
    taught = {
        student
        for full in schedule.telling(rounds)
        for student, edges in enumerate(full.incoming)
        if edges and student not in peers.frozen
    }
    if taught and taught <= peers.liars:
        raise ValueError(
            "peers.adversaries.peers must leave an honest peer that learns, but all peers with teachers lie: "
            f"{sorted(taught)}: name fewer, or give an honest one a teacher"
        )


def _check_confident(exchange: ExchangeConfig) -> None:
    """Of teachers that label some samples only: each sample then has teachers of its own, whose mean is taken."""
    given = (
        (exchange.what == "features", "exchange.what is 'features', which are no classes", "send logits"),
        (exchange.average == "losses", "exchange.average is 'losses'", "set it to outputs"),
        (exchange.aggregation.robust, f"{RULE} is '{called(exchange.aggregation)}'", "set it to mean"),
    )
    for holds, what, instead in given:
        if holds:
            raise ValueError(
                f"exchange.confident_share {exchange.confident_share:g} takes, for each sample, the mean of the "
                f"teachers that are sure of it, but {what}: {instead}, or exchange.confident_share to 1"
            )


def _check_weights(exchange: ExchangeConfig) -> None:
    """Of Krum, which takes one message, whatever weight it has."""
    given = (
        (not isinstance(exchange.trust, NoTrust), "trust", exchange.trust.kind),
        (exchange.memory != "none", "memory", exchange.memory),
    )
    for holds, name, value in given:
        if holds:
            raise ValueError(
                f"exchange.{name} '{value}' weighs teachers, but {RULE} 'krum' takes one message whatever its weight: "
                f"use multi-krum, or set exchange.{name} to none"
            )


def _check_sum(peers: PeersConfig, exchange: ExchangeConfig) -> None:
    """Of a sum of all messages: nobody can tell them apart any more."""
    omniscient = [some.attack for some in peers.adversaries if some.attack.omniscient]
    given = (
        (exchange.aggregation.robust, f"{RULE} is '{called(exchange.aggregation)}'", "set it to mean"),
        (not isinstance(exchange.trust, NoTrust), f"exchange.trust is '{exchange.trust.kind}'", "set it to none"),
        (exchange.memory != "none", f"exchange.memory is '{exchange.memory}'", "set it to none"),
        (exchange.confident_share < 1, f"exchange.confident_share is {exchange.confident_share:g}", "set it to 1"),
        (bool(omniscient), f"{ATTACK} is '{called(omniscient[0]) if omniscient else ''}'", "take a local one"),
    )
    for holds, what, instead in given:
        if holds:
            raise ValueError(
                f"exchange.delivery 'shared-sum' adds the messages up, but {what}, which needs each of them: use "
                f"per-edge, or {instead}"
            )


def _check_width(some: Adversaries, exchange: ExchangeConfig, width: int) -> None:
    attack = some.attack
    if isinstance(attack, Constant) and attack.output >= width:
        raise ValueError(f"{ATTACK}.output must be below the {width} outputs, got {attack.output}: lower it")
    orders = attack.needs_outputs or isinstance(attack, PermutedOutputs) or exchange.what == "probabilities"
    if width == 1 and orders:
        raise ValueError(
            f"{ATTACK} '{called(attack)}' needs at least 2 outputs, got 1, about which there is nothing to lie: raise "
            "peers.head.dim"
        )


def _try_out(peers: PeersConfig, exchange: ExchangeConfig, width: int) -> None:
    """Calls what the user has brought on random messages. Raises: ValueError."""
    generator = torch.Generator().manual_seed(0)
    messages = torch.stack([exchange.sent(torch.randn(6, width, generator=generator)) for _ in range(4)])
    distribution, weights = exchange.what == "probabilities", torch.full((4,), 0.25)
    if isinstance(exchange.aggregation, Brought):
        exchange.aggregation.pool(messages[0], messages, weights, distribution)
    for attack in (some.attack for some in peers.adversaries):
        if isinstance(attack, Brought):
            scene = Scene(messages[3], messages[:3], weights[:3], messages[0], distribution, lies_weight=0.25)
            attack.lie(scene, np.random.default_rng(0))


def _check_teachers(rule: Aggregation, least: int, full: Round, index: int) -> None:
    for student in full.students:
        edges = full.incoming[student]
        to_itself = any(edge.teacher == student for edge in edges)
        if len(edges) < least and not (to_itself and len(edges) == 1):  # who hears only itself does not pool
            own = "itself among them" if to_itself else "without itself"
            raise ValueError(
                f"{RULE} '{called(rule)}'{_strength(rule)} needs students with at least {least} teachers, but peer "
                f"{student} has {len(edges)} in round {index}, {own}: {_instead(rule)}give students more teachers, "
                "such as themselves by topology.self_weight"
            )


def _strength(rule: Aggregation) -> str:
    """What of the rule's settings says how many liars it bears."""
    given = rule.model_dump(include={"f", "b", "m", "alpha"})
    return f" with {', '.join(f'{name} = {value:g}' for name, value in given.items())}" if given else ""


def _instead(rule: Aggregation) -> str:
    fields = type(rule).model_fields
    if isinstance(rule, MultiKrum) and rule.m > rule.f + 1:  # m + f teachers are more than 2 f + 1
        return "lower m, or "
    name = next((name for name in ("f", "b", "alpha") if name in fields), "")
    return f"{'raise' if name == 'alpha' else 'lower'} {name}, or " if name else ""


def _check_copied(some: Adversaries, peers: PeersConfig, full: Round, index: int) -> None:
    """The honest peer that is repeated has to be there, for all honest students that hear the liars."""
    assert isinstance(some.attack, Copycat)
    for student in full.students:
        teachers = {edge.teacher for edge in full.incoming[student]}
        honest = len(teachers - peers.liars)
        if student in peers.liars or not teachers & set(some.peers) or some.attack.peer < max(honest, 1):
            continue
        raise ValueError(
            f"{ATTACK}.peer is {some.attack.peer}, a place among the honest peers that a student hears, counted from "
            f"0, but peer {student} hears {honest} in round {index}: lower it"
        )
