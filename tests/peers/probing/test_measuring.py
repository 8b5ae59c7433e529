"""Observations and probes of a peer: what they compute, and that they leave it as it was."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from peers.data import datasets
from peers.data.config import Synthetic
from peers.exchange.assignment import Assignment, Link, Links
from peers.exchange.config import ExchangeConfig
from peers.learning.peer import Peer
from peers.learning.settings import PeerSettings
from peers.networks.config import Norm, PeersConfig
from peers.networks.variants import LinearHead, SmallCNN
from peers.probing import measuring, probes
from peers.probing.config import KNN, ProbeConfig
from peers.probing.measuring import ProbeSubject
from peers.probing.observing import feature_std

DATA = Synthetic(num_train=96, num_test=60, num_classes=3, batch_size=16)
DATASET = DATA.load(1)


def peer_of(index: int = 0, *, norm: Norm = "batch", supervised: float = 0.0, **probes: object) -> Peer:
    config = PeersConfig(count=2, model=SmallCNN(channels=(6, 8)), head=LinearHead(dim=5), norm=norm)
    settings = PeerSettings(
        index=index,
        seed=5,
        num_rounds=4,
        peers=config,
        exchange=ExchangeConfig(supervised=supervised),
        data=DATA,
        probes=ProbeConfig.model_validate({"probe_batch": 30, **probes}),
        normalisation=datasets.channel_statistics(DATASET.train_images),
    )
    return Peer(settings, DATASET)


def test_feature_std__spread_directions_give_1_and_one_direction_0():
    spread = torch.randn(4000, 30, generator=torch.Generator().manual_seed(0))
    assert feature_std(spread) == pytest.approx(1.0, abs=0.01)
    assert feature_std(torch.linspace(1, 9, 50)[:, None] * torch.ones(30)) == pytest.approx(0.0, abs=1e-6)


def test_observe__batch_statistics_whatever_the_buffers_say():
    peer = peer_of()
    images = datasets.images_to_tensor(DATASET.test_images[peer.probe_images.batch], *peer.settings.normalisation)
    with torch.no_grad():
        features, outputs = Peer(peer.settings, DATASET).network.train()(images)
    for buffer in peer.network.buffers():
        buffer.fill_(7)
    seen = peer.observe()
    np.testing.assert_array_equal(seen.outputs, outputs.numpy())
    np.testing.assert_allclose(seen.gram, features.double() @ features.double().T, rtol=1e-12)
    assert seen.weight_change == 0


def test_observe__weight_change_is_the_relative_norm():
    peer = peer_of()
    with torch.no_grad():
        for parameter in peer.network.parameters():
            parameter.mul_(1.25)
    assert peer.observe().weight_change == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize("measure", ["observe", "as_is", "calibrated", "recalibrated", "raw_pixels"])
def test_measures__leave_the_peer_and_its_pending_round_as_they_were(measure: str):
    digests = []
    for look in (False, True):
        peer = peer_of()
        assignment = Assignment(0, 0, Links.of(Link(0, 1.0)), True)
        message, _ = peer.publish(assignment)
        if look and measure == "observe":
            peer.observe()
        elif look:
            peer.probe(ProbeSubject(measure), range(3))
        assert message is not None
        peer.advance(assignment, None, message)
        digests.append(peer.digest())
    assert digests[0] == digests[1]


def test_probe__calibrated_is_a_network_that_was_shown_the_rounds_batches():
    control = peer_of().probe(ProbeSubject.CALIBRATED, [1, 4]).correct
    shown = peer_of()
    shown.network.train()
    with torch.no_grad():
        for round_index in (1, 4):
            shown.network(shown.batches(round_index, shown.index)[0])
    for name, correct in shown.probe(ProbeSubject.AS_IS).correct.items():
        np.testing.assert_array_equal(control[name], correct, err_msg=name)
    untrained = peer_of().probe(ProbeSubject.AS_IS).correct
    assert any((control[name] != untrained[name]).any() for name in untrained)


def test_probe__reset_puts_the_buffers_back_and_keeps_the_weights():
    """Untrained weights whose buffers moved are, once reset, the untrained peer again; moved weights are not."""
    peer, untrained = peer_of(), peer_of()
    with torch.no_grad():
        peer.network(torch.randn(50, *DATASET.shape) * 3 + 1)
    before = [buffer.clone() for buffer in peer.network.buffers()]
    expected = untrained.probe(ProbeSubject.AS_IS).correct
    assert any(not np.array_equal(peer.probe(ProbeSubject.AS_IS).correct[name], expected[name]) for name in expected)
    assert all(np.array_equal(peer.probe(ProbeSubject.RESET).correct[name], expected[name]) for name in expected)
    assert all(torch.equal(old, new) for old, new in zip(before, peer.network.buffers(), strict=True))
    with torch.no_grad():
        for parameter in peer.network.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(3))
    assert any(not np.array_equal(peer.probe(ProbeSubject.RESET).correct[name], expected[name]) for name in expected)


@torch.no_grad()
def test_probe__recalibrated_is_the_trained_weights_after_the_forward_passes_of_the_control():
    """By hand: moved weights, buffers as they are at the start, the control's batches, probed as it stands."""
    peer, by_hand = peer_of(), peer_of()
    for moved in (peer, by_hand):
        for number, parameter in enumerate(moved.network.parameters()):
            parameter.normal_(generator=torch.Generator().manual_seed(number))
    peer.network(torch.randn(50, *DATASET.shape, generator=torch.Generator().manual_seed(9)) * 3 + 1)
    trained = peer.probe(ProbeSubject.AS_IS).correct
    digest = peer.digest()
    for round_index in (1, 4, 5):
        by_hand.network.train()(by_hand.batches(round_index, by_hand.index)[0])
    recalibrated = peer.probe(ProbeSubject.RECALIBRATED, [1, 4, 5]).correct
    for name, expected in by_hand.probe(ProbeSubject.AS_IS).correct.items():
        np.testing.assert_array_equal(recalibrated[name], expected, err_msg=name)
    assert any((recalibrated[name] != trained[name]).any() for name in trained)
    assert any((recalibrated[name] != peer.probe(ProbeSubject.RESET).correct[name]).any() for name in trained)
    assert peer.digest() == digest


