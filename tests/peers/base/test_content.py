"""Digests of code and data: the same for the same, whatever layout, order, file and process; another for others."""

import functools
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import tracemalloc
import types
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from peers.base.content import Unidentifiable, digest_of

Source = Callable[[str], Any]


@pytest.fixture
def of_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """What the source of a module of the user's defines; each in a file of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def imported(source: str, name: str = "", **others: str) -> dict[str, Any]:
        for other, text in others.items():
            (tmp_path / f"{other}.py").write_text(textwrap.dedent(text))
            monkeypatch.delitem(sys.modules, other, raising=False)
        count = len(list(tmp_path.glob("mine_*.py")))
        path = tmp_path / f"{name or f'mine_{count}'}.py"
        path.write_text(textwrap.dedent(source))
        module = types.ModuleType(path.stem)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, path.stem, module)
        exec(compile(path.read_text(), str(path), "exec"), vars(module))
        return vars(module)

    return imported


def of_cell(source: str) -> dict[str, Any]:
    """What a notebook's cell, or code from anywhere, defines."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(textwrap.dedent(source), "<ipython-input-1>", "exec"), namespace)
    return namespace


NET = """
    import torch
    from torch import nn

    WIDTH = 4

    class Base(nn.Module):
        def scale(self, x):
            return 2.0 * x

    class Net(Base):
        kernel = 3

        def __init__(self, shape, depth=2):
            super().__init__()
            self.layer = nn.Linear(shape[0], WIDTH)

        def forward(self, x):
            try:
                x = self.scale(self.layer(x))
            except ValueError:
                x = x
            return helper(x) if x.ndim else x

    def helper(x, *, slope=0.5):
        return torch.where(x > 0, x, slope * x) + len([each for each in (1, 2)])

    def build(shape):
        class Inner(Net):
            def forward(self, x):
                return super().forward(x) - 1
        return Inner(shape)
"""
LAYOUT = [
    ("def helper(x, *, slope=0.5):\n", "# a comment\n\n\n    def helper(x, *, slope=0.5):\n"),
    ("def helper(x, *, slope=0.5):\n", 'def helper(x, *, slope=0.5):\n        """What it does."""\n'),
    ("class Net(Base):\n", 'class Net(Base):\n        """A network."""\n\n'),
    ("class Inner(Net):\n", 'class Inner(Net):\n            """A class in a function."""\n\n'),
    (
        "def forward(self, x):\n                return",
        'def forward(self, x):\n                "Doc."\n                return',
    ),
    ("return 2.0 * x", "return (\n                2.0\n                * x\n            )"),
    ("def scale(self, x):", "def scale(self, x: torch.Tensor) -> torch.Tensor:"),
    ("        kernel = 3\n\n        def __init__", "        def __init__"),  # moved to the end of the class
]
MEANING = [
    ("2.0 * x", "2.5 * x"),
    ("WIDTH = 4", "WIDTH = 5"),
    ("kernel = 3", "kernel = 5"),
    ("depth=2", "depth=3"),
    ("slope=0.5", "slope=0.25"),
    ("torch.where", "torch.maximum"),
    ("(1, 2)", "(1, 3)"),
    ("class Net(Base)", "class Net(nn.Module)"),
    ("ValueError", "TypeError"),
    (" - 1", " - 2"),
    ("super().forward(x) - 1", "super().forward(x) + 1"),
]


@pytest.mark.parametrize(("old", "new"), LAYOUT)
def test_digest__layout_does_not_count(of_file: Any, old: str, new: str) -> None:
    changed = NET.replace(old, new)
    if "kernel" not in changed:
        changed = changed.replace("helper(x) if x.ndim else x\n", "helper(x) if x.ndim else x\n\n        kernel = 3\n")
    first, second = of_file(NET), of_file(changed)
    assert changed != NET and changed.count("kernel") == 1
    for name in ("Net", "build", "helper"):
        assert digest_of(first[name]) == digest_of(second[name])


@pytest.mark.parametrize(("old", "new"), MEANING)
def test_digest__whatever_code_does_counts(of_file: Any, old: str, new: str) -> None:
    assert NET.count(old) == 1
    assert digest_of(of_file(NET)["build"]) != digest_of(of_file(NET.replace(old, new))["build"])


def test_digest__what_is_not_referred_to_does_not_count(of_file: Any) -> None:
    more = NET + "\n    def other(x):\n        return 7\n"
    assert digest_of(of_file(NET)["build"]) == digest_of(of_file(more)["build"])


