"""The `[peers]` section: what peers are made of, and groups of unequal peers."""

from typing import Any, Literal, TypeVar

import torch
from pydantic import Field, PrivateAttr, model_validator
from torch import nn

from peers.attacks.config import Adversaries
from peers.base.brought_errors import explained
from peers.base.layout import Layout
from peers.base.section import Section, leaves_out_kind
from peers.data.formats.shapes import Shape
from peers.networks import variants
from peers.networks.brought import BroughtHead, BroughtModel, draw_anew, join
from peers.networks.models import Norm
from peers.networks.network import Network, feature_dim, join_ours
from peers.networks.optimizers import AdamW, OptimizerConfig
from peers.networks.variants import HeadConfig, LinearHead, ModelConfig, SmallCNN, TorchvisionModel
from peers.networks.weights import HeldWeights, load_weights
from peers.views.config import NamedStep
from peers.views.view import View

K = TypeVar("K", bound="PeerKind")
Start = Literal["initial", "stranger", "any"]
SHARED = ("model", "norm", "head", "optimizer", "initial", "weights", "weights_except", "view")  # taken over by groups


class PeerKind(Section):
    """What one peer is made of."""

    model: ModelConfig = Field(SmallCNN(), description="the encoder, from images to features")
    norm: Norm = Field(
        "batch",
        description="normalisation layers of the encoder: BatchNorm; GroupNorm of at least 8 channels a group (Wu and "
        "He 2018); LayerNorm, which is one group; or none",
    )
    head: HeadConfig = Field(
        LinearHead(),
        description="from features to the outputs that peers exchange; a network that you bring and that returns "
        "features and outputs has its own instead",
    )
    optimizer: OptimizerConfig = Field(AdamW(), description="the optimiser of a student's steps")
    initial: Literal["drawn", "given"] = Field(
        "drawn",
        description="initial weights of a network that you bring: drawn by the run's seed, where a module that is "
        "already built is drawn anew layer by layer; or as they are given, the same for all peers",
    )
    weights: str = Field(
        "",
        description="file of the encoder's initial weights, .safetensors or a state_dict of torch.save, the same for "
        "all peers; heads are drawn; empty: none",
    )
    weights_except: tuple[str, ...] = Field(
        (), description="names of weights, or patterns with *, that the file may lack or have too many of"
    )
    weights_digest: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        description="SHA-256 of the weights, noted in the run's own config; a run whose config has it refuses others",
    )
    view: tuple[NamedStep, ...] = Field(
        (),
        description="steps that images go through before the peer sees them, by name or as tables: random ones, which "
        "are left out where it is probed, and sensors; the order matters",
    )
    _weights: HeldWeights | None = PrivateAttr(None)

    @property
    def starts_as_given(self) -> bool:
        """Whether initial weights are not drawn by the run's seed."""
        return self.initial == "given" or bool(self.weights)

    @property
    def one_for_all(self) -> bool:
        """Whether all peers of this kind have networks of one architecture."""
        return not isinstance(self.model, BroughtModel) or not self.model.by_peer

    def has_network_of(self, other: "PeerKind") -> bool:
        """Whether networks of both kinds are of one architecture, whatever weights they start from and see."""
        return (self.model, self.norm, self.head) == (other.model, other.norm, other.head)

    def with_weights(self: K, held: HeldWeights) -> K:
        """The same with the weights of its file, which peers elsewhere cannot read. Raises: ValueError."""
        if self.weights_digest and self.weights_digest != held.digest:
            raise ValueError(
                f"peers.weights: '{self.weights}' has changed since the run was started (SHA-256 "
                f"{self.weights_digest[:12]}, now {held.digest[:12]}): put it back, or leave peers.weights_digest out"
            )
        kind = self.model_copy(update={"weights_digest": held.digest})
        kind._weights = held
        return kind

    def build_network(self, shape: Shape, peer: int = 0, start: Start = "initial") -> Network:
        """A network with weights drawn from torch's current generator (see `drawing.seeded`), or those that are given.

        start: "stranger" draws weights that are given, too; "any" is for networks that get their weights afterwards.
        Raises: ValueError.
        """
        encoder = self._encoder(shape, peer, start)
        if self.weights and start == "initial":
            assert self._weights is not None, "the plan reads the file"
            load_weights("peers.weights", encoder, self._weights.tensors, self.weights_except)
        if isinstance(self.model, BroughtModel) or isinstance(self.head, BroughtHead):
            head_anew = isinstance(self.head, BroughtHead) and self._drawn_anew(self.head.is_built, start)
            return join(self.model, encoder, self.head, shape, head_anew)
        if not isinstance(self.model, TorchvisionModel):
            return join_ours(encoder, self.head.build, shape)
        with explained(self.model.origin):  # such as images of another size than the model takes
            width = feature_dim(encoder, shape)
        return Network(encoder, self.head.build(width), shape, self.model.origin)

    def build_head(self, width: int, last_layer: bool = False) -> nn.Module:
        """A head like the network's for so many features, with weights as in `build_network`.

        last_layer: of a head of ours, one of whose weights only the last layer's matter, which are then the same for
        any number of features that does not change their shape.
        """
        if isinstance(self.head, BroughtHead):
            head = self.head.build(width)
            anew = self._drawn_anew(self.head.is_built, "initial")
            return draw_anew(self.head.origin, head) if anew else head
        return self.head.build_last_layer(width) if last_layer else self.head.build(width)

    def _encoder(self, shape: Shape, peer: int, start: Start) -> nn.Module:
        if not isinstance(self.model, BroughtModel):
            self._check_initial()
            return self.model.build(shape, self.norm)
        encoder = self.model.build_for(shape, peer)
        anew = self._drawn_anew(self.model.is_built(peer), start)
        return draw_anew(self.model.origin, encoder) if anew else encoder

    def _drawn_anew(self, is_built: bool, start: Start) -> bool:
        """Whether the weights that a module of the user's has are replaced."""
        return start != "any" and (is_built if self.initial == "drawn" else start == "stranger")

    def _check_initial(self) -> None:
        """Not a rule of the section, since `simulate` may bring the network later. Raises: ValueError."""
        if self.initial == "given":
            raise ValueError(
                f"peers.initial 'given' is for a network that you bring, got peers.model '{self.model.kind}': set it "
                "to drawn; weights from a file are peers.weights"
            )


