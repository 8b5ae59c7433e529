"""Consensus, collapse and similarity measures against published tables, scipy and the direct definitions."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from scipy import special, stats
from scipy.spatial import distance

from coordinator.measures import consensus
from peers.probing import spectra

Outputs = Float[np.ndarray, "peers examples dim"]

FLEISS_TABLE = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]  # ratings by 14 raters of 10 subjects in 5 categories: kappa 0.210


def _normal(*shape: int, seed: int = 0) -> Outputs:
    return np.random.default_rng(seed).normal(size=shape)


def _gram(features: Outputs) -> Float[np.ndarray, "peers examples examples"]:
    wide = features.astype(np.float64)  # as the peers do: float32 noise would pass for small singular values
    with np.errstate(invalid="ignore"):
        return wide @ wide.transpose(0, 2, 1)


def _ratings() -> Outputs:
    winners = np.array([np.repeat(np.arange(5), row) for row in FLEISS_TABLE]).T
    return np.eye(5)[winners]


def test_probabilities__matches_definition_and_keeps_dtype():
    outputs = _normal(2, 3, 4).astype(np.float32)
    probs = consensus.probabilities(outputs, 0.5)
    assert probs.dtype == np.float32
    weights = np.exp(outputs / 0.5)
    np.testing.assert_allclose(probs, weights / weights.sum(axis=2, keepdims=True), rtol=1e-5)


def test_consensus_distance__is_half_the_mean_squared_distance_of_all_ordered_pairs():
    outputs = _normal(5, 4, 3)
    xi = consensus.consensus_distance(outputs)
    with_itself = [np.square(a - b).sum() for a, b in itertools.product(outputs, repeat=2)]
    distinct = [np.square(a - b).sum() for a, b in itertools.combinations(outputs, 2)]
    assert np.mean(with_itself) == pytest.approx(2 * xi)
    assert np.mean(distinct) == pytest.approx(2 * xi * 5 / 4)


def test_consensus_distance__near_consensus_does_not_cancel():
    outputs = np.full((4, 2, 3), 1e4, dtype=np.float32)
    outputs[0, 0, 0] += np.float32(0.125)
    assert consensus.consensus_distance(outputs) == pytest.approx(0.125**2 / 4 * 3 / 4, rel=1e-9)


def test_relative_consensus_distance__hand_value_and_scale():
    outputs = np.array([[[1.0, -1.0], [0.0, 0.0]], [[0.0, 0.0], [5.0, 5.0]]])  # Xi^2: 0.5; energies: 2 and 0
    assert consensus.relative_consensus_distance(outputs) == pytest.approx(0.5)
    assert consensus.relative_consensus_distance(1e-3 * outputs) == pytest.approx(0.5)


@given(seed=st.integers(0, 999), num_peers=st.integers(2, 5))
def test_relative_consensus_distance__in_0_to_1_and_blind_to_what_softmax_does_not_see(seed: int, num_peers: int):
    outputs = _normal(num_peers, 4, 3, seed=seed)
    shifted = outputs + 100 * _normal(num_peers, 4, 1, seed=seed + 1)
    relative = consensus.relative_consensus_distance(shifted)
    assert 0 <= relative <= 1
    assert relative == pytest.approx(consensus.relative_consensus_distance(outputs), rel=1e-9)


def test_relative_consensus_distance__independent_peers_approach_one_less_one_nth():
    assert consensus.relative_consensus_distance(_normal(4, 200, 500)) == pytest.approx(3 / 4, rel=0.02)
    assert np.isnan(consensus.relative_consensus_distance(np.ones((2, 3, 4))))


def test_generalised_js__two_peers_match_scipy():
    probs = consensus.probabilities(_normal(2, 6, 5), 1.0)
    expected = np.square(distance.jensenshannon(probs[0], probs[1], axis=1)).mean()
    assert consensus.generalised_js(probs) == pytest.approx(expected)


def test_generalised_js__is_the_mean_kl_to_the_mixture():
    probs = consensus.probabilities(_normal(7, 6, 5), 0.3)
    expected = np.mean([stats.entropy(peer, probs.mean(axis=0), axis=1).mean() for peer in probs])
    assert consensus.generalised_js(probs) == pytest.approx(expected)


@given(num_peers=st.integers(2, 6), temperature=st.floats(0.05, 20.0), seed=st.integers(0, 99))
def test_generalised_js__lies_between_0_and_ln_n(num_peers: int, temperature: float, seed: int):
    probs = consensus.probabilities(_normal(num_peers, 3, 4, seed=seed), temperature)
    assert 0.0 <= consensus.generalised_js(probs) <= np.log(num_peers) + 1e-12


def test_generalised_js__extremes():
    disjoint = np.repeat(np.eye(4)[:, None], 3, axis=1)
    assert consensus.generalised_js(disjoint) == pytest.approx(np.log(4))
    assert consensus.generalised_js(np.repeat(disjoint[:1], 4, axis=0)) == 0.0


def test_argmax_agreement__counts_equal_pairs():
    outputs = _normal(6, 20, 3)
    winners = outputs.argmax(axis=2)
    expected = np.mean([winners[i] == winners[j] for i, j in itertools.combinations(range(6), 2)])
    assert consensus.argmax_agreement(outputs) == pytest.approx(expected)


def test_fleiss_kappa__published_table():
    assert consensus.argmax_agreement(_ratings()) == pytest.approx(0.378, abs=5e-4)
    assert consensus.fleiss_kappa(_ratings()) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa__full_agreement_is_1_and_collapse_is_nan():
    assert consensus.fleiss_kappa(np.repeat(np.eye(4)[None], 3, axis=0)) == 1.0
    collapsed = np.zeros((3, 5, 4))
    collapsed[:, :, 2] = 1.0
    assert consensus.argmax_agreement(collapsed) == 1.0
    assert np.isnan(consensus.fleiss_kappa(collapsed))


def test_fleiss_kappa__independent_peers_are_near_0():
    assert consensus.fleiss_kappa(_normal(5, 4000, 4)) == pytest.approx(0.0, abs=0.01)


def test_edge_disagreement__is_total_variation_under_pinsker():
    probs = consensus.probabilities(_normal(3, 5, 4), 1.0)
    edges = np.array([[0, 1], [2, 0]])
    ours = consensus.edge_disagreement(probs, edges)
    for value, (i, j) in zip(ours, edges, strict=True):
        assert value == pytest.approx(distance.cdist(probs[i], probs[j], "cityblock").diagonal().mean() / 2)
        assert value <= np.sqrt(stats.entropy(probs[i], probs[j], axis=1) / 2).mean()
    assert consensus.edge_disagreement(np.eye(2)[:, None], np.array([[0, 1]])).tolist() == [1.0]
    assert consensus.edge_disagreement(probs, np.empty((0, 2), dtype=int)).shape == (0,)


def test_edge_squared_distance__edge_energy_equals_laplacian_form_and_its_bounds():
    graph = nx.cycle_graph(6)
    mixing = np.eye(6) / 3 + nx.to_numpy_array(graph) / 3
    outputs = _normal(6, 5, 4)
    energy = (consensus.edge_squared_distance(outputs, np.array(graph.edges)) / 3).sum()
    stacked = outputs.reshape(6, -1)
    assert energy == pytest.approx(np.trace(stacked.T @ (np.eye(6) - mixing) @ stacked))
    eigenvalues = np.linalg.eigvalsh(mixing)
    spread = 6 * consensus.consensus_distance(outputs)
    assert (1 - eigenvalues[-2]) * spread <= energy <= (1 - eigenvalues[0]) * spread


def test_entropies__match_scipy():
    probs = consensus.probabilities(_normal(3, 8, 5), 0.5)
    marginal, mean = stats.entropy(probs.mean(axis=1), axis=1), stats.entropy(probs, axis=2).mean(axis=1)
    np.testing.assert_allclose(consensus.marginal_entropy(probs), marginal)
    np.testing.assert_allclose(consensus.mean_entropy(probs), mean)
    np.testing.assert_allclose(consensus.mutual_information(probs), marginal - mean)


def test_scaled_information__is_free_of_scale_and_0_for_one_output():
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(1, 400, 6))
    shrunk = consensus.scaled_information(outputs * 1e-3 + 5)
    np.testing.assert_allclose(shrunk, consensus.scaled_information(outputs), rtol=1e-6)
    unit = (outputs - outputs.mean(axis=2, keepdims=True)) / (outputs - outputs.mean(axis=2, keepdims=True)).std()
    expected = consensus.mutual_information(consensus.probabilities(unit, 1.0))
    np.testing.assert_allclose(consensus.scaled_information(outputs), expected)
    assert expected[0] > 0.2
    constant = np.broadcast_to(rng.normal(size=6), (1, 400, 6))
    assert consensus.scaled_information(constant + 1e-4 * outputs)[0] < 1e-6
    assert consensus.scaled_information(np.zeros((1, 4, 6))).tolist() == [0.0]


def test_mutual_information__one_hot_uniform_and_balanced():
    one_hot, uniform = np.tile(np.eye(4)[0], (4, 1)), np.full((4, 4), 0.25)
    information = consensus.mutual_information(np.stack([one_hot, uniform, np.eye(4)]))
    np.testing.assert_allclose(information, [0.0, 0.0, np.log(4)], atol=1e-15)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_rankme__matches_svd_definition(shape: tuple[int, int]):
    features = _normal(2, *shape) * np.logspace(0, -3, shape[1])
    expected = []
    for peer in features:
        singular = np.linalg.svd(peer, compute_uv=False)
        shares = singular / singular.sum() + 1e-7
        expected.append(np.exp(-np.sum(shares * np.log(shares))))
    np.testing.assert_allclose(spectra.rankme(_gram(features)), expected, rtol=1e-6)


def test_rankme__orthogonal_features_count_dimensions_and_float32_adds_none():
    identity = np.eye(64, dtype=np.float32)[None, :, :5]
    low_rank = (_normal(1, 64, 2) @ _normal(1, 2, 50, seed=1)).astype(np.float32)
    grams = _gram(np.concatenate([identity.repeat(10, axis=2), low_rank]))
    ours = spectra.rankme(grams)
    assert ours[0] == pytest.approx(5.0, rel=1e-5)
    assert ours[1] <= 2.001


def test_rankme__zero_and_diverged_features():
    features = np.zeros((2, 4, 3))
    features[1, 0, 0] = np.nan
    np.testing.assert_array_equal(spectra.rankme(_gram(features)), [0.0, np.nan])


def test_participation_ratio__matches_covariance_eigenvalues():
    features = _normal(2, 30, 8) * np.arange(1, 9) + 5.0
    expected = []
    for peer in features:
        eigenvalues = np.linalg.eigvalsh(np.cov(peer.T))
        expected.append(eigenvalues.sum() ** 2 / np.square(eigenvalues).sum())
    grams = spectra.centre_gram(_gram(features))
    np.testing.assert_allclose(spectra.participation_ratio(grams), expected)
    assert spectra.participation_ratio(np.zeros((2, 3, 3))).tolist() == [0.0, 0.0]


def test_linear_cka__matches_feature_formula():
    features = _normal(3, 40, 6) + 2.0
    features[1] += 3.0 * features[0]
    ours = consensus.linear_cka(_gram(features))
    centred = features - features.mean(axis=1, keepdims=True)
    for i, j in itertools.product(range(3), repeat=2):
        x, y = centred[i], centred[j]
        expected = np.square(y.T @ x).sum() / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
        assert ours[i, j] == pytest.approx(expected)


def test_linear_cka__is_invariant_to_rotation_scale_and_shift():
    features = _normal(20, 5)
    rotation, _ = np.linalg.qr(_normal(5, 5, seed=1))
    pair = np.stack([features, 7.0 * features @ rotation + 1.0])
    np.testing.assert_allclose(consensus.linear_cka(_gram(pair)), np.ones((2, 2)))


def test_linear_cka__constant_features_have_no_similarity():
    ours = consensus.linear_cka(_gram(np.stack([_normal(20, 5), np.full((20, 5), 0.3)])))
    np.testing.assert_allclose(ours, [[1.0, np.nan], [np.nan, np.nan]])


def test_measures__float32_outputs_agree_with_float64():
    outputs = _normal(4, 10, 6)
    probs = special.softmax(outputs, axis=2)
    for function, argument in [
        (consensus.consensus_distance, outputs),
        (consensus.relative_consensus_distance, outputs),
        (consensus.generalised_js, probs),
        (consensus.mutual_information, probs),
    ]:
        np.testing.assert_allclose(function(argument.astype(np.float32)), function(argument), rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_measures__a_diverged_peer_gives_nan_or_inf_and_no_warning(bad: float):
    outputs = _normal(3, 6, 4)
    outputs[1, 2:4, 1:3] = bad
    probs = consensus.probabilities(outputs, 1.0)
    grams = _gram(outputs)
    scalars = [consensus.consensus_distance(outputs), consensus.relative_consensus_distance(outputs)]
    edges = consensus.edge_squared_distance(outputs, np.array([[0, 1], [0, 2]]))
    assert not np.isfinite([*scalars, edges[0]]).any()
    assert np.isfinite(edges[1])
    healthy = [0, 2]
    for measure in (spectra.rankme(grams), spectra.participation_ratio(grams)):
        assert np.isfinite(measure[healthy]).all() and not np.isfinite(measure[1])
    assert np.isnan(consensus.linear_cka(grams)[1]).all()
    assert np.isnan(consensus.generalised_js(probs))
    assert np.isnan(consensus.mutual_information(probs)).tolist() == [False, True, False]
