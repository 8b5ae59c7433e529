"""Runs of these tests draw no figures, which take longer than a small run, unless a test asks for them."""

import pytest


@pytest.fixture(autouse=True)
def _figures_where_asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("figures") is None:
        monkeypatch.setattr("coordinator.reports.figures.save", lambda *_: None)