class Group(PeerKind):
    """Some peers of one make."""

    name: str = Field(
        "",
        max_length=40,
        pattern=r"^[A-Za-z0-9_-]*$",
        description="what tables and measures call the group: letters, digits, - and _; left out: its number, from 0",
    )
    count: int = Field(ge=1, strict=True, description="number of peers in this group")


class PeersConfig(PeerKind):
    """`count` equal peers, or `groups` of peers with their own model, norm, head and optimiser."""

    count: int = Field(
        4, strict=True, le=65_536, description="number of peers, at least 2; may be left out where groups say it"
    )
    groups: tuple[Group, ...] = Field(
        (),
        description="peers of unequal make, in this order: each a table of count, and of model, norm, head and "
        "optimizer where they differ from the section's",
    )
    frozen: tuple[int, ...] = Field(
        (), description="indices of peers that teach and never learn, such as a random teacher (Sarnthein et al. 2023)"
    )
    locality: float = Field(
        1.0,
        ge=0,
        le=1,
        description="how far initial weights lie from peer 0's: 1: independent; 0: equal to them; between: a "
        "normalised interpolation (locality alpha of Sarnthein et al. 2023)",
    )
    view_draws: Literal["own", "shared"] = Field(
        "own", description="random steps of views are drawn for each peer, or once for all of them"
    )
    head_shared: bool | Literal["last-layer"] = Field(
        False,
        description="all peers have one frozen random head, so that outputs of one index mean the same; last-layer: of "
        "the head only the last layer",
    )
    adversaries: tuple[Adversaries, ...] = Field((), description="peers that lie to their students, and how")

    def memory_format(self, layout: Layout, device: str) -> torch.memory_format:
        """In what order images and convolutions' weights lie in the memory of a device, the same for all peers."""
        by_rule = device == "cpu" and variants.are_faster_channels_last([kind.model for kind in self.groups or (self,)])
        last = by_rule if layout == "by-rule" else layout == "channels-last"
        return torch.channels_last if last else torch.contiguous_format

    @model_validator(mode="before")
    @classmethod
    def _count_the_groups(cls, values: object) -> object:
        """`count` defaults to the sum over groups, and a group's missing keys to those of the section."""
        if not isinstance(values, dict) or not isinstance(values.get("groups"), list | tuple):
            return values
        shared = {key: values[key] for key in SHARED if key in values}
        groups = [_shared_with(group, shared) if isinstance(group, dict) else group for group in values["groups"]]
        counts = [group.get("count") if isinstance(group, dict) else getattr(group, "count", None) for group in groups]
        if groups and all(isinstance(count, int) for count in counts):
            values = {"count": sum(counts), **values}
        return {**values, "groups": groups}

    @model_validator(mode="after")
    def _check(self) -> "PeersConfig":
        if self.count < 2:
            raise ValueError(f"peers.count must be at least 2, got {self.count}: one peer has nobody to learn from")
        if self.groups and sum(group.count for group in self.groups) != self.count:
            total = sum(group.count for group in self.groups)
            raise ValueError(
                f"peers.count is {self.count} but peers.groups add up to {total}: leave peers.count out, or set it to "
                f"{total}"
            )
        names = [group.name or str(number) for number, group in enumerate(self.groups)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"peers.groups must have different names, got '{name}' twice (without a name, a group is called by "
                    "its number): rename one"
                )
        for peer in self.frozen:
            if not 0 <= peer < self.count:
                raise ValueError(f"peers.frozen must name peers 0 to {self.count - 1}, got {peer}: name one of these")
        if len(set(self.frozen)) == self.count:
            raise ValueError(f"peers.frozen must leave somebody to study, got all {self.count} peers: name fewer")
        return self

    @model_validator(mode="after")
    def _check_weights(self) -> "PeersConfig":
        """Of initial weights that peers have in common."""
        if self.locality < 1 and any(kind.starts_as_given for kind in (*self.groups, self)):
            raise ValueError(
                f"peers.locality is {self.locality:g}, but initial weights are given (peers.initial or peers.weights): "
                "leave peers.locality out"
            )
        if self.locality < 1 and any(not self.groups[0].has_network_of(group) for group in self.groups):
            raise ValueError(
                "peers.locality below 1 needs equal networks, but peers.groups differ in model, norm or head: make "
                "these alike, or leave peers.locality out"
            )
        if self.head_shared and any(kind.head.kind == "none" for kind in self.groups or (self,)):
            raise ValueError(
                "peers.head_shared shares a head's weights, but peers.head is 'none', which has none: take another "
                "head, or leave peers.head_shared out"
            )
        return self

    @property
    def liars(self) -> frozenset[int]:
        """The peers that lie at any time."""
        return frozenset(peer for some in self.adversaries for peer in some.peers)

    def view_of(self, peer: int, seed: int) -> View:
        """The peer's view in a run of this seed."""
        return View(self.kind_of(peer).view, seed, self.count, self.view_draws == "shared")

    @property
    def has_views(self) -> bool:
        """Whether any peer sees images in another form than as they are."""
        return any(kind.view for kind in self.groups or (self,))

    @property
    def common_view(self) -> bool:
        """Whether all peers see the same in every round."""
        first, kinds = self.view_of(0, 0), self.groups or (self,)
        return first.same_for_all and all(kind.view == first.steps for kind in kinds)

    @property
    def members(self) -> dict[str, range]:
        """The peers of each group, by its name; empty without groups."""
        found: dict[str, range] = {}
        first = 0
        for number, group in enumerate(self.groups):
            found[group.name or str(number)] = range(first, first + group.count)
            first += group.count
        return found

    def kind_of(self, peer: int) -> PeerKind:
        for group in self.groups:
            if peer < group.count:
                return group
            peer -= group.count
        return self


def _shared_with(group: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """A group's table with its missing keys filled in, also within nested tables that do not set another kind."""
    tables = {key: value.model_dump() if isinstance(value, Section) else value for key, value in shared.items()}
    within = {
        key: tables[key] | value
        for key, value in group.items()
        if leaves_out_kind(value) and isinstance(tables.get(key), dict)
    }
    return {**shared, **group, **within}
