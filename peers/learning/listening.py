"""What a student makes of the messages that it has received: lies, weights by trust and by the past, the pool.

Used alike by the loop and by vectorised execution, row by row, so that both pool to the same bits. Without liars and
with the weighted mean nothing of it is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from peers.attacks.config import Scene
from peers.exchange.assignment import Heard
from peers.exchange.messages import pack_checked
from peers.exchange.objectives import probs_to_logits
from peers.exchange.sums import Sum
from peers.learning.averaging import Received, WeightedOutputs
from peers.learning.lies import attack_in, lie_of, local_scene
from peers.learning.settings import PeerSettings
from peers.pooling.averages import mean_of_kept
from peers.pooling.confidence import confident
from peers.pooling.config import SelfAgreement
from peers.pooling.memory import expguard, expguard_scores
from peers.pooling.outliers import auc, outlier_scores

DROPPED = 0.01  # of its weight: a message of which the pool uses less counts as dropped

Outputs = Float[Tensor, "samples dim"]
Weights = Float[Tensor, " teachers"]


@dataclass(frozen=True)
class Listened:
    """What a student learns from: (weight, outputs) of its teachers, or of their pool alone.

    weight: of the messages that could be used. kept: samples that some teacher labels; None: all. heard: what became
    of the messages; None where all that could be heard is honest and goes into a weighted mean.
    """

    teachers: list[WeightedOutputs]
    weight: float
    kept: Bool[Tensor, " samples"] | None = None
    heard: Heard | None = None


@dataclass
class Ear:
    """How one student listens. memory: its teachers' weights by their past (`exchange.memory`), its only state."""

    settings: PeerSettings
    memory: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: PeerSettings) -> "Ear | None":
        """The ear of a peer with these settings; None if it takes all messages into a weighted mean as they are."""
        exchange = settings.exchange
        plain = (
            not settings.peers.adversaries
            and not exchange.aggregation.robust
            and exchange.memory == "none"
            and not isinstance(exchange.trust, SelfAgreement)
            and exchange.confident_share == 1
        )
        return None if plain else cls(settings)


def listen(received: Sequence[Received], own: Outputs | None, ear: Ear | None) -> Listened:
    """What a student learns from, given its messages of one batch, in order of its links.

    own: its own outputs as a reader of its message would get them. ear: None: the plain weighted mean. A lie that is
    not finite is left out and counted: with no message left, nothing is learned, as where all teachers have dropped
    out.
    """
    if ear is None:
        return _plainly(received)
    lies = [_is_lie(each, ear.settings) for each in received]
    usable: Sequence[Received] = received
    if any(lies):
        assert own is not None, "the outputs of a student that listens are computed"
        with torch.no_grad():
            usable, lies = _with_lies(received, lies, own, ear.settings)
    unusable = len(received) - len(usable)
    if all(each.sender == ear.settings.index for each in usable):  # there is nothing to pool
        sure = bool(usable) and ear.settings.exchange.confident_share < 1
        listened = _plainly(usable, _confident(usable[0].outputs, ear.settings) if sure else None)
        tells = unusable > 0 and ear.settings.index not in ear.settings.peers.liars
        return replace(listened, heard=Heard(unusable=unusable)) if tells else listened
    assert own is not None, "the outputs of a student that listens are computed"
    with torch.no_grad():
        listened = _listen(usable, lies, own, ear)
    return replace(listened, heard=listened.heard and replace(listened.heard, unusable=unusable))


def _plainly(received: Sequence[Received], kept: Bool[Tensor, " samples"] | None = None) -> Listened:
    """The messages as they are, by their own weights."""
    return Listened([(each.weight, each.outputs) for each in received], _weight_of(received), kept)


def _weight_of(received: Sequence[Received]) -> float:
    return sum((each.weight for each in received), 0.0)


def _listen(received: Sequence[Received], lies: Sequence[bool], own: Outputs, ear: Ear) -> Listened:
    exchange, device = ear.settings.exchange, own.device
    distribution = exchange.what == "probabilities"
    stack = torch.stack([each.outputs for each in received])
    nominal = _shares(torch.tensor([each.weight for each in received], dtype=torch.float64))
    weights = nominal.clone()
    if isinstance(exchange.trust, SelfAgreement):
        said = [probs_to_logits(each.outputs) if distribution else each.outputs for each in received]
        agreements = [float(exchange.trust.agreement(each, exchange.num_views)) for each in said]
        logs = exchange.trust.sharpness * torch.tensor(agreements, dtype=torch.float64)
        weights = _shares(weights * (logs - logs.max()).exp())  # less the largest, so that none overflows
    if exchange.memory == "expguard":
        weights = _shares(weights * _by_the_past(received, expguard_scores(stack, distribution), ear))
    kept = None
    if exchange.confident_share < 1:
        masks = torch.stack([_confident(each.outputs, ear.settings) for each in received])
        pooled, used, kept = _of_the_confident(stack, weights.to(device, torch.float32), masks)
        teachers: list[WeightedOutputs] = [(1.0, pooled)]
    elif exchange.aggregation.robust:
        found = exchange.aggregation.pool(own, stack, weights.to(device, torch.float32), distribution)
        teachers, used = [(1.0, found.outputs)], found.used
    else:
        factors = (weights / nominal).tolist()
        unchanged = bool((weights == nominal).all())
        teachers = [
            (each.weight if unchanged else each.weight * factor, each.outputs)
            for each, factor in zip(received, factors, strict=True)
        ]
        used = weights
    heard = _heard(received, lies, stack, nominal, used, ear.settings)
    return Listened(teachers, _weight_of(received), kept, heard)


def _is_lie(message: Received, settings: PeerSettings) -> bool:
    """Whether a message is a lie; what a liar takes of itself is not."""
    own = message.sender == settings.index
    return not own and attack_in(settings, message.sender, message.number) is not None


