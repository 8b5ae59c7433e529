"""Ten thousand peers: what is planned for them in seconds, and that the whole run is possible."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from coordinator import load_config, simulate
from coordinator.planning.plan import Plan, prepare

COUNT = 10_000
CONFIG = Path(__file__).parents[3] / "configs" / "ten-thousand.toml"
RANDOM = 'topology={ kind = "random", teachers = 4 }'


@pytest.fixture(scope="module")
def plan() -> Plan:
    return prepare(load_config(CONFIG))


def test_plan__ten_thousand_peers_fit_into_eight_gibibytes(plan: Plan) -> None:
    assert plan.config.peers.count == COUNT and plan.memory_bytes < 8 * 2**30
    assert plan.facts.messages_per_round == 2 * COUNT


def test_plan__probes_look_at_a_few_of_ten_thousand(plan: Plan) -> None:
    assert plan.probed is not None and len(plan.probed) == plan.num_probed == 64
    assert plan.probed[0] < COUNT / 4 and plan.probed[-1] > 3 * COUNT / 4  # from all over the ring


@pytest.mark.slow
@pytest.mark.parametrize("override", ["topology.kind=ring", RANDOM])
def test_simulate__ten_thousand_peers(tmp_path: Path, override: str) -> None:
    """On a ring and with four random teachers: ten rounds with measures, probes of a sample, few files."""
    result = simulate(load_config(CONFIG, ["tracking.enabled=false", override]), tmp_path)
    summary = result.summary
    assert summary["status"] == "finished" and summary["probed"] == {"count": 64, "of": COUNT}
    losses = pq.read_table(result.folder / "metrics" / "rounds.parquet").to_pandas().set_index("round")["loss"]
    assert losses[10] < losses[1]
    links = 2 if override.endswith("ring") else 4
    assert summary["bytes_exchanged"] == 10 * links * COUNT * 64 * 32 * 4
    files = [path for path in (result.folder / "checkpoints").rglob("*") if path.is_file()]
    assert 0 < len(files) < 100
    probed = pq.read_table(result.folder / "metrics" / "peers.parquet", columns=["peer", "knn_accuracy"]).to_pandas()
    assert probed.dropna()["peer"].nunique() == 64 and probed["peer"].nunique() == COUNT
    assert sum(path.stat().st_size for path in result.folder.rglob("*.html")) < 8 * 2**20
