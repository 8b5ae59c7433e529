"""Every experiment file that comes with the project loads, survives its own resolved form, and can be prepared."""

import tomllib
from pathlib import Path

import pytest

from coordinator.config import ConfigError, RunConfig, load_config, to_toml
from coordinator.plan import prepare

CONFIGS = Path(__file__).parents[1] / "configs"
EXPERIMENTS = sorted(path for path in CONFIGS.rglob("*.toml") if "data" in tomllib.loads(path.read_text()))


def data_is_there(config: RunConfig) -> bool:
    place = getattr(config.data, "root", None) or getattr(config.data, "path", None)
    return place is None or Path(place).exists()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_experiment__loads_and_resolves_to_itself(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    resolved = tmp_path / "config.toml"
    resolved.write_text(to_toml(config))
    assert load_config(resolved) == config


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_experiment__can_be_prepared_or_says_what_is_missing(path: Path) -> None:
    config = load_config(path)
    if data_is_there(config):
        plan = prepare(config)
        assert plan.schedule.num_peers == config.peers.count
        assert plan.message_bytes % config.data.batch_size == 0
    else:
        with pytest.raises(ConfigError, match=r"\Adata\.(root|path): .+\Z"):
            prepare(config)


def test_experiments__are_found() -> None:
    assert CONFIGS / "quickstart.toml" in EXPERIMENTS
