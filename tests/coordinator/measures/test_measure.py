"""The table of pairs: every two peers against hand values, whoever is linked with whom, once at the end."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from coordinator import load_config, simulate
from coordinator.measures import declared
from coordinator.measures.measure import Pairing, measure
from coordinator.measures.probe_table import ProbeTable
from coordinator.records.files.run_folder import RunFolder
from coordinator.records.files.tables import Tables
from coordinator.records.observer import Observers
from coordinator.records.recorder import Recorder
from coordinator.records.run_state import RunState
from coordinator.scheduling.synchronous import RoundRecord
from peers.probing import spectra
from peers.probing.observing import Observation, Observations, observe_all
from topologies import schedule

ALONE = schedule.self_taught


def seen(probs: list[list[float]], features: list[list[float]], failed: bool = False) -> Observation:
    """A peer whose softmax outputs are `probs` (examples, outputs)."""
    gram = np.array(features) @ np.array(features).T
    rank = spectra.rankme(gram[None])[0], spectra.participation_ratio(spectra.centre_gram(gram[None]))[0]
    outputs = np.log(np.array(probs, dtype=np.float32))
    return Observation(outputs, gram, float(rank[0]), float(rank[1]), 1.0, 0.0, failed)


def together(peers: list[Observation]) -> Observations:
    return Observations(dict(enumerate(peers)))


def summed(peers: dict[int, Observation]) -> Observations:
    """A host's answer where Gram matrices stay with it."""
    return observe_all({index: lambda each=each: each for index, each in peers.items()}, grams=False)


def pairs_of(observations: Observations) -> dict[tuple[int, int], dict[str, float]]:
    return measure(observations, ALONE(len(observations.peers))(0), 1.0)[1].pairs()


SURE, EVEN, TURNED = [[0.9, 0.1], [0.1, 0.9]], [[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.9], [0.9, 0.1]]
LINE, TWICE, SQUARE = [[1.0], [-1.0]], [[2.0], [-2.0]], [[1.0, 0.0], [0.0, 1.0]]


def test_measure__pairs_by_hand() -> None:
    peers = [seen(SURE, LINE), seen(EVEN, TWICE), seen(TURNED, SQUARE)]
    pairs = pairs_of(together(peers))
    assert list(pairs) == [(0, 1), (0, 2), (1, 2)]
    assert [each["total_variation"] for each in pairs.values()] == pytest.approx([0.4, 0.8, 0.4], abs=1e-6)
    # two examples, centred, span one direction: all Gram matrices are multiples of each other
    assert [each["cka"] for each in pairs.values()] == pytest.approx([1.0, 1.0, 1.0])


def test_measure__cka_of_pairs_of_orthogonal_features() -> None:
    """Centred features along two orthogonal patterns over four examples share nothing."""
    probs = [[0.5, 0.5]] * 4
    first, other = [[1.0], [1.0], [-1.0], [-1.0]], [[1.0], [-1.0], [1.0], [-1.0]]
    both = [[a[0], b[0]] for a, b in zip(first, other, strict=True)]
    pairs = pairs_of(together([seen(probs, each) for each in (first, other, both)]))
    # K_both = K_first + K_other, each of norm 4: <K_first, K_both> / (4 * 4 sqrt 2) = 1 / sqrt 2
    assert [each["cka"] for each in pairs.values()] == pytest.approx([0.0, 0.5**0.5, 0.5**0.5])
    assert [each["total_variation"] for each in pairs.values()] == [0.0, 0.0, 0.0]


def test_measure__pairs_leave_out_peers_that_failed_and_large_groups() -> None:
    peers = [seen(SURE, LINE), seen(EVEN, LINE, failed=True), seen(TURNED, LINE)]
    pairs = pairs_of(together(peers))
    assert list(pairs) == [(0, 2)] and pairs[0, 2]["total_variation"] == pytest.approx(0.8, abs=1e-6)
    assert pairs_of(together(peers[:2])) == {}  # one is left
    assert pairs_of(summed(dict(enumerate(peers)))) == {}


@pytest.mark.parametrize("failed", [(), (0, 4)])
def test_measure__many_peers_whose_kernels_their_hosts_have_summed(failed: tuple[int, ...]) -> None:
    """Same numbers as from all Gram matrices; the mean over pairs to rounding, everything else bit for bit."""
    rng = np.random.default_rng(0)
    peers = [
        seen(rng.dirichlet(np.ones(3), 6).tolist(), rng.normal(size=(6, 4)).tolist(), peer in failed)
        for peer in range(7)
    ]
    expected, _ = measure(together(peers), ALONE(7)(0), 1.0)
    found = []
    for hosts in ([range(7)], [(4, 5, 6), (0, 1, 2), (3,)], [(index,) for index in range(7)]):
        observations = Observations.of_hosts(summed({index: peers[index] for index in host}) for host in hosts)
        assert list(observations.peers) == list(range(7)) and observations.kernels is not None
        assert all(each.gram is None for each in observations.peers.values())
        found.append(measure(observations, ALONE(7)(0), 1.0)[0])
        assert found[-1].peers == expected.peers
    assert found[0].scalars == found[1].scalars == found[2].scalars, "the split over hosts shows"
    assert found[0].scalars.pop("cka") == pytest.approx(expected.scalars.pop("cka"), rel=1e-12)
    assert found[0].scalars == expected.scalars