def test_probe__recalibrated_is_the_trained_peer_where_nothing_can_be_calibrated():
    peer = peer_of(norm="group")
    trained, recalibrated = (peer.probe(subject, [0]) for subject in (ProbeSubject.AS_IS, ProbeSubject.RECALIBRATED))
    assert all(np.array_equal(trained.correct[name], recalibrated.correct[name]) for name in trained.correct)


@torch.no_grad()
def test_probe__top1_is_the_largest_output_in_eval_mode_of_peers_that_have_labels():
    peer = peer_of(supervised=1.0, probe_test=40)
    peer.network(torch.randn(50, *DATASET.shape, generator=torch.Generator().manual_seed(9)) * 3 + 1)
    outcome = peer.probe(ProbeSubject.AS_IS)
    chosen = peer.probe_images.test
    images = datasets.images_to_tensor(DATASET.test_images[chosen], *peer.settings.normalisation)
    _, outputs = peer.network.eval()(images)
    labels = DATASET.test_labels[chosen]
    np.testing.assert_array_equal(outcome.correct["top1"], outputs.argmax(dim=1).numpy() == labels)
    assert outcome.probabilities is not None
    np.testing.assert_allclose(outcome.probabilities.values, outputs.softmax(dim=1), rtol=1e-5)
    np.testing.assert_array_equal(outcome.probabilities.labels, labels)
    pixels = peer.probe(ProbeSubject.RAW_PIXELS)
    assert "top1" not in pixels.correct and pixels.probabilities is None
    without = peer_of(probe_test=40).probe(ProbeSubject.AS_IS)
    assert "top1" not in without.correct and without.probabilities is None


@pytest.mark.parametrize("subject", [ProbeSubject.RAW_PIXELS, ProbeSubject.AS_IS, ProbeSubject.RECALIBRATED])
def test_probe__without_probes_nothing_is_looked_at(subject: ProbeSubject, monkeypatch: pytest.MonkeyPatch):
    peer, without = peer_of(), peer_of(probes=[])
    monkeypatch.setattr(measuring.ProbeTask, "_raw", None)
    with pytest.raises(TypeError):
        peer.probe(subject, [1])
    monkeypatch.setattr(without.network, "forward", None)
    assert without.probe(subject, [1]).correct == {}


def test_probe__without_probes_pixels_are_not_loaded_where_outputs_are_probed(monkeypatch: pytest.MonkeyPatch):
    peer = peer_of(supervised=1.0, probes=[])
    looked_at = []
    raw = measuring.ProbeTask._raw
    monkeypatch.setattr(measuring.ProbeTask, "_raw", lambda task, train: looked_at.append(train) or raw(task, train))
    assert set(peer.probe(ProbeSubject.AS_IS).correct) == {"top1"}
    assert looked_at == [False]  # the test images alone: nothing is fitted to training images
    monkeypatch.setattr(measuring.ProbeTask, "_raw", None)
    assert peer.probe(ProbeSubject.RAW_PIXELS).correct == {}


@torch.no_grad()
def test_probe__top1_is_in_bfloat16_too():
    outcome = peer_of(supervised=1.0, precision="bfloat16").probe(ProbeSubject.AS_IS)
    peer = peer_of(supervised=1.0)
    images = datasets.images_to_tensor(DATASET.test_images[peer.probe_images.test], *peer.settings.normalisation)
    with torch.autocast("cpu", torch.bfloat16):
        _, outputs = peer.network.eval()(images)
    assert outcome.probabilities is not None
    np.testing.assert_array_equal(outcome.probabilities.values, outputs.float().softmax(dim=1))


