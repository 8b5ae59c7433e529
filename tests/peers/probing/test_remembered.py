"""Networks that are equal are probed once, and any change is seen."""

import numpy as np
import pytest
import torch

from peers.hosting.evaluator import Evaluator
from peers.networks.config import Norm
from peers.networks.network import Network
from peers.probing.measuring import ProbeOutcome, ProbeSubject, ProbeTask
from peers.probing.remembered import MOST, Remembered
from tests.peers.probing.test_measuring import DATASET, peer_of

CONDITIONS = (ProbeSubject.AS_IS, ProbeSubject.CALIBRATED, ProbeSubject.RESET, ProbeSubject.RECALIBRATED)


@pytest.mark.parametrize(("norm", "expected"), [("group", 1), ("batch", 2)])
def test_probe__features_of_each_different_network_once(
    norm: Norm, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An untrained peer that is reset is the untrained one, recalibrated the calibrated one; all, without BatchNorm."""
    peer, computed = peer_of(norm=norm), []
    compute = ProbeTask.of_network

    def noting(task: ProbeTask, network: Network) -> ProbeOutcome:
        computed.append(network)
        return compute(task, network)

    monkeypatch.setattr(ProbeTask, "of_network", noting)
    found = {subject: peer.probe(subject, [0, 1]).correct for subject in CONDITIONS}
    assert len(computed) == expected
    for subject, correct in found.items():
        for name, anew in peer_of(norm=norm).probe(subject, [0, 1]).correct.items():
            np.testing.assert_array_equal(correct[name], anew, err_msg=f"{subject} {name}")


def test_probe__after_a_step_the_peer_is_probed_anew() -> None:
    peer = peer_of(norm="none")
    before = peer.probe(ProbeSubject.AS_IS)
    with torch.no_grad():
        for parameter in peer.network.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(3))
    after = peer.probe(ProbeSubject.AS_IS)
    assert any((before.correct[name] != after.correct[name]).any() for name in before.correct)


def test_evaluator__remembers_for_each_peer_until_it_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    kept = Remembered.outcome

    def counting(self: Remembered, digest: bytes, found: object) -> ProbeOutcome:
        def noting() -> ProbeOutcome:
            computed.append(len(computed))
            return found()  # type: ignore[operator, no-any-return]

        return kept(self, digest, noting)

    monkeypatch.setattr(Remembered, "outcome", counting)
    settings = [peer_of(index, norm="group").settings for index in (0, 1)]
    evaluator = Evaluator()
    evaluator.open(settings, DATASET, 1)
    counts = []
    for peer in (0, 0, 1, 1):
        evaluator.probe(peer, ProbeSubject.CALIBRATED, [0], None)
        counts.append(len(computed))
    evaluator.restart(settings)
    evaluator.probe(0, ProbeSubject.AS_IS, [], None)
    assert [*counts, len(computed)] == [1, 1, 2, 2, 3]


def test_remembered__holds_the_last_few() -> None:
    remembered, computed = Remembered(), []

    def outcome(digest: bytes) -> ProbeOutcome:
        return remembered.outcome(digest, lambda: computed.append(digest) or ProbeOutcome({}))  # type: ignore[func-returns-value]

    for digest in (b"a", b"b", b"a", b"c", b"a", b"b"):
        outcome(digest)
    assert MOST == 2
    assert computed == [b"a", b"b", b"c", b"b"]
