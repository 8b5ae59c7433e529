import numpy as np
import pytest

from topologies.accounts import sums
from topologies.accounts.sums import Histogram, KeyedSums


@pytest.mark.parametrize("buffered", [1, 7, 1000])
def test_keyed_sums__those_of_a_dict(buffered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "BUFFERED", buffered)
    rng, found = np.random.default_rng(0), KeyedSums(2, 1)
    expected: dict[int, list[float]] = {}
    for key, value in zip(rng.integers(0, 9, 100).tolist(), rng.normal(size=100).tolist(), strict=True):
        found.add(key, 1, value, value)
        row = expected.setdefault(key, [0, 0.0, -np.inf])
        expected[key] = [row[0] + 1, row[1] + value, max(row[2], value)]
    found.extend(np.array([3]), np.array([[1.0, 100.0, 100.0]]))
    expected[3] = [expected[3][0] + 1, expected[3][1] + 100, 100.0]
    keys, table = found.table()
    assert keys.tolist() == sorted(expected)
    assert np.allclose(table, [expected[key] for key in sorted(expected)])


def test_keyed_sums__nothing() -> None:
    keys, table = KeyedSums(1, 1).table()
    assert len(keys) == 0 and table.shape == (0, 2)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_histogram__figures(logarithmic: bool) -> None:
    histogram, values = Histogram(logarithmic), np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 40], 25))
    for value in values.tolist():
        histogram.add(value)
    assert histogram.figures() == pytest.approx({"mean": 10.75, "p50": 1, "p95": 40, "max": 40})
    assert histogram.bins().tolist() == [[0, 25], [1, 25], [2, 25], [40, 25]]


def test_histogram__quantiles_of_times_are_close() -> None:
    histogram, values = Histogram(logarithmic=True), np.random.default_rng(0).lognormal(0, 2, 5000)
    for value in values.tolist():
        histogram.add(value)
    for share in (0.05, 0.5, 0.95):
        assert histogram.quantile(share) == pytest.approx(np.quantile(values, share), rel=0.05)


def test_histogram__nothing() -> None:
    assert Histogram(True).figures() == {"mean": None, "p50": None, "p95": None, "max": None}
    assert Histogram(True).quantile(0.5) is None
