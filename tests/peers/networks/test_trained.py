"""A trained network on raw examples: the run's own normalisation, whatever their number, and nothing that it is not."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from peers.data.datasets import channel_statistics, images_to_tensor
from peers.networks import drawing
from peers.networks.config import PeerKind, PeersConfig
from peers.networks.network import Network
from peers.networks.trained import AT_ONCE, InputFormat, TrainedPeer
from peers.networks.variants import Prototypes

PIXELS = np.random.default_rng(0).integers(0, 256, (600, 3, 4, 4), dtype=np.uint8)
STATISTICS = channel_statistics(PIXELS)


def built(**parts: Any) -> Network:
    kind = PeerKind.model_validate(
        {"model": {"kind": "small-cnn", "channels": [8]}, "head": {"kind": "linear"}} | parts
    )
    network = drawing.seeded(lambda: kind.build_network((3, 4, 4)), 1)
    with torch.no_grad():  # BatchNorm's statistics as after some rounds
        for _ in range(3):
            network.train()(images_to_tensor(PIXELS[:100], *STATISTICS))
    return network.eval()


def trained(**parts: Any) -> TrainedPeer:
    return TrainedPeer(built(**parts), InputFormat((3, 4, 4), "uint8", STATISTICS), 3)


def test_raw_network__is_the_network_on_what_the_run_feeds_it() -> None:
    peer = trained()
    features, outputs = peer.network(images_to_tensor(PIXELS[:7], *STATISTICS))
    for examples in (torch.from_numpy(PIXELS[:7]), torch.from_numpy(PIXELS[:7].astype(np.float64))):
        raw = peer.with_normalisation()(examples)
        assert torch.equal(raw[0], features) and torch.equal(raw[1], outputs)


def test_raw_network__vectors_are_normalised_by_feature_and_not_divided() -> None:
    mean, std = np.array([1.0, -2.0], np.float32), np.array([0.5, 4.0], np.float32)
    identity = Network(torch.nn.Flatten(), torch.nn.Identity(), (2, 1, 1))
    peer = TrainedPeer(identity, InputFormat((2,), "float32", (mean, std)), 0)
    vectors = np.array([[1.0, 2.0], [3.0, -2.0]])
    assert np.array_equal(peer.features(vectors), [[0.0, 1.0], [4.0, 0.0]])
    assert np.array_equal(peer.features(torch.tensor(vectors, dtype=torch.float16)), [[0.0, 1.0], [4.0, 0.0]])


@pytest.mark.parametrize("head", [{"kind": "linear", "dim": 5}, {"kind": "prototypes", "dim": 5}])
def test_features__of_many_examples_are_those_of_one_pass(head: dict[str, Any]) -> None:
    """The prototypes' outputs depend on the batch: that is all the images that are given."""
    peer = trained(head=head)
    assert len(PIXELS) > 2 * AT_ONCE
    with torch.no_grad():
        features, outputs = peer.network(images_to_tensor(PIXELS, *STATISTICS))
    assert np.allclose(peer.features(PIXELS), features.numpy(), atol=1e-6)
    assert np.allclose(peer.outputs(PIXELS), outputs.numpy(), atol=1e-6)
    apart = np.concatenate([peer.outputs(PIXELS[:300]), peer.outputs(PIXELS[300:])])
    assert np.allclose(apart, outputs.numpy(), atol=1e-6) is (head["kind"] != Prototypes().kind)