def features_of(peer: Peer) -> tuple[torch.Tensor, torch.Tensor]:
    """Its encoder's features of the probed training and test images, as they are."""
    with torch.no_grad():
        network = peer.network.eval()
        train, test = (
            network.encoder(datasets.images_to_tensor(images, *peer.settings.normalisation))
            for images in (DATASET.train_images[peer.probe_images.train], DATASET.test_images[peer.probe_images.test])
        )
    return train, test


@torch.no_grad()
def test_probe__bfloat16_is_of_the_forward_passes_alone():
    """By hand: calibrated and probed features under autocast, then the probes in float32."""
    found = peer_of(precision="bfloat16").probe(ProbeSubject.CALIBRATED, [1, 4])
    peer = peer_of()
    with torch.autocast("cpu", torch.bfloat16):
        for round_index in (1, 4):
            peer.network.train()(peer.batches(round_index, peer.index)[0])
        train, test = features_of(peer)
    assert train.dtype == torch.bfloat16
    chosen, labels = peer.probe_images, (DATASET.train_labels, DATASET.test_labels)
    known = [torch.from_numpy(each[index]) for each, index in zip(labels, (chosen.train, chosen.test), strict=True)]
    expected = probes.ridge(train.float(), known[0], test.float(), known[1], 3)
    np.testing.assert_array_equal(found.correct["linear"], expected)
    exact = peer_of().probe(ProbeSubject.CALIBRATED, [1, 4])
    for name, probed in found.correct.items():
        assert np.mean(probed != exact.correct[name]) < 0.15, name
    pixels = [peer_of(precision=each).probe(ProbeSubject.RAW_PIXELS) for each in ("float32", "bfloat16")]
    np.testing.assert_array_equal(pixels[0].correct["knn"], pixels[1].correct["knn"])


def test_probe__knn_on_raw_features_is_dinos():
    """Its formula, written out: similarities of unit vectors, the k largest, one-hot votes weighed by exp(s / T)."""
    peer = peer_of(probes=["knn"], knn={"standardise": False})
    labels = torch.from_numpy(DATASET.train_labels[peer.probe_images.train])
    train, test = (features / features.norm(dim=1, keepdim=True) for features in features_of(peer))
    nearest = torch.mm(test, train.T).topk(20, dim=1, largest=True, sorted=True)
    one_hot = torch.zeros(len(test) * 20, 3).scatter_(1, labels[nearest.indices].reshape(-1, 1), 1.0)
    weights = nearest.values.div(0.07).exp()
    votes = (one_hot.view(len(test), 20, 3) * weights.unsqueeze(2)).sum(dim=1)
    predictions = votes.sort(dim=1, descending=True).indices[:, 0].numpy()
    expected = predictions == DATASET.test_labels[peer.probe_images.test]
    np.testing.assert_array_equal(peer.probe(ProbeSubject.AS_IS).correct["knn"], expected)
    standardised = peer_of(probes=["knn"], knn={"standardise": True}).probe(ProbeSubject.AS_IS).correct["knn"]
    assert (standardised != expected).any()


@pytest.mark.parametrize(("k", "metric"), [(5, "cosine"), (20, "euclidean")], ids=["paper", "random-teachers"])
def test_probe__knn_with_uniform_votes_on_raw_features_is_scikit_learns(k: int, metric: str):
    peer = peer_of(probes=["knn"], knn={"k": k, "vote": "uniform", "metric": metric, "standardise": False})
    train, test = (features.double().numpy() for features in features_of(peer))
    reference = KNeighborsClassifier(k, algorithm="brute", metric=metric)
    predictions = reference.fit(train, DATASET.train_labels[peer.probe_images.train]).predict(test)
    expected = predictions == DATASET.test_labels[peer.probe_images.test]
    np.testing.assert_array_equal(peer.probe(ProbeSubject.AS_IS).correct["knn"], expected)


def test_probe__pixels_are_standardised_like_features():
    peer = peer_of(probes=["knn"], knn=KNN(k=5, vote="uniform", metric="euclidean").model_dump())
    flat = [each.reshape(len(each), -1) / 255.0 for each in (DATASET.train_images, DATASET.test_images)]
    mean, std = flat[0].mean(0), flat[0].std(0)
    train, test = ((each - mean) / std for each in flat)
    oracle = KNeighborsClassifier(5).fit(train, DATASET.train_labels).predict(test) == DATASET.test_labels
    np.testing.assert_array_equal(peer.probe(ProbeSubject.RAW_PIXELS).correct["knn"], oracle)


def test_probe_images__seeded_sorted_and_capped():
    config = ProbeConfig(probe_train=10, probe_test=1000, probe_batch=4)
    first, again = (measuring.probe_images(DATASET, config, 3) for _ in range(2))
    other = measuring.probe_images(DATASET, config, 4)
    assert [len(each) for each in (first.train, first.test, first.batch)] == [10, 60, 4]
    np.testing.assert_array_equal(first.train, again.train)
    assert (first.train != other.train).any()
    assert (np.diff(first.train) > 0).all() and first.train.max() < 96
