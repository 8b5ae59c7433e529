"""Reference implementations of other people."""

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def byzfl() -> Iterator[ModuleType]:
    """byzfl's rules and attacks, by their names, without its benchmark, which needs seaborn."""
    spec = importlib.util.find_spec("byzfl")
    if spec is None:
        pytest.skip("byzfl, the reference for robust rules, is not installed: pip install byzfl")
    package = types.ModuleType("byzfl")
    package.__path__ = list(spec.submodule_search_locations or [])
    before = sys.modules.get("byzfl")
    sys.modules["byzfl"] = package
    found = types.ModuleType("rules_and_attacks")
    for name in ("byzfl.aggregators.aggregators", "byzfl.attacks.attacks"):
        vars(found).update({key: value for key, value in vars(importlib.import_module(name)).items() if key[0] != "_"})
    yield found
    for name in [each for each in sys.modules if each.partition(".")[0] == "byzfl"]:
        del sys.modules[name]
    if before is not None:
        sys.modules["byzfl"] = before
