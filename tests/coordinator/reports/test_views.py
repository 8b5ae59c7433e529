"""Views in words."""

from typing import Any

import pytest

from coordinator.experiment.config import config_from
from coordinator.reports.views import peers_in_words, view_in_words, views_in_words

TABLE: dict[str, Any] = {"data": {"kind": "digits"}, "topology": {"kind": "ring"}}


def words(**peers: Any) -> list[str]:
    return views_in_words(config_from({**TABLE, "peers": peers}).peers.model_dump(mode="json"))


def test_views_in_words__who_sees_what() -> None:
    groups = [{"count": 3, "view": ["left", "flip"]}, {"count": 1}, {"count": 2, "view": ["left", "flip"]}]
    assert words() == [] and views_in_words({"count": 4}) == []  # as in a summary of an older version
    assert words(groups=groups) == [
        "peers 0 to 2, 4, 5: left, flip (probability 0.5)",
        "peers 3: images as they are",
    ]
    assert words(view=["top"], view_draws="shared") == [
        "all peers: top",
        "random steps are drawn once for all peers",
    ]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"kind": "colour-jitter", "joint": True}, "colour-jitter (brightness 0.4, same for all peers)"),
        ({"kind": "resized-crop"}, "resized-crop (scale 0.3 to 1, ratio 0.75 to 1.33)"),
        ({"kind": "noisy"}, "noisy (sigma 0.3)"),
        ({"kind": "import", "target": "a:B", "args": {"p": 1}}, "'a:B' (p 1)"),
    ],
)
def test_view_in_words__a_step_with_its_settings(step: dict[str, Any], said: str) -> None:
    peers = config_from({**TABLE, "peers": {"view": [step]}}).peers
    assert view_in_words(peers.model_dump(mode="json")["view"]) == said


def test_peers_in_words__neighbours_together() -> None:
    assert peers_in_words([0, 1, 2, 3, 7, 8, 10]) == "0 to 3, 7, 8, 10"