def test_measure__constant_features_among_many_have_no_mean_cka() -> None:
    peers = [seen(SURE, LINE), seen(SURE, [[1.0], [1.0]]), seen(EVEN, TWICE)]
    for observations in (summed(dict(enumerate(peers))), together(peers)):
        assert np.isnan(measure(observations, ALONE(3)(0), 1.0)[0].scalars["cka"])


def test_measure__many_peers_that_have_all_failed_have_no_mean_cka() -> None:
    observations = summed({0: seen(SURE, LINE, failed=True), 1: seen(EVEN, TWICE, failed=True)})
    assert observations.kernels is None
    assert np.isnan(measure(observations, ALONE(2)(0), 1.0)[0].scalars["cka"])


def test_measure__scalars_are_the_declared_ones() -> None:
    scalars = measure(together([seen(SURE, LINE), seen(EVEN, TWICE)]), ALONE(2)(0), 1.0)[0].scalars
    assert list(scalars) == declared.scalar_names(2)
    assert scalars["agreement"] == 0.5 and scalars["mean_entropy"] == pytest.approx((0.325083 + np.log(2)) / 2)


@pytest.mark.parametrize("kinds", ["GROUP", "PEER"])
def test_measure__what_costs_too_much_for_so_many_peers_is_left_out(
    kinds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measures of the group and of each peer alike."""
    monkeypatch.setattr("coordinator.measures.declared.MAX_PAIRED", 2)
    first, *others = getattr(declared, kinds)
    costly = replace(first, cost=declared.Cost.PAIRS)
    monkeypatch.setattr(declared, kinds, (costly, *others))
    peers = [seen(SURE, LINE), seen(EVEN, TWICE), seen(TURNED, SQUARE)]
    two, three = (measure(together(peers[:count]), ALONE(count)(0), 1.0)[0] for count in (2, 3))
    assert two.scalars.keys() - three.scalars.keys() == {costly.name}
    assert costly.name not in three.peers[0] and others[0].name in three.scalars


def test_recorder__pairs_are_compared_when_tables_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    pairs = Pairing.pairs
    monkeypatch.setattr(Pairing, "pairs", lambda self: compared.append(self) or pairs(self))  # type: ignore[func-returns-value]
    folder = RunFolder(tmp_path, "run")
    observers, tables = Observers(), Tables(folder)
    observers.attach(tables)
    recorder = Recorder(RunState(), ProbeTable(("knn",)), observers, 1.0, tables.compare_later)
    plan, first = ALONE(2)(0), together([seen(SURE, LINE), seen(EVEN, LINE)])
    last = together([seen(SURE, LINE), seen(TURNED, LINE)])
    recorder.measured(0, first, plan)
    for completed, observations in ((1, first), (2, last), (3, None)):
        recorder.round(RoundRecord(completed, plan, {}, 0, observations), 0.0)
    assert compared == []
    tables.write()
    (row,) = pq.read_table(folder.path / "metrics" / "pairs.parquet").to_pylist()
    assert (len(compared), row["round"], row["peer"], row["other"]) == (1, 2, 0, 1)
    assert row["total_variation"] == pytest.approx(0.8, abs=1e-6)


def test_simulate__leaves_the_pairs_of_the_last_round(tiny: Path) -> None:
    folder = simulate(load_config(tiny, []), "out").folder
    rows: list[dict[str, Any]] = pq.read_table(folder / "metrics" / "pairs.parquet").to_pylist()
    assert [(row["round"], row["peer"], row["other"]) for row in rows] == [
        (2, i, j) for i in range(4) for j in range(i + 1, 4)
    ]


def test_measure__of_the_group_as_if_liars_were_not_there() -> None:
    """Means and measures of the group are those of the honest peers alone; peers, links and pairs are told of all."""
    peers = [seen(SURE, LINE), seen(TURNED, SQUARE), seen(EVEN, TWICE), seen(SURE, SQUARE)]
    found, pairing = measure(together(peers), ALONE(4)(0), 1.0, liars={1})
    honest = Observations({peer: each for peer, each in enumerate(peers) if peer != 1})
    assert found.scalars == measure(honest, ALONE(4)(0), 1.0)[0].scalars
    assert found.scalars["agreement"] != measure(together(peers), ALONE(4)(0), 1.0)[0].scalars["agreement"]
    assert list(found.peers) == [0, 1, 2, 3] and len(pairing.pairs()) == 6


def test_measure__the_mean_cka_of_sums_is_unknown_beside_liars() -> None:
    """A host's sum of kernels has those of liars."""
    peers = {index: seen(SURE, each) for index, each in enumerate([LINE, TWICE, SQUARE])}
    assert measure(summed(peers), ALONE(3)(0), 1.0)[0].scalars["cka"] == pytest.approx(1.0)
    assert np.isnan(measure(summed(peers), ALONE(3)(0), 1.0, liars={0})[0].scalars["cka"])
