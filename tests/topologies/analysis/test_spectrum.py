"""The second eigenvalue of averaging without symmetry, against all eigenvalues, closed forms and brute force."""

import numpy as np
import pytest
from jaxtyping import Float
from pytest import approx
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence

from topologies import schedule
from topologies.analysis import agreement, spectrum
from topologies.analysis.measures import describe
from topologies.facts import TopologyFacts
from topologies.round import Round

Matrix = Float[np.ndarray, "peers peers"]


def one_way_ring(num_peers: int, chord: float = 0.2) -> Matrix:
    """Each peer hears the one before it, and peer 0 also the one half way round."""
    matrix = (np.eye(num_peers) + np.roll(np.eye(num_peers), 1, axis=0)) / 2
    matrix[0, num_peers // 2] = chord
    return matrix / matrix.sum(axis=1, keepdims=True)


def random_links(num_peers: int, seed: int) -> Matrix:
    """A one-way ring of uneven weights, with a few links across."""
    rng = np.random.default_rng(seed)
    matrix = np.diag(rng.uniform(0.1, 1, num_peers)) + np.roll(np.diag(rng.uniform(0.1, 1, num_peers)), 1, axis=0)
    for student, teacher in rng.integers(0, num_peers, (num_peers // 20 + 1, 2)):
        matrix[student, teacher] += rng.uniform(0, 0.3)
    return matrix / matrix.sum(axis=1, keepdims=True)


def drift(num_peers: int, back: float) -> Matrix:
    """A path whose peers hear more from one side: eigenvalues 1 and 0.5 + 2 sqrt(back (0.5 - back)) cos(k pi / n)."""
    index = np.arange(num_peers)
    matrix = np.eye(num_peers) / 2
    np.add.at(matrix, (index, np.maximum(index - 1, 0)), 0.5 - back)
    np.add.at(matrix, (index, np.minimum(index + 1, num_peers - 1)), back)
    return matrix


def dense_gap(matrix: Matrix) -> float:
    return float(1 - np.sort(np.abs(np.linalg.eigvals(matrix)))[-2])


def facts_of(matrix: Matrix) -> TopologyFacts:
    return describe(schedule.static(Round.from_mixing(matrix)))


def no_dense(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(agreement, "DENSE_PEERS", 0)
    patch.setattr(spectrum, "WHOLE_PEERS", 0)


def rounds_by_products(matrix: Matrix, most: int = 5_000) -> int | None:
    product = np.eye(len(matrix))
    for count in range(1, most):
        product = matrix @ product
        if np.linalg.norm(product - product.mean(axis=0), 2) <= 1e-3:
            return count
    return None


def test_describe__one_way_ring_with_a_chord_is_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = one_way_ring(60)
    count, gap = rounds_by_products(ring), dense_gap(ring)
    no_dense(monkeypatch)
    facts = facts_of(ring)
    assert facts.spectral_gap == approx(gap, rel=1e-6) and gap == approx(0.00547, rel=1e-2)
    assert count is not None and (facts.rounds_over or 0) < count < 1.05 * (facts.rounds_over or 0)


@pytest.mark.parametrize("whole", [0, 1_000])
def test_describe__one_way_ring_of_600_is_dense(whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "WHOLE_PEERS", whole)
    ring = one_way_ring(600)
    gap = dense_gap(ring)
    facts = facts_of(ring)
    assert facts.spectral_gap == approx(gap, rel=1e-6) and gap == approx(5.48e-5, rel=1e-2)
    assert facts.rounds_to is None and facts.rounds_over == approx(np.log(1e3) / gap, rel=1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_second_modulus__is_dense_or_not_known(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = random_links((40, 70, 150)[seed % 3], seed)
    rounds = (Round.from_mixing(matrix),)
    whole = spectrum.second_modulus(rounds, symmetric=False)
    no_dense(monkeypatch)
    sparse = spectrum.second_modulus(rounds, symmetric=False)
    assert whole is not None and 1 - whole == approx(dense_gap(matrix), rel=1e-6)
    assert sparse is not None and 1 - sparse == approx(dense_gap(matrix), rel=1e-6)


@pytest.mark.parametrize("whole", [0, 1_000])
def test_second_modulus__is_not_known_where_rounding_decides(whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dense eigenvalues themselves are wrong here: 0.985 instead of less than 0.9."""
    monkeypatch.setattr(spectrum, "WHOLE_PEERS", whole)
    matrix = drift(600, 0.1)
    assert spectrum.second_modulus((Round.from_mixing(matrix),), symmetric=False) is None
    facts = facts_of(matrix)
    assert facts.rounds_to is None and facts.rounds_over == agreement.FOLLOWED


@pytest.mark.slow
def test_describe__few_peers_are_measured_where_rounding_decides() -> None:
    """By the mean contraction until agreement; the dense gap is 0.03, the true one 0.1."""
    matrix = drift(300, 0.1)
    facts = facts_of(matrix)
    assert facts.rounds_to == rounds_by_products(matrix)
    assert facts.spectral_gap == approx(1 - 1e-3 ** (1 / (facts.rounds_to or 1)), rel=1e-9)


@pytest.mark.parametrize("error", [ArpackNoConvergence("stuck", np.array([]), np.array([])), RuntimeError("singular")])
def test_describe__measures_where_no_eigenvalue_is_found(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error if isinstance(error, ArpackError) or "sigma" in __ else ArpackNoConvergence("stuck", [], [])

    no_dense(monkeypatch)
    monkeypatch.setattr(spectrum, "eigs", fails)
    matrix = random_links(40, 0)
    facts = facts_of(matrix)
    assert facts.spectral_gap == approx(dense_gap(matrix), rel=0.2)
    assert facts.rounds_to == rounds_by_products(matrix)  # not so few that a rough estimate would see the end
