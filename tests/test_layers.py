"""The import rules of the three packages, read from their syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for package in ("topologies", "peers", "coordinator") for path in (ROOT / package).rglob("*.py"))
FORBIDDEN = {
    "topologies": {"peers", "coordinator", "torch", "torchvision", "ray", "mlflow"},
    "peers": {"topologies", "coordinator", "mlflow"},
    "coordinator": set(),
}
ONLY_IN = {
    "mlflow": {"coordinator/tracking.py"},
    "ray": {
        "peers/actor.py",
        "coordinator/cluster.py",
        "coordinator/nodes.py",
        "coordinator/placement.py",
        "coordinator/ray_pool.py",
        "coordinator/shipping.py",
        "coordinator/side_by_side.py",
        "coordinator/submit.py",
    },
}


def imported(source: str) -> set[str]:
    """Top-level packages that a source imports, at its top, in functions and for type checkers alike."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in nodes), "imports are absolute"
    parts = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in plain | parts}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers__imports_go_one_way(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    found = imported(path.read_text())
    assert not found & FORBIDDEN[name.split("/")[0]]
    for package, places in ONLY_IN.items():
        assert package not in found or name in places


def test_layers__every_package_is_read() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(FORBIDDEN)


def test_imported__finds_nested_and_dotted() -> None:
    assert imported("import a.b\ndef f():\n    from c.d import e\n    import g as h\n") == {"a", "c", "g"}
