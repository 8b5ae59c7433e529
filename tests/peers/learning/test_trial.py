"""What users bring is tried out before a run: each mistake is one line that names what was brought, and the peer."""

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coordinator import ConfigError, RunConfig, load_config
from coordinator.planning.brought import Objects
from coordinator.planning.plan import Plan, prepare

PIXELS = 64  # of an image of the synthetic data


def config(*overrides: str) -> RunConfig:
    table = {
        "run": {"rounds": 8, "seed": 3},
        "data": {"kind": "synthetic", "num_train": 60, "num_test": 30, "batch_size": 10},
        "peers": {"count": 3, "head": {"kind": "linear", "dim": 6}},
        "topology": {"kind": "ring"},
        "evaluation": {"probes": ["knn"], "probe_batch": 20},
        "hosting": {"pool": "in-process", "execution": "loop"},
        "tracking": {"enabled": False},
    }
    return load_config(table, overrides)


def plan(*overrides: str, **objects: Any) -> Plan:
    return prepare(Objects(**objects).take(config(*overrides)))


def refused(*overrides: str, **objects: Any) -> str:
    """The one line of the refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConfigError) as error:
            plan(*overrides, **objects)
    return str(error.value)


class Net(nn.Module):
    """One layer, and a forward pass that is given."""

    def __init__(self, passes: Callable[[Any, Tensor], Any], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.layer = layer or nn.Linear(PIXELS, 4)
        self.passes = passes

    def forward(self, images: Tensor) -> Any:
        return self.passes(self, images.flatten(1))


def net(passes: Callable[[Any, Tensor], Any], layer: Callable[[], nn.Module] | None = None) -> Any:
    return lambda shape: Net(passes, layer() if layer else None)


def chain(*layers: Callable[[], nn.Module]) -> Any:
    return lambda shape: nn.Sequential(*(layer() for layer in layers))


def linear(**options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(PIXELS, 8, **options)


class Counting(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(PIXELS, 4), 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(images.flatten(1)) * self.calls


class Unsaved(Counting):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.register_buffer("seen", torch.zeros(1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        self.seen += 1
        return self.layer(images.flatten(1))


class Keeping(Counting):
    def forward(self, images: Tensor) -> Tensor:
        self.last = self.layer(images.flatten(1))
        return self.last


class Third(nn.Module):
    """Only the third peer's is wrong."""

    def __init__(self, shape: tuple[int, ...], peer: int) -> None:
        super().__init__()
        self.layer = nn.Linear(PIXELS + (peer == 2), 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.flatten(1))


class Narrow(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = nn.Linear(PIXELS, 4)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.layer(images.flatten(1))
        return found if self.training else found[:, :2]


class OwnParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(PIXELS, 4), nn.Parameter(torch.ones(4))

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.flatten(1)) * self.scale


