"""The import rules of the packages and their rooms, read from their syntax trees, and the sizes of what is in them."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for package in ("topologies", "peers", "coordinator") for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
FORBIDDEN = {
    "topologies": {"peers", "coordinator", "torch", "torchvision", "ray", "mlflow"},
    "peers": {"topologies", "coordinator", "mlflow"},
    "coordinator": set(),
}
ONLY_IN = {
    "mlflow": {"coordinator/records/tracking/mlflow.py"},
    "ray": {"peers/hosting/actor.py", "coordinator/pools", "coordinator/commands", "coordinator/ablations/runs"},
}
FLOORS = {  # by folder: its rooms import from themselves and from lower floors; "": the modules beside the rooms
    "topologies": [{""}, {"analysis", "worlds"}, {"network"}, {"accounts"}],
    "peers": [
        {"base"},
        {"attacks", "partitions", "pooling", "views"},
        {"data"},
        {"networks", "exchange"},
        {"probing"},
        {"learning"},
        {"hosting"},
    ],
    "peers/data": [{"formats"}, {""}],
    "peers/learning": [{""}, {"vectorised"}],
    "coordinator": [
        {"experiment"},
        {"planning"},
        {"pools", "measures"},
        {"scheduling"},
        {"records"},
        {"reports", "checkpoints"},
        {"pages", "documents", "figures"},
        {"run", "watching"},
        {"commands", "ablations"},
        {""},
    ],
    "coordinator/pools": [{"forking"}, {""}],
    "coordinator/records": [{""}, {"files"}, {"tracking"}],
    "coordinator/documents": [{"readers"}, {""}],
    "coordinator/ablations": [{"grids"}, {"runs"}, {"comparisons"}, {"figures"}, {""}],
}
LONGEST_FILE, LONGEST_FUNCTION, LONGEST_PAGE = 300, 40, 45
FEW_MODULES = 4


def trees() -> Iterator[tuple[str, ast.Module]]:
    for name, path in MODULES.items():
        yield name, ast.parse(path.read_text())


def imported(tree: ast.Module) -> set[str]:
    """What a source imports, at its top, in functions and for type checkers alike: modules, and names in them."""
    nodes = list(ast.walk(tree))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    assert not any(node.level for node in parts), "imports are absolute"
    return plain | {f"{node.module}.{alias.name}" for node in parts for alias in node.names}


@cache
def links() -> set[tuple[str, str]]:
    """(module, module that it imports), within the packages."""
    found = set()
    for name, tree in trees():
        for each in imported(tree):
            target = each if each in MODULES else each.rpartition(".")[0]
            if target in MODULES and MODULES[target].stat().st_size:  # an empty __init__ is a folder, nothing else
                found.add((name, target))
    return found


def rooms_in(folder: str) -> dict[str, str]:
    """The room of each module of a folder; "" beside the rooms."""
    inside = {
        name: path.relative_to(ROOT / folder).parts for name, path in MODULES.items() if ROOT / folder in path.parents
    }
    return {name: parts[0] if len(parts) > 1 else "" for name, parts in inside.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers__packages_import_one_way(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    found = {each.split(".")[0] for each in imported(ast.parse(path.read_text()))}
    assert not found & FORBIDDEN[name.split("/")[0]]
    for package, places in ONLY_IN.items():
        assert package not in found or any(name.startswith(place) for place in places)


@pytest.mark.parametrize("folder", FLOORS)
def test_layers__rooms_import_downwards(folder: str) -> None:
    rooms = rooms_in(folder)
    floors = {room: floor for floor, each in enumerate(FLOORS[folder]) for room in each}
    assert {room for name, room in rooms.items() if MODULES[name].stat().st_size} == set(
        floors
    )  # __init__ may be empty
    upwards = [
        (source, target)
        for source, target in sorted(links())
        if source in rooms and target in rooms and rooms[source] != rooms[target]
        if floors[rooms[source]] <= floors[rooms[target]]
    ]
    assert upwards == []


def test_layers__no_circles() -> None:
    assert list(nx.simple_cycles(nx.DiGraph(links()))) == []


def test_layers__every_package_is_read() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(FORBIDDEN)
    with_rooms = {path.parents[1].relative_to(ROOT).as_posix() for path in FILES} - {"."}
    assert with_rooms == set(FLOORS)


def test_layers__every_folder_is_a_package() -> None:
    """Else a wheel is built without it."""
    assert {path.parent for path in FILES} == {path.parent for path in FILES if path.name == "__init__.py"}


def test_layers__files_and_functions_are_short() -> None:
    long = [name for name, path in MODULES.items() if len(path.read_text().splitlines()) > LONGEST_FILE]
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION:
                    long.append(f"{name}.{node.name}")
    assert long == []


def test_layers__every_room_has_a_page_that_names_its_modules() -> None:
    """Of one screen; a room of few modules needs none."""
    for folder in {path.parent for path in FILES}:
        modules = sorted(path.name for path in folder.glob("*.py") if not path.name.startswith("__"))
        page = folder / "README.md"
        if len(modules) <= FEW_MODULES and not page.exists():
            continue
        text = page.read_text()
        assert len(text.splitlines()) <= LONGEST_PAGE, page
        assert [name for name in modules if f"`{name}`" not in text] == [], page
        named = {name for name in re.findall(r"`([a-z_]+\.py)`", text)}
        assert named - {path.name for path in FILES} - {path.name for path in TESTS} == set(), page


def test_imported__finds_nested_and_dotted() -> None:
    tree = ast.parse("import a.b\ndef f():\n    from c.d import e\n    import g as h\n")
    assert imported(tree) == {"a.b", "c.d.e", "g"}
