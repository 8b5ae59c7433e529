"""The page of a run: it holds what was said, escapes what it is given, and needs no network."""

from pathlib import Path
from typing import Any

from coordinator.page import render


def summary_of(**values: Any) -> dict[str, Any]:
    return {"status": "finished", "message": "", "probes": {}, **values}


def test_render__numbers_pictures_and_config(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "consensus.png").write_bytes(b"\x89PNG")
    row = {"calibrated": 0.5, "trained": 0.625, "gain": 0.125, "interval": [0.1, 0.15], "verdict": "learned"}
    text = render(summary_of(probes={"knn": row}), ["flag a < b"], "[run]", tmp_path)
    assert "<td>+12.5 (+10.0 to +15.0)</td><td>learned</td>" in text
    assert "<p>flag a &lt; b</p>" in text and "<pre>[run]</pre>" in text
    assert 'src="data:image/png;base64,iVBORw=="' in text
    assert "http" not in text


def test_render__a_run_that_ended_early_has_no_table(tmp_path: Path) -> None:
    text = render(summary_of(status="stopped", message="round 2, peer 0: <nan>"), [], "", tmp_path)
    assert "stopped: round 2, peer 0: &lt;nan&gt;" in text and "<table>" not in text