class Scaled(nn.Module):
    """Keeps a number that NumPy draws, which is no weight."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(PIXELS, 8), float(np.random.rand())  # noqa: NPY002

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * self.layer(images.flatten(1))


def drawn_by_numpy(shape: tuple[int, ...]) -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 8))
    module[1].weight.data = torch.from_numpy(np.random.rand(8, PIXELS).astype(np.float32))  # noqa: NPY002
    return module


NETWORKS = {
    "axes": (net(lambda m, x: m.layer(x)[:, :, None]), "got shape (2, 4, 1) for a batch of 2: flatten"),
    "no axis": (net(lambda m, x: m.layer(x).mean()), "got shape () for a batch of 2"),
    "batch": (net(lambda m, x: m.layer(x)[:1]), "got shape (1, 4) for a batch of 2"),
    "no features": (net(lambda m, x: m.layer(x)[:, :0]), "got shape (2, 0) for a batch of 2"),
    "nothing": (net(lambda m, x: None), "got a NoneType for a batch of 2"),
    "dict": (net(lambda m, x: {"logits": m.layer(x)}), "got a dict for a batch of 2"),
    "three": (net(lambda m, x: (m.layer(x),) * 3), "got 3 values (shape (2, 4), shape (2, 4), shape (2, 4))"),
    "half a pair": (net(lambda m, x: (m.layer(x), None)), "got 2 values (shape (2, 4), a NoneType)"),
    "pair of batches": (net(lambda m, x: (m.layer(x), m.layer(x)[:1])), "got 2 values (shape (2, 4), shape (1, 4))"),
    "width": (net(lambda m, x: m.layer(x), lambda: nn.Linear(9, 4)), "raised RuntimeError: mat1 and mat2 shapes"),
    "numpy": (net(lambda m, x: m.layer(x) * np.random.rand()), "two equal passes give different outputs"),  # noqa: NPY002
    "python": (net(lambda m, x: m.layer(x) * random.random()), "two equal passes give different outputs"),
    "state": (Counting, "keep no state but parameters and buffers"),
    "unsaved": (Unsaved, "changes its buffer 'seen', which is not saved (persistent=False)"),
    "kept": (Keeping, "cannot be copied after a pass"),
    "eval": (Narrow, "must return as many features in eval mode as in train mode, got shape (4, 2) and (4, 4)"),
    "no parameters": (chain(nn.Flatten), "has no parameters to train"),
    "in place": (net(lambda m, x: m.layer(x.mul_(2))), "must not change its input in place"),
    "in place layer": (
        chain(lambda: nn.ReLU(inplace=True), nn.Flatten, linear()),
        "must not change its input in place",
    ),
    "meta": (chain(nn.Flatten, linear(device="meta")), "'1.weight' is on the device meta: build it on the CPU"),
    "built on meta": (nn.Sequential(nn.Flatten(), linear(device="meta")()), "cannot be copied"),
    "double": (
        chain(nn.Flatten, linear(dtype=torch.double)),
        "must be float32, got float64 for '1.weight': call .float()",
    ),
    "half": (chain(nn.Flatten, linear(dtype=torch.half)), "weights must be float32, got float16"),
    "double out": (net(lambda m, x: m.layer(x).double()), "got shape (2, 4) of float64"),
    "detached": (net(lambda m, x: m.layer(x).detach()), "its outputs must depend on its parameters"),
    "no gradient": (net(torch.no_grad()(lambda m, x: m.layer(x))), "its outputs must depend on its parameters"),
    "nan": (net(lambda m, x: m.layer(x) * float("nan")), "must give finite numbers for random images"),
    "init": (
        net(lambda m, x: x, lambda: nn.Linear(-1, 3)),
        "raised RuntimeError: Trying to create tensor with negative",
    ),
    "no module": (lambda shape: 5, "must make a torch.nn.Module, got a int: return the module"),
    "number": (5, "must be a torch.nn.Module, or a class or function that makes one, got a int"),
    "name": ("resnet18", "must be a torch.nn.Module, or a class or function that makes one, got a str"),
    "a number by numpy": (Scaled, "built twice with one seed, it gives other outputs from equal weights"),
    "weights by numpy": (drawn_by_numpy, "built twice with one seed, it has other weights ('1.weight')"),
    "undrawable": (
        OwnParameter(),
        "nothing draws the weights 'scale' anew, since OwnParameter has no reset_parameters()",
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_network__each_mistake_is_a_line_with_name_and_peer(name: str) -> None:
    network, told = NETWORKS[name]
    message = refused(network=network)
    first, *lines = message.split("\n")
    assert first.startswith("peers.model '") and told in first and first.endswith("(peer 0)"), message
    assert len(first) < 320
    assert not lines or all(line.startswith("  test_trial.py:") for line in lines), message


def test_network__what_raises_is_told_with_the_users_own_lines() -> None:
    first, *lines = refused(network=Third).split("\n")
    assert first == (
        "peers.model 'Third': raised RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x64 and 65x4) (peer 2)"
    )
    (line,) = lines
    assert line.endswith("in forward: return self.layer(images.flatten(1))") and line.startswith("  test_trial.py:")


@pytest.mark.parametrize("count", [0, 2, 4])
def test_network__a_list_has_one_for_each_peer(count: int) -> None:
    networks = [nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 4)) for _ in range(count)]
    expected = f"peers.model 'list': must have a network for each of the 3 peers, got {count}: change either"
    assert refused(network=networks) == expected


def test_network__all_frozen_is_told() -> None:
    with pytest.warns(UserWarning, match="no weight of the features is trained") as told:
        plan(network=lambda shape: nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 8)).requires_grad_(False))
    assert len(told) == 1
    frozen = net(lambda m, x: (m.layer(x), m.layer(x)), lambda: nn.Linear(PIXELS, 4).requires_grad_(False))
    assert "none of its parameters is trained: nothing could be learned (peer 0)" in refused(network=frozen)


def test_network__equal_starts_are_told() -> None:
    def zeros(shape: tuple[int, ...]) -> nn.Module:
        module = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 8))
        for parameter in module.parameters():
            nn.init.constant_(parameter, 0.1)
        return module

    with pytest.warns(UserWarning, match="peers 0 and 1 start with equal weights, whatever the seed"):
        plan(network=zeros)
    plan("peers.initial=given", network=zeros)  # says so itself


def test_network__random_draws_are_told_and_not_vectorised() -> None:
    dropout = chain(nn.Flatten, linear(), nn.Dropout)
    with pytest.warns(UserWarning, match="draws random numbers in its forward passes, as Dropout does"):
        plan(network=dropout)
    message = refused("hosting.execution=vectorised", network=dropout)
    assert "draws random numbers, which cannot be vectorised (peer 0): set hosting.execution to loop" in message
    with pytest.warns(UserWarning) as told:
        assert plan("hosting.execution=auto", network=dropout).config.hosting.execution == "loop"
    assert str(told[-1].message).endswith("cannot be vectorised (peer 0): hosting.execution 'auto' is loop")


@pytest.mark.parametrize(
    ("passes", "told"),
    [
        (lambda m, x: m.layer(x) if x.sum() > -1e9 else x, "cannot be vectorised (vmap: "),
        (lambda m, x: m.layer(x) * float(m.layer.weight.detach().sum()), "cannot be vectorised (vmap: "),
    ],
)
def test_network__what_vmap_cannot_take_is_told(passes: Any, told: str) -> None:
    def branching(m: Any, x: Tensor) -> Tensor:
        return passes(m, x) if m.layer.weight.sum() > -1e9 else x

    plan(network=net(branching))
    message = refused("hosting.execution=vectorised", network=net(branching))
    assert told in message and message.endswith("(peer 0): set hosting.execution to loop") and "\n" not in message


def test_network__what_can_be_taken_is() -> None:
    """In every execution, without a warning (which would be an error here)."""
    networks: list[Any] = [
        chain(nn.Flatten, linear(), lambda: nn.BatchNorm1d(8)),
        chain(nn.Flatten, lambda: nn.LazyLinear(8)),
        nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 8)),
        [nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 4 + peer), nn.Linear(4 + peer, 4)) for peer in range(3)],
        lambda shape, peer: nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 4 + peer), nn.Linear(4 + peer, 4)),
        net(lambda m, x: [m.layer(x), m.layer(x)]),
    ]
    for network in networks:
        for execution in ("loop", "vectorised", "auto"):
            found = plan(f"hosting.execution={execution}", "peers.head={kind='none'}", network=network)
            assert found.config.hosting.execution == execution


# ---- losses, targets and heads ----


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))

    def forward(self, student: Tensor, target: Tensor) -> Tensor:
        return ((student - target) * self.weight).square().mean()


CALLS = [0]


def counting(student: Tensor, target: Tensor) -> Tensor:
    CALLS[0] += 1
    return F.mse_loss(student, target) * CALLS[0]


LOSSES = {
    "vector": (
        lambda s, t: (s - t).square().mean(1),
        "must return one number (a scalar tensor), got torch.float32 of shape (4,): average",
    ),
    "one element": (lambda s, t: (s - t).square().mean(0, keepdim=True).mean(1), "got torch.float32 of shape (1,)"),
    "nan": (lambda s, t: F.mse_loss(s, t) * float("nan"), "must give a finite number for random outputs, got nan"),
    "float": (lambda s, t: F.mse_loss(s, t).item(), "must return one number (a scalar tensor), got a float"),
    "nothing": (lambda s, t: None, "got a NoneType"),
    "changes student": (lambda s, t: s.sub_(t).square().mean(), "must not change its arguments in place"),
    "changes target": (lambda s, t: t.sub_(s).square().mean(), "must not change its arguments in place"),
    "detached": (lambda s, t: F.mse_loss(s.detach(), t), "must depend on the student's outputs"),
    "constant": (lambda s, t: torch.tensor(1.0, requires_grad=True), "must depend on the student's outputs"),
    "integer": (lambda s, t: (s > t).sum(), "must return one number (a scalar tensor), got torch.int64 of shape ()"),
    "gradient": (lambda s, t: F.mse_loss(s, t) + (s - s).sqrt().sum(), "its gradient must be finite"),
    "draws": (lambda s, t: F.mse_loss(F.dropout(s), t), "must give equal numbers for equal outputs: draw nothing"),
    "state": (counting, "must give equal numbers for equal outputs: draw nothing, and keep no state"),
    "one argument": (lambda s: s.mean(), "must take (student, target), but takes (s): change its arguments"),
    "raises": (lambda s, t: s @ t, "raised RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x6 and 4x6)"),
    "number": (5, "must be a function, or a class of such, got a int"),
}
TARGETS = {
    "width": (lambda x: x[:, :2], "torch.float32 of shape (4, 6), got torch.float32 of shape (4, 2)"),
    "batch": (lambda x: x[:1], "got torch.float32 of shape (1, 6): keep samples and outputs"),
    "double": (lambda x: x.double(), "got torch.float64 of shape (4, 6)"),
    "nothing": (lambda x: None, "got a NoneType"),
    "in place": (lambda x: x.mul_(2), "must not change its arguments in place"),
    "draws": (lambda x: x + torch.randn_like(x), "must give equal numbers for equal outputs"),
    "nan": (lambda x: x * float("nan"), "must give a finite number for random outputs, got nan"),
    "raises": (lambda x: x @ x, "raised RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x6 and 4x6)"),
    "number": (3, "must be a function, or a class of such, got a int"),
}
HEADS = {
    "width": (nn.Linear(3, 6), "raised RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x64 and 3x6)"),
    "axes": (
        lambda n: nn.Unflatten(1, (2, n // 2)),
        "must return float32 outputs of shape [batch, outputs], got shape (2, 2,",
    ),
    "pair": (lambda n: Net(lambda m, x: (x, x)), "got 2 values (shape (2, 64), shape (2, 64)) for a batch of 2"),
    "no module": (lambda n: 3, "must make a torch.nn.Module, got a int"),
    "number": (
        5,
        "must be a torch.nn.Module, or a class or function that makes one for a number of features, got a int",
    ),
    "no argument": (
        lambda: nn.Linear(64, 3),
        "raised TypeError: <lambda>() takes 0 positional arguments but 1 was given",
    ),
    "meta": (lambda n: nn.Linear(n, 6, device="meta"), "'weight' is on the device meta"),
    "double": (lambda n: nn.Linear(n, 6).double(), "weights must be float32, got float64 for 'weight'"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss__each_mistake_is_a_line(name: str) -> None:
    loss, told = LOSSES[name]
    first, *lines = refused(loss=loss).split("\n")
    assert first.startswith("exchange.loss '") and told in first
    assert all(line.startswith("  test_trial.py:") for line in lines)


@pytest.mark.parametrize("name", TARGETS)
def test_target__each_mistake_is_a_line(name: str) -> None:
    target, told = TARGETS[name]
    for loss in ("{kind='kl'}", "{kind='mse'}", "{kind='import', target='torch.nn.functional:l1_loss'}"):
        first, *lines = refused(f"exchange.loss={loss}", target=target).split("\n")
        assert first.startswith(
            "exchange.loss '" if told.startswith("must give") and "import" in loss else "exchange.target '"
        )
        assert told in first and all(line.startswith("  test_trial.py:") for line in lines)


@pytest.mark.parametrize("name", HEADS)
def test_head__each_mistake_is_a_line_with_name_and_peer(name: str) -> None:
    head, told = HEADS[name]
    (first,) = refused(head=head).split("\n")
    assert first.startswith("peers.head '") and told in first and first.endswith("(peer 0)")


def test_loss__its_own_parameters_are_told() -> None:
    for loss in (Weighted, Weighted()):
        with pytest.warns(
            UserWarning, match="exchange.loss 'Weighted': has parameters of its own, which nothing trains"
        ):
            plan(loss=loss)


def test_loss__what_vmap_cannot_take_is_told_and_auto_takes_the_loop() -> None:
    def branching(student: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(student, target) if student.sum() > 0 else F.l1_loss(student, target)

    plan(loss=branching)
    message = refused("hosting.execution=vectorised", loss=branching)
    assert message.startswith("exchange.loss 'branching': cannot be vectorised (vmap: It looks like you're")
    assert (
        message.endswith("...): set hosting.execution to loop") and "\n" not in message and message.count("vmap") == 1
    )
    with pytest.warns(UserWarning, match="hosting.execution 'auto' is loop"):
        assert plan("hosting.execution=auto", loss=branching).config.hosting.execution == "loop"


def test_parts__what_can_be_taken_is() -> None:
    losses: list[Any] = [F.mse_loss, nn.HuberLoss, nn.HuberLoss(delta=0.5), nn.CrossEntropyLoss(weight=torch.ones(6))]
    for loss in losses:
        plan("hosting.execution=vectorised", loss=loss)
    for target in (torch.tanh, nn.Tanh, nn.Softmax(dim=1)):
        plan("hosting.execution=vectorised", "exchange.loss={kind='mse'}", target=target)
    for head in (nn.Linear(64, 6), nn.Identity, lambda n: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(n, 5))):
        plan("hosting.execution=vectorised", head=head)


def test_pair__a_head_that_is_not_used_is_told() -> None:
    pair = net(lambda m, x: (m.layer(x), m.layer(x)))
    with pytest.warns(UserWarning, match="peers.head 'linear' is not used: peers.model"):
        plan(network=pair)
    wide = refused("evaluation.controls=['supervised']", "data.num_classes=5", network=pair)
    assert wide.startswith("evaluation.controls: supervised needs an output per class: 5 classes, and peers.model")


def test_stranger__of_given_weights_that_nothing_draws_is_told_before_the_run() -> None:
    given = OwnParameter()
    plan("peers.initial=given", network=given)
    message = refused("peers.initial=given", "evaluation.controls=['stranger']", network=given)
    assert message.startswith("peers.model 'OwnParameter': nothing draws the weights 'scale' anew")


def test_initial__given_is_for_what_is_brought() -> None:
    expected = "peers.initial 'given' is for a network that you bring, got peers.model 'small-cnn': set it to drawn"
    assert refused("peers.initial=given").startswith(expected)
    message = refused("peers.initial=given", "peers.locality=0.5", network=OwnParameter())
    assert message.startswith("peers.locality is 0.5, but initial weights are given (peers.initial or peers.weights)")


# ---- what only a few passes show ----


def test_network__rare_draws_of_another_generator_are_found() -> None:
    def rarely(module: Net, images: Tensor) -> Tensor:
        return module.layer(images) * (2 if np.random.rand() < 1e-6 else 1)  # noqa: NPY002

    line = refused(network=net(rarely))
    assert "draws from a generator that the run does not seed, NumPy's or Python's: draw with torch's" in line


@pytest.mark.parametrize("initial", ["drawn", "given"])
def test_network__given_in_eval_mode_trains_like_any_other(initial: str) -> None:
    def module() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))

    with pytest.warns(UserWarning, match="draws random numbers in its forward passes"):
        found = plan(f"peers.initial={initial}", network=module().eval())
    assert found.groups[0].feature_dim == 8


def test_network__the_index_of_a_peer_is_given_under_its_name_only() -> None:
    def two(shape: Any, dropout: float) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(PIXELS, 8))

    line = refused(network=two)
    assert line.startswith("peers.model: its function needs 'dropout', and gets the shape of an image and, under the")


def test_loss__that_counts_its_calls_is_refused() -> None:
    class Jumping:
        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, student: Tensor, target: Tensor) -> Tensor:
            self.calls += 1
            return F.mse_loss(student, target) * (100 if self.calls > 20 else 1)

    assert "changes something in a call that it keeps for the next one" in refused(loss=Jumping())


def test_stranger__of_weights_that_no_seed_changes_is_refused() -> None:
    def loaded(shape: Any) -> nn.Module:
        module = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 8))
        nn.init.constant_(module[1].weight, 0.1)
        nn.init.zeros_(module[1].bias)
        return module

    stranger = "evaluation.controls=['stranger']"
    assert "a stranger of the control run would have the peer's own weights" in refused(stranger, network=loaded)
    assert plan(stranger, "peers.initial='given'", network=loaded).groups[0].feature_dim == 8