def test_digest__a_cell_of_a_notebook_and_a_file_are_equal(of_file: Any) -> None:
    assert digest_of(of_file(NET)["build"]) == digest_of(of_cell(NET)["build"])
    bare: dict[str, Any] = {}
    exec(textwrap.dedent(NET), bare)  # without even a module's name
    other: dict[str, Any] = {}
    exec(textwrap.dedent(NET.replace("2.0 * x", "2.5 * x")), other)
    assert digest_of(bare["helper"]) == digest_of(of_file(NET)["helper"])
    assert digest_of(bare["Net"]) != digest_of(other["Net"])


# ---- what code refers to ----


def test_digest__functions_of_modules_that_are_used_count(of_file: Any) -> None:
    """However they are imported; other functions and comments of these modules do not."""
    ways = [
        "import tools\ndef f(x):\n    return tools.scale(x)\n",
        "from tools import scale\ndef f(x):\n    return scale(x)\n",
        "from tools import *\ndef f(x):\n    return scale(x)\n",
        "def f(x):\n    import tools\n    return tools.scale(x)\n",
        "def f(x):\n    from tools import scale\n    return scale(x)\n",
        "def f(x):\n    return (lambda y: again(y))(x)\ndef again(y):\n    import tools as t\n    return t.scale(y)",
    ]
    for way in ways:
        deep = "def twice(x):\n    return 2 * x\n"
        tools = "import deep\ndef scale(x):\n    return deep.twice(x)\n\ndef unused(x):\n    return 1\n"

        def digest(way: str = way, tools: str = tools, deep: str = deep) -> str:
            for name in ("tools", "deep"):
                sys.modules.pop(name, None)
            of_file("", deep=deep, tools=tools)
            sys.path_importer_cache.clear()
            return digest_of(of_file(way)["f"])

        first = digest()
        assert first == digest(tools=tools.replace("return 1", "return 2") + "# a comment\n"), way
        assert first != digest(tools=tools.replace("deep.twice(x)", "deep.twice(x) + 1")), way
        assert first != digest(deep=deep.replace("2 * x", "3 * x")), way


def test_digest__names_that_wraps_has_copied_do_not_hide_code(of_file: Any) -> None:
    source = """
        import functools, torch
        @functools.wraps(torch.nn.functional.mse_loss)
        def loss(student, target):
            return 2 * torch.nn.functional.mse_loss(student, target)
        @functools.lru_cache
        def cached(x):
            return 2 * x
        @torch.no_grad()
        def decorated(x):
            return 2 * x
    """
    first, second = of_file(source), of_file(source.replace("2 *", "3 *"))
    for name in ("loss", "cached", "decorated"):
        assert digest_of(first[name]) == digest_of(of_file("\n\n" + source)[name]), name
        assert digest_of(first[name]) != digest_of(second[name]), name


def test_digest__closures_and_defaults_count() -> None:
    def made(delta: Any, default: Any = 1) -> Any:
        def loss(student: Any, target: Any = default) -> Any:
            return delta * (student - target)

        return loss

    assert digest_of(made(0.5)) == digest_of(made(0.5))
    values = [0.5, 0.25, 1, True, 1.0, "1", b"1", None, -0.0, 0.0, (1,), [1], {1}, {1: 1}, np.ones(1), torch.ones(1)]
    digests = [digest_of(made(value)) for value in values] + [digest_of(made(0.5, 2))]
    assert len(set(digests)) == len(digests)


def test_digest__what_is_not_assigned_yet_does_not_fail() -> None:
    def early() -> Any:
        return later

    digest = digest_of(early)
    later = 1
    assert digest != digest_of(early)


def test_digest__lambdas_of_one_line_differ() -> None:
    first, second = (lambda x: x + 1), (lambda x: x + 2)
    assert digest_of(first) != digest_of(second)
    assert digest_of(first) == digest_of(lambda x: x + 1)


def test_digest__attributes_of_functions_and_methods_count() -> None:
    def with_delta(delta: float) -> Any:
        def loss(x: Any) -> Any:
            return x

        loss.delta = delta  # type: ignore[attr-defined]
        return loss

    class Scale:
        def __init__(self, by: float) -> None:
            self.by = by

        def __call__(self, x: Any) -> Any:
            return x * self.by

        def method(self, x: Any) -> Any:
            return x

    assert digest_of(with_delta(1.0)) != digest_of(with_delta(2.0))
    assert digest_of(Scale(1.0)) == digest_of(Scale(1.0)) != digest_of(Scale(2.0))
    assert digest_of(Scale(1.0).method) != digest_of(Scale(2.0).method)
    assert digest_of(torch.ones(2).matmul) == digest_of(torch.ones(2).matmul) != digest_of(torch.zeros(2).matmul)
    assert digest_of({"a": 1}.get) != digest_of({"a": 2}.get)


