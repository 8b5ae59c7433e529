"""Under the null, also where the peers of a run agree, an interval excludes 0 about as rarely as it says."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def coverage() -> Any:
    spec = importlib.util.spec_from_file_location("coverage_of_intervals", BENCHMARKS / "coverage.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("arms", ["independent", "0.5 in common", "one function", "one function, control another"])
def test_gain_interval__is_as_wide_as_it_says(coverage: Any, arms: str):
    trials, cell = 300, (8, 2000, 0.01, 0.9)
    peers, images, spread, accuracy = cell
    found = coverage.verdicts(trials, 0.0, [arms], ((peers,), (images,), (spread,), (accuracy,)))
    assert found["now", arms, *cell] <= 0.085 * trials  # 5% nominal, and 2.8 standard errors
    as_before = found["before", arms, *cell] / trials
    assert as_before > 0.1 or arms == "independent"  # what agreement does to an interval that does not know of it


def test_gain_interval__finds_a_gain_of_four_points_where_half_is_in_common(coverage: Any):
    trials, cell = 100, (8, 2000, 0.005, 0.9)
    arms = "0.5 in common"
    found = coverage.verdicts(trials, 0.04, [arms], ((8,), (2000,), (0.005,), (0.9,)))
    assert found["now", arms, *cell] >= 0.9 * trials