def _with_lies(
    received: Sequence[Received], lies: Sequence[bool], own: Outputs, settings: PeerSettings
) -> tuple[list[Received], list[bool]]:
    """The messages with those lies in place that are made where a student hears them, and which of them are lies.

    These are the omniscient ones, and all but the free rider's where messages bring weights. A lie that is not finite
    is left out, as a message of which no number is of use, wherever it was made.
    """
    pairs = [pair for pair in zip(received, lies, strict=True) if not pair[1] or _is_finite(pair[0].outputs)]
    received, lies = [each for each, _ in pairs], [lie for _, lie in pairs]
    found, marks = [], []
    scene: Scene | None = None
    for each, lie in pairs:
        attack = attack_in(settings, each.sender, each.number) if lie else None
        here = attack is not None and (
            attack.omniscient or (settings.message == "checkpoint" and not attack.keeps_first)
        )
        if attack is not None and here:
            if attack.omniscient:
                scene = scene or _scene(received, lies, own, settings)
                of_liar = replace(scene, own=each.outputs)
            else:
                of_liar = local_scene(settings, each.outputs)
            lied = lie_of(settings, attack, each.sender, each.number, of_liar)
            packed = pack_checked(lied, settings.exchange.wire, own.device)
            if not bool(packed.finite):
                continue
            each = each._replace(outputs=packed.received)
        found.append(each)
        marks.append(lie)
    return found, marks


def _is_finite(outputs: Outputs) -> bool:
    return bool(torch.isfinite(outputs).all())


def _scene(received: Sequence[Received], lies: Sequence[bool], own: Outputs, settings: PeerSettings) -> Scene:
    """What omniscient liars know; where nobody else is honest, that is the student's own outputs."""
    weights = _shares(torch.tensor([each.weight for each in received], dtype=torch.float64)).to(torch.float32)
    honest = [place for place, lie in enumerate(lies) if not lie]
    return Scene(
        own=own,
        honest=torch.stack([received[place].outputs for place in honest]) if honest else own[None],
        weights=(weights[honest] if honest else torch.ones(1)).to(own.device),
        student=own,
        distribution=settings.exchange.what == "probabilities",
        liars=len(received) - len(honest),
        lies_weight=float(weights.sum() - weights[honest].sum()) if honest else 1.0,
        views=settings.exchange.num_views,
    )


def _by_the_past(received: Sequence[Received], scores: Weights, ear: Ear) -> Float[Tensor, " teachers"]:
    """The weights of teachers by their past, after this round, which `ear` keeps; its own is 1."""
    student = ear.settings.index
    of_others = {
        each.sender: score for each, score in zip(received, scores.tolist(), strict=True) if each.sender != student
    }
    ear.memory = expguard(ear.memory, of_others)
    kept = [1.0 if each.sender == student else ear.memory[each.sender] for each in received]
    return torch.tensor(kept, dtype=torch.float64)


def _confident(outputs: Outputs, settings: PeerSettings) -> Bool[Tensor, " samples"]:
    """The samples that a teacher labels: of images that it sees twice, by the mean of its two distributions."""
    exchange = settings.exchange
    probs = outputs if exchange.what == "probabilities" else torch.softmax(outputs, dim=-1)
    of_images = probs.reshape(exchange.num_views, -1, probs.shape[-1]).mean(dim=0)
    return confident(of_images, exchange.confident_share, True).repeat(exchange.num_views)


def _of_the_confident(
    stack: Float[Tensor, "teachers samples dim"], weights: Weights, masks: Bool[Tensor, "teachers samples"]
) -> tuple[Outputs, Weights, Bool[Tensor, " samples"]]:
    """For each sample the weighted mean of the teachers that label it, each one's share, and who is labelled at all."""
    kept = masks.any(dim=0)
    pooled, _ = mean_of_kept(
        stack, weights, masks | ~kept
    )  # all, of samples that nobody labels: their loss is not taken
    used = mean_of_kept(stack[:, kept], weights, masks[:, kept])[1] if bool(kept.any()) else weights
    return pooled, used, kept


def _heard(
    received: Sequence[Received],
    lies: Sequence[bool],
    stack: Float[Tensor, "teachers samples dim"],
    nominal: Weights,
    used: Weights,
    settings: PeerSettings,
) -> Heard | None:
    """What became of the messages of others. Of a liar nothing is told: all that is told is of honest students."""
    adversaries = settings.peers.adversaries
    exchange = settings.exchange
    if settings.index in settings.peers.liars:
        return None
    if not adversaries and not exchange.aggregation.robust and exchange.memory == "none":
        return None
    others = [place for place, each in enumerate(received) if each.sender != settings.index]
    dropped = (used.cpu().to(torch.float64) < DROPPED * nominal).tolist()
    honest = [place for place in others if not lies[place]]
    false = [place for place in others if lies[place]]
    told = None
    if honest and false:
        scores = outlier_scores(stack)
        told = auc(scores[others], [lies[place] for place in others])
    says = exchange.aggregation.tells_used
    return Heard(
        honest=len(honest),
        honest_dropped=sum(dropped[place] for place in honest) if says else None,
        lies=len(false),
        lies_dropped=sum(dropped[place] for place in false) if says else None,
        auc=told,
    )


def heard_in_sum(total: Sum, settings: PeerSettings) -> Heard | None:
    """What became of the messages of a round's sum: of these nothing is known but how many could not be added up."""
    tells = total.unusable > 0 and settings.index not in settings.peers.liars
    return Heard(unusable=total.unusable) if tells else None


def _shares(weights: Weights) -> Weights:
    """The weights scaled to sum to 1."""
    return weights / weights.sum()