def test_digest__partials_count_whole() -> None:
    part = functools.partial
    values = [part(max), part(min), part(max, 1), part(max, 2), part(max, default=1), part(max, default=2)]
    assert len({digest_of(value) for value in values}) == len(values)
    assert digest_of(part(max, default=1, key=len)) == digest_of(part(max, key=len, default=1))


def test_digest__installed_functions_count_by_name() -> None:
    values = [torch.tanh, torch.sigmoid, np.tanh, nn.Linear, nn.Bilinear, nn.functional.gelu, nn.functional.mse_loss]
    assert len({digest_of(value) for value in values}) == len(values)


def test_digest__cycles_of_functions_and_classes(of_file: Any) -> None:
    source = """
        def even(n):
            return n == 0 or odd(n - 1)
        def odd(n):
            return n != 0 and even(n - 1)
        class Tree:
            def grow(self):
                return Tree()
            def other(self):
                return Leaf()
        class Leaf(Tree):
            def up(self):
                return super().grow(), Tree
    """
    turned = """
        class Tree:
            def other(self):
                return Leaf()
            def grow(self):
                return Tree()
        class Leaf(Tree):
            def up(self):
                return super().grow(), Tree
        def odd(n):
            return n != 0 and even(n - 1)
        def even(n):
            return n == 0 or odd(n - 1)
    """
    first, second = of_file(source), of_file(turned)
    changed = of_file(source.replace("n != 0", "n > 0").replace("super().grow(), Tree", "super().grow()"))
    for name in ("even", "odd", "Tree", "Leaf"):
        assert digest_of(first[name]) == digest_of(second[name]), name
        assert digest_of(first[name]) != digest_of(changed[name]), name
    assert digest_of([first["even"], first["odd"]]) == digest_of([second["even"], second["odd"]])
    both = {"a": first["even"], "b": first["odd"]}, {"b": second["odd"], "a": second["even"]}
    assert digest_of(both[0]) == digest_of(both[1])


def test_digest__cycles_of_values() -> None:
    one: list[Any] = [1]
    one.append(one)
    other: list[Any] = [1]
    other.append(other)
    longer: list[Any] = [1, [1]]
    longer[1].append(longer)
    assert digest_of(one) == digest_of(other) != digest_of(longer)


# ---- data ----


class Mode(Enum):
    SLOW = 1


def test_digest__order_counts_where_it_matters() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of({"x", "yy", "zzz", 4}) == digest_of({4, "zzz", "yy", "x"})
    assert digest_of([1, 2]) != digest_of([2, 1])
    assert digest_of(OrderedDict(a=1, b=2)) != digest_of(OrderedDict(b=2, a=1))


def test_digest__of_enums_and_containers_with_more_than_their_elements() -> None:
    class Slower(Enum):
        SLOW = 2

    Slower.__qualname__ = "Mode"
    point = functools.partial(types.SimpleNamespace, x=1)
    values = [Mode.SLOW, Slower.SLOW, Mode, Slower, point(), point(y=1), np.ma.masked_equal([1, 2], 2)]
    values += [np.array([1, 2]), np.ma.masked_equal([1, 2], 1), types.MappingProxyType({"a": 1}), [Mode.SLOW]]
    assert len({digest_of(value) for value in values}) == len(values)


def test_digest__of_arrays_and_tensors() -> None:
    base = np.arange(6, dtype=np.float32)
    values = [base, base.reshape(2, 3), base.reshape(3, 2), base.astype(np.float64), base.astype(np.int32), base[:5]]
    values += [base + 1e-7, base.astype(object), base.astype("datetime64[D]"), np.array(1.0), np.array([1.0])]
    tensors = [torch.from_numpy(base), torch.from_numpy(base).bfloat16(), torch.from_numpy(base).requires_grad_()]
    tensors += [torch.tensor(1.0), torch.tensor([1.0]), torch.tensor([1j]), torch.tensor([1j]).conj(), torch.ones(0)]
    tensors += [torch.eye(3).to_sparse(), torch.empty(2, device="meta"), torch.empty(3, device="meta")]
    assert len({digest_of(value) for value in [*values, *tensors]}) == len(values) + len(tensors)
    assert digest_of(np.asfortranarray(base.reshape(2, 3))) == digest_of(base.reshape(2, 3))
    assert digest_of(torch.arange(6.0)[::2]) == digest_of(torch.tensor([0.0, 2.0, 4.0]))


