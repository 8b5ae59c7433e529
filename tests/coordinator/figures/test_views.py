"""The figure of what each kind of peer sees."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from coordinator.experiment.config import config_from
from coordinator.figures.views import MOST, blocks_of, draw_views, save_views
from coordinator.planning.plan import Plan, prepare
from peers.data.datasets import pixels_of
from peers.views import sensors

pytestmark = pytest.mark.figures


def plan(shape: tuple[int, ...] = (3, 8, 10), **peers: Any) -> Plan:
    table = {
        "data": {"kind": "synthetic", "num_train": 64, "num_test": 32, "shape": shape, "batch_size": 16},
        "peers": {"model": {"kind": "mlp", "hidden": [8]}, "norm": "none", **peers},
        "topology": {"kind": "ring"},
        "hosting": {"pool": "in-process"},
    }
    return prepare(config_from(table))


LONG = ["colour-jitter", {"kind": "resized-crop"}, "flip", "cutout", "blur", {"kind": "crop", "padding": 2}]


def test_blocks_of__the_images_then_each_view_probed_and_drawn_twice() -> None:
    made = plan(groups=[{"count": 2, "view": ["flip", "luminance"]}, {"count": 1, "view": ["chroma"]}])
    plain, grey, colour = blocks_of(made)
    pixels = pixels_of(made.dataset.train_images)
    of_image = {image.tobytes(): place for place, image in enumerate(pixels.numpy())}
    shown = [of_image[image.tobytes()] for image in plain.rows["as they are"]]
    assert len({*made.dataset.train_labels[shown].tolist()}) == min(8, made.dataset.num_classes)
    assert grey.title == "peers 0, 1: flip (probability 0.5), luminance" and colour.title == "peer 2: chroma"
    assert [*grey.rows] == ["probed", "drawn", "again"] and [*colour.rows] == ["probed"]
    assert np.array_equal(grey.rows["probed"], sensors.luminance(pixels[shown]).numpy())
    assert np.array_equal(colour.rows["probed"], sensors.chroma(pixels[shown]).numpy() + np.float32(0.5))
    mirrored = [(one == two[..., ::-1]).all() for one, two in zip(grey.rows["probed"], grey.rows["drawn"], strict=True)]
    same = [(one == two).all() for one, two in zip(grey.rows["probed"], grey.rows["drawn"], strict=True)]
    assert [one or two for one, two in zip(mirrored, same, strict=True)] == [True] * 8 and any(mirrored)


@pytest.mark.parametrize("narrow", [False, True])
def test_draw_views__legible_with_many_views(narrow: bool, legible: Callable[[Figure], list[str]]) -> None:
    groups = [{"count": 1, "view": ["left" if place < 6 else "top", *LONG[: 1 + place % 6]]} for place in range(12)]
    blocks = blocks_of(plan(groups=groups))
    assert len(blocks) == MOST + 1 and blocks[-1].title.endswith("(and 6 further views)")
    texts = legible(draw_views(blocks, narrow))
    assert sum(text == "probed" for text in texts) == MOST and "as they are" in texts


def test_draw_views__images_of_one_and_of_two_channels(legible: Callable[[Figure], list[str]]) -> None:
    for channels in (1, 2):
        legible(draw_views(blocks_of(plan((channels, 8, 8), view=["left", "flip"]))))


def test_save_views__in_both_forms_where_peers_have_views(tmp_path: Path) -> None:
    assert not save_views(plan(), tmp_path) and not any(tmp_path.iterdir())
    assert save_views(plan(view=["flip"]), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["views-narrow.png", "views.png"]