class Paired(torch.nn.Module):
    """Features, and outputs of a head of its own."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(math.prod(shape), 6), torch.nn.Linear(6, 3)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.first(images.flatten(1)).relu()
        return features, self.last(features)


def test_features__of_a_network_that_returns_features_and_outputs() -> None:
    peer = trained(model={"kind": "import", "target": f"{__name__}:Paired"})
    with torch.no_grad():
        features, outputs = peer.network(images_to_tensor(PIXELS, *STATISTICS))
    assert (features.shape, outputs.shape) == ((600, 6), (600, 3))
    assert np.allclose(peer.features(PIXELS), features.numpy(), atol=1e-6)
    assert np.allclose(peer.outputs(PIXELS), outputs.numpy(), atol=1e-6)


def test_features__leave_the_images_and_the_generator_alone() -> None:
    images, before = PIXELS.astype(np.float32), torch.get_rng_state()
    images.flags.writeable = False
    kept = images.copy()
    trained().outputs(images)
    assert np.array_equal(images, kept) and torch.equal(torch.get_rng_state(), before)


def test_raw_network__has_the_sensors_of_the_peers_view() -> None:
    """The luminance is written out; noise is of the image, however many there are."""
    view = PeersConfig(count=2, view=["flip", "luminance"]).view_of(1, 3)
    peer = TrainedPeer(built(), InputFormat((3, 4, 4), "uint8", STATISTICS, view, 1), 3)
    red, green, blue = (PIXELS[:7] / np.float32(255)).transpose(1, 0, 2, 3)
    grey = np.repeat((0.2989 * red + 0.587 * green + 0.114 * blue)[:, None], 3, axis=1)
    mean, std = (each[:, None, None] for each in STATISTICS)
    with torch.no_grad():
        wanted = peer.network(torch.from_numpy((grey - mean) / std))[0].numpy()
    np.testing.assert_allclose(peer.features(PIXELS[:7]), wanted, atol=1e-5)
    noisy = PeersConfig(count=2, view=["noisy"]).view_of(1, 3)
    peer = TrainedPeer(built(), InputFormat((3, 4, 4), "uint8", STATISTICS, noisy, 1), 3)
    np.testing.assert_allclose(peer.features(PIXELS)[:300], peer.features(PIXELS[:300]), atol=1e-5)
    again = InputFormat.from_json(json.loads(json.dumps(peer.inputs.to_json())))
    np.testing.assert_array_equal(replace(peer, inputs=again).features(PIXELS[:9]), peer.features(PIXELS[:9]))


def test_input_format__survives_json_bit_for_bit() -> None:
    statistics = tuple(np.array([math.pi, 1e-30, 3e38], np.float32) for _ in range(2))
    before = InputFormat((3, 4), "float32", statistics)
    after = InputFormat.from_json(json.loads(json.dumps({"name": "mine", **before.to_json()})))
    assert (after.shape, after.dtype) == (before.shape, before.dtype)
    assert all(
        np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(after.normalisation, statistics, strict=True)
    )


@pytest.mark.parametrize(
    ("images", "line"),
    [
        ([[1]], "images: must be a NumPy array or a torch tensor, got list; convert it"),
        (np.array(["a"]), "images: must be an array of numbers, got <U1 on 1 axes; convert it"),
        (PIXELS[0], "images: must be at least one of 3x4x4, as the run's data, with .*; got an array of 3x4x4"),
        (PIXELS[:0], "images: must be at least one of 3x4x4, .*; got an array of 0x3x4x4"),
        (PIXELS.transpose(0, 2, 3, 1), "images: must be at least one of 3x4x4, .*; got an array of 600x4x4x3"),
        (PIXELS / 255, "images: must be raw pixels from 0 to 255, .*, got fractions up to 1; multiply them by 255"),
        (
            PIXELS - 128.0,
            "images: must be raw pixels from 0 to 255, .*, got -128 to 127; leave the normalisation to .*",
        ),
        (np.full((1, 3, 4, 4), np.nan), "images: must be finite, got values that are not; replace or drop them"),
        (PIXELS > 9, "images: must be uint8 as the run's data, got bool; convert them as those were"),
    ],
)
def test_check__refuses_what_the_run_did_not_have(images: Any, line: str) -> None:
    with pytest.raises(ValueError, match=rf"\A{line}\Z"):
        trained().outputs(images)


def test_check__bytes_where_the_run_had_floats() -> None:
    inputs = InputFormat((3, 4, 4), "float32", STATISTICS)
    with pytest.raises(ValueError, match=r"\Aimages: must be float32 as the run's data, got uint8; convert them as "):
        inputs.check(PIXELS)
    assert inputs.check(PIXELS / 255.0).dtype == torch.float32
