"""Runs in several threads of one process: the numbers of runs one after another, whatever each of them sets."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import ray
import torch
from threadpoolctl import threadpool_info

from coordinator import ConfigError, load_config, simulate
from coordinator.pools.process_settings import hold_setting, one_blas_thread, torch_threads

METRICS = ("probes", "consensus", "relative_weight_change", "digest")


def run(seed: int, output: Path, **hosting: Any) -> dict[str, Any]:
    table = {
        "run": {"rounds": 6, "seed": seed},
        "data": {"kind": "synthetic", "num_train": 160, "num_test": 80, "batch_size": 32},
        "peers": {"count": 6, "model": {"kind": "mlp", "hidden": [64, 32]}, "head": {"kind": "linear", "dim": 8}},
        "topology": {"kind": "ring"},
        "evaluation": {"every": 2, "probe_batch": 40, "controls": ["alone"]},
        "hosting": {"pool": "in-process", **hosting},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 0},
    }
    summary = simulate(load_config(table), output).summary
    return {name: summary[name] for name in METRICS}


def test_simulate__threads_do_not_change_each_others_numbers(tmp_path: Path):
    expected = [run(seed, tmp_path / "before") for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda seed: run(seed, tmp_path / "together"), range(4)))
    assert together == expected


@pytest.mark.slow
def test_simulate__threads_share_the_ray_that_the_first_has_started(tmp_path: Path):
    """It goes with the last of them, and takes nothing from the other."""
    expected = [run(seed, tmp_path / "before") for seed in range(2)]
    hosting = {"pool": "ray", "peers_per_host": 6, "cpus_per_peer": 0.02, "evaluators": 0}
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(lambda seed: run(seed, tmp_path / "together", **hosting), range(2)))
    assert together == expected and not ray.is_initialized()


def test_hold_setting__holds_until_the_last_has_gone():
    """The first to end must not take the setting away from the other."""
    before = torch.get_num_threads()
    first = hold_setting("threads", 1, lambda: torch_threads(1))
    second = hold_setting("threads", 1, lambda: torch_threads(1))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.get_num_threads() == 1
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == before


def test_hold_setting__the_threads_of_blas_stay_while_anybody_needs_them():
    def blas() -> list[int]:
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    before, both = blas(), Barrier(2)

    def one() -> list[int]:
        with hold_setting("blas", 1, one_blas_thread):
            both.wait()
        return blas()

    with hold_setting("blas", 1, one_blas_thread), ThreadPoolExecutor(2) as threads:
        assert all(set(seen) == {1} for seen in threads.map(lambda _: one(), range(2)))
    assert blas() == before


def test_hold_setting__refuses_another_value():
    with (
        hold_setting("hosting.threads", 1, lambda: lambda: None),
        pytest.raises(ConfigError, match=r"hosting.threads: must be 1 while another run of this process has it, got 2"),
        hold_setting("hosting.threads", 2, lambda: lambda: None),
    ):
        pass