def test_digest__large_arrays_are_not_copied() -> None:
    array = np.ones(2**22)
    tracemalloc.start()
    digest_of([array, torch.from_numpy(array)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes / 4


def test_digest__of_modules() -> None:
    def net(seed: int, norm: bool = True) -> nn.Sequential:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4) if norm else nn.Identity(), nn.Linear(4, 4))

    first, shown, still, hooked = net(0), net(0), net(0), net(0)
    shown(torch.ones(5, 3))  # moves the running mean
    still[0].weight.requires_grad_(False)
    hooked[0].register_forward_hook(lambda *_: None)
    values = [
        first,
        net(1),
        net(0, norm=False),
        shown,
        still,
        net(0).eval(),
        hooked,
        nn.LazyLinear(4),
        nn.LazyLinear(5),
    ]
    assert digest_of(net(0)) == digest_of(first)
    assert len({digest_of(value) for value in values}) == len(values)


def test_digest__shared_weights_are_others_than_equal_ones() -> None:
    def net(tied: bool) -> nn.Module:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        module[1].weight = module[0].weight if tied else nn.Parameter(module[0].weight.detach().clone())
        return module

    assert digest_of(net(True)) == digest_of(net(True)) != digest_of(net(False))


def test_digest__the_order_of_layers_counts() -> None:
    relu, norm = nn.ReLU(), nn.LayerNorm(4)
    first = nn.Sequential(OrderedDict(a=relu, b=norm))
    second = nn.Sequential(OrderedDict(b=norm, a=relu))
    assert digest_of(first) != digest_of(second)


# ---- what has no content ----


def test_digest__what_has_no_content_is_one_line() -> None:
    class Holder:
        def __init__(self, value: object) -> None:
            self.value = value

    with tempfile.TemporaryFile() as file:
        for value in (file, threading.Lock(), (each for each in range(3)), sys._getframe()):
            for given in (value, Holder(value), [value], functools.partial(print, value)):
                with pytest.raises(Unidentifiable) as error:
                    digest_of(given)
                assert str(error.value) == f"a {type(value).__qualname__} has no content that can be compared"


def test_digest__a_lock_that_code_refers_to_counts_by_its_type_and_all_around_it_by_content() -> None:
    def made(lock: Any, weight: float) -> Any:
        holder = {"lock": lock, "weight": weight}
        return lambda x: holder["weight"] * x

    assert digest_of(made(threading.Lock(), 1.0)) == digest_of(made(threading.Lock(), 1.0))
    assert digest_of(made(threading.Lock(), 1.0)) != digest_of(made(threading.Lock(), 2.0))


def test_digest__too_deep_is_one_line() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(Unidentifiable, match=r"^a list refers too deeply to be compared$"):
        digest_of(deep)


# ---- other processes ----


def test_digest__is_the_same_in_every_process(of_file: Any, tmp_path: Path) -> None:
    """As a script, as a module that it imports, and here; with other orders of sets and other addresses."""
    source = textwrap.dedent(NET) + textwrap.dedent("""
        KINDS = {"a", "b", "c", "d", helper}

        def wide(x, kinds=frozenset({"k", "l", "m"})):
            return x in {"one", "two", "three"} or x in KINDS or x in kinds
        """)
    show = "from peers.base.content import digest_of\nprint(digest_of(build), digest_of(wide), digest_of(Net))\n"
    (tmp_path / "script.py").write_text(source + show)
    (tmp_path / "part.py").write_text(source)
    (tmp_path / "other.py").write_text("from part import build, wide, Net\n" + show)
    here = of_file(source)
    expected = " ".join(digest_of(here[name]) for name in ("build", "wide", "Net"))
    root = str(Path(__file__).parents[3])
    processes = []
    for script, seed in (("script.py", "1"), ("other.py", "2")):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root}
        command, pipe = [sys.executable, script], subprocess.PIPE
        processes.append(subprocess.Popen(command, cwd=tmp_path, env=env, stdout=pipe, stderr=pipe, text=True))
    for process in processes:
        found, errors = process.communicate(timeout=120)
        assert found.strip() == expected, errors
