"""Which settings a run may be resumed with."""

from typing import Any

import pytest

from coordinator.checkpoints.identity import check_config, deciding
from coordinator.experiment.config import ConfigError, load_config


def identity(small: dict[str, Any], *without: str) -> dict[str, Any]:
    """What a checkpoint says of its settings, before some of them were known."""
    return {"config": {name: value for name, value in deciding(load_config(small)).items() if name not in without}}


def test_check_config__a_checkpoint_before_probes_had_a_precision_was_made_in_float32(small: dict[str, Any]) -> None:
    older, newer = identity(small, "evaluation.precision"), identity(small)
    assert "evaluation.precision" in newer["config"]
    check_config(load_config(small), older)
    check_config(load_config(small), newer)
    small["evaluation"]["precision"] = "bfloat16"
    for each in (older, newer):
        with pytest.raises(
            ConfigError, match=r"evaluation.precision: the checkpoint was made with 'float32', but .*16"
        ):
            check_config(load_config(small), each)
    check_config(load_config(small), identity(small))
    del small["evaluation"]["precision"]
    with pytest.raises(ConfigError, match=r"evaluation.precision: the checkpoint was made with 'bfloat16'"):
        check_config(
            load_config(small), identity({**small, "evaluation": {**small["evaluation"], "precision": "bfloat16"}})
        )
