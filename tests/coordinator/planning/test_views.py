"""Views of a plan: who has which, what each is normalised by, and what is refused before anything starts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from coordinator.experiment.config import ConfigError, RunConfig, config_from, load_config
from coordinator.planning.plan import peer_settings, prepare
from coordinator.planning.views import blind_teachers, different_sensors, different_views, normalisations
from peers.data.datasets import Dataset, channel_statistics
from peers.data.viewed import statistics_of_view

TABLE: dict[str, Any] = {
    "data": {"kind": "synthetic", "batch_size": 16, "num_train": 64, "num_test": 32, "shape": (3, 6, 6)},
    "peers": {"model": {"kind": "mlp", "hidden": [8]}, "head": {"kind": "linear", "dim": 4}, "norm": "none"},
    "topology": {"kind": "ring"},
    "hosting": {"pool": "in-process"},
}
UNEQUAL = [
    {"count": 2, "view": ["left", "flip"]},
    {"count": 1, "view": ["chroma"]},
    {"count": 1, "view": ["cutout", "left"]},
    {"count": 1},
]


def config(**peers: Any) -> RunConfig:
    return config_from({**TABLE, "peers": {**TABLE["peers"], **peers}})


def test_different_views__by_steps_and_by_sensors_alone() -> None:
    unequal = config(groups=UNEQUAL)
    assert [seen.peers for seen in different_views(unequal)] == [(0, 1), (2,), (3,), (4,)]
    assert [seen.peers for seen in different_sensors(unequal)] == [(0, 1, 3), (2,), (4,)]
    assert [seen.first for seen in different_sensors(unequal)] == [0, 2, 4]


def test_different_sensors__one_for_each_peer_whose_sensor_draws_noise_of_its_own() -> None:
    """So that each is normalised, and its raw pixels are probed, by what it sees itself."""
    groups = [{"count": 2, "view": ["noisy"]}, {"count": 2, "view": ["left"]}]
    assert [seen.peers for seen in different_sensors(config(groups=groups))] == [(0,), (1,), (2, 3)]
    assert [seen.peers for seen in different_sensors(config(groups=groups, view_draws="shared"))] == [(0, 1), (2, 3)]
    plan = prepare(config(groups=groups))
    of_peers, images = normalisations(plan.config, plan.dataset), plan.dataset.train_images
    for peer, found in enumerate(of_peers):
        wanted = statistics_of_view(images, plan.config.peers.view_of(peer, 0), peer)
        assert all(np.array_equal(one, two) for one, two in zip(found, wanted, strict=True))
    assert not np.array_equal(of_peers[0][0], of_peers[1][0])


def test_groups__have_the_sections_view_unless_they_have_their_own() -> None:
    found = config(view=["top"], groups=[{"count": 1}, {"count": 1, "view": []}]).peers
    assert [[step.name for step in found.view_of(peer, 0).steps] for peer in range(2)] == [["top"], []]
    assert found.has_views and not found.common_view
    assert config(view=["top", {"kind": "flip", "joint": True}]).peers.common_view
    assert config(view=["flip"], view_draws="shared").peers.common_view
    assert not config(view=["flip"]).peers.common_view and not config(view=["noisy"]).peers.common_view
    assert config().peers.common_view and not config().peers.has_views


def test_peer_settings__each_normalised_by_what_its_sensors_show() -> None:
    plan = prepare(config(groups=UNEQUAL))
    settings = peer_settings(plan.config, plan.dataset)
    images = plan.dataset.train_images
    for peer, each in enumerate(settings):
        wanted = statistics_of_view(images, plan.config.peers.view_of(peer, 0), peer)
        assert all(np.array_equal(one, two) for one, two in zip(each.normalisation, wanted, strict=True))
        assert [step.name for step in each.view.still_steps] == (
            ["left"] if peer in (0, 1, 3) else ["chroma"][peer - 2 :]
        )
    assert all(
        np.array_equal(one, two) for one, two in zip(settings[4].normalisation, channel_statistics(images), strict=True)
    )
    assert settings[0].normalisation is settings[3].normalisation


def test_override__a_view_by_its_names() -> None:
    found = load_config(TABLE, ['peers.view=["flip", { kind = "crop", padding = 2 }, "luminance"]']).peers.view
    assert [(step.name, getattr(step, "padding", None)) for step in found] == [
        ("flip", None),
        ("crop", 2),
        ("luminance", None),
    ]


def test_prepare__an_imported_step_is_known_again() -> None:
    step = {"kind": "import", "target": "torch.nn:ReLU", "sensor": True}
    plan = prepare(config(view=[step], groups=[{"count": 1}, {"count": 1, "view": ["flip", step]}]))
    digests = {kind.view[-1].digest for kind in plan.config.peers.groups}
    assert len(digests) == 1 and len(digests.pop()) == 64
    with pytest.raises(ConfigError, match=r"\Apeers\.view 'torch\.nn:ReLU': is not the code that the run was started"):
        prepare(config(view=[{**step, "digest": "0" * 64}]))


GREY = np.repeat(np.arange(40 * 36, dtype=np.uint8).reshape(40, 1, 6, 6), 3, axis=1)


def test_prepare__joint_steps_stand_at_the_same_places() -> None:
    joint = {"kind": "colour-jitter", "joint": True}
    prepare(config(groups=[{"count": 2, "view": [joint, "crop"]}, {"count": 1, "view": [joint]}, {"count": 1}]))
    groups = [{"count": 2, "view": ["crop", joint]}, {"count": 1, "view": [joint]}]
    with pytest.raises(
        ConfigError, match=r"\Apeers\.groups\[1\]\.view: steps with joint = true draw the same as those"
    ):
        prepare(config(groups=groups))
    prepare(config(groups=groups, view_draws="shared"))


def test_prepare__a_mirrored_image_has_no_left_half() -> None:
    table = {**TABLE, "data": {**TABLE["data"], "flip": True}, "peers": {**TABLE["peers"], "view": ["left"]}}
    with pytest.raises(ConfigError, match=r"\Apeers\.view: data\.flip mirrors images before 'left' takes its part"):
        prepare(config_from(table))


LABELS = np.arange(40) % 4
COLOUR = np.random.default_rng(0).integers(0, 256, (40, 3, 6, 6), dtype=np.uint8)
OTHER = {"kind": "synthetic", "num_train": 40, "num_test": 20, "shape": (3, 6, 6)}
PAIR = [{"name": "luminance", "count": 1, "view": ["luminance"]}, {"name": "chroma", "count": 1, "view": ["chroma"]}]
ONE_WAY = {"kind": "file", "path": "configs/findings/links/first-teaches-second.csv"}


def beside(images: np.ndarray, name: str, **sections: Any) -> tuple[RunConfig, Dataset]:
    """A run with colour images, and these in the section of this name."""
    table = {**TABLE, name: OTHER, "exchange": {"self_loss": 0.5}, **sections}
    table["peers"] = {"model": {"kind": "mlp"}, "head": {"dim": 4}, **sections.get("peers", {})}
    table["evaluation"] = {"controls": ["irrelevant"] if name == "irrelevant" else []}
    if name == "public":
        table["data"] = {**TABLE["data"], "partition": {"kind": "iid"}}
    other = Dataset.from_arrays(images, LABELS)
    own = Dataset.from_arrays(COLOUR.astype(images.dtype) / (255 if images.dtype == np.float32 else 1), LABELS)
    return config_from(table), replace(own, others={name: other})


@pytest.mark.filterwarnings("ignore:exchange.self_loss compares two views of each image")
def test_prepare__networks_that_see_nothing_of_the_irrelevant_data() -> None:
    """All of them: refused; some: a warning that names their groups; peers that teach nobody do not count."""
    mutual, data = beside(GREY, "irrelevant", peers={"groups": PAIR})
    with pytest.warns(UserWarning, match=r"teachers of group 'chroma' learn nothing.*they are strangers") as caught:
        plan = prepare(mutual, data)
    assert len([each for each in caught if "learn nothing" in str(each.message)]) == 1
    assert plan.blind_teachers == (1,) and blind_teachers(plan.config, data, plan.schedule) == [1]
    directed, data = beside(GREY, "irrelevant", peers={"groups": PAIR}, topology=ONE_WAY)
    assert blind_teachers(directed, data, prepare(directed, data).schedule) == []
    backward, data = beside(GREY, "irrelevant", peers={"groups": PAIR[::-1]}, topology=ONE_WAY)
    with pytest.raises(ConfigError, match=r"\Aevaluation\.controls: in irrelevant no network would learn .* 'chroma'"):
        prepare(backward, data)
    coloured, data = beside(COLOUR, "irrelevant", peers={"groups": PAIR})
    assert blind_teachers(coloured, data, prepare(coloured, data).schedule) == []


@pytest.mark.filterwarnings("ignore:exchange.self_loss compares two views of each image")
@pytest.mark.parametrize(
    ("name", "images", "view", "line"),
    [
        (
            "public",
            GREY,
            "chroma",
            "peers.view: 'chroma' leaves nothing by which the 32 first training images of [public] differ: choose",
        ),
        ("public", GREY.astype(np.float32), "colour-jitter", "got values from 0 to 255 in [public]: leave it out"),
        ("irrelevant", GREY.astype(np.float32), "colour-jitter", "got values from 0 to 255 in [irrelevant]: leave it"),
    ],
)
def test_prepare__views_of_the_other_data_in_one_line(name: str, images: np.ndarray, view: str, line: str) -> None:
    given, data = beside(images, name, peers={"count": 2, "view": [view]})
    with pytest.raises(ConfigError) as error:
        prepare(given, data)
    assert line in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("view", "images", "line"),
    [
        (["low-resolution"], None, "peers.view: 'low-resolution' must have a size below the images' 6 pixels, got 8"),
        (["flip"], GREY.reshape(40, -1), "peers.view: needs images (channel x height x width), got examples of 108"),
        (["chroma"], GREY, "peers.view: 'chroma' leaves nothing by which the 32 first training images differ: choose"),
        (
            ["colour-jitter"],
            GREY.astype(np.float32),
            "peers.view: 'colour-jitter' needs pixels of uint8 or values in 0..1, got values from 0 to 255: leave it",
        ),
        ([{"kind": "import", "target": "torch:det"}], None, "peers.view 'torch:det': raised "),
        ([{"kind": "import", "target": "torch.nn:Flatten"}], None, "peers.view 'torch.nn:Flatten': must return "),
        (
            [{"kind": "import", "target": "no_such:step"}],
            None,
            "peers.view 'no_such:step': there is no module 'no",
        ),
    ],
)
def test_prepare__one_line(view: list[Any], images: np.ndarray | None, line: str) -> None:
    labels = np.arange(40) % 4
    data = None if images is None else Dataset.from_arrays(images, labels)
    with pytest.raises(ConfigError) as error:
        prepare(config(view=view), data)
    assert str(error.value).startswith(line)
