"""How long the phases of a run will take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator.experiment.config import load_config
from coordinator.planning.plan import Plan, prepare
from coordinator.reports import phases
from coordinator.reports.phases import Costs, estimated, measured, phases_of
from peers.probing.measuring import ProbeTask

COSTS = Costs(round=1.0, observation=10.0, probe=100.0, calibrated=1000.0, pixels=5.0)


def plan_of(small: dict[str, Any], *overrides: str) -> Plan:
    return prepare(load_config(small, ["evaluation.controls=[]", *overrides]))


def test_phases_of__counts_steps_observations_and_probes(small: dict[str, Any]) -> None:
    """Three peers, eight rounds, measured before and after them and after rounds 2, 4 and 6."""
    assert phases_of(plan_of(small), COSTS, 1) == {
        "controls": 5 + 3 * 1100,
        "rounds": 8 * 3 + 5 * 3 * 10,
        "final probes": 3 * 100,
    }


def test_phases_of__every_setting_that_probes(small: dict[str, Any]) -> None:
    plan = plan_of(
        small,
        'evaluation.controls=["alone", "stranger"]',
        "evaluation.reset=true",
        "evaluation.recalibrated=true",
        "evaluation.probe_every=3",
        "evaluation.probe_peers=2",
    )
    found = phases_of(plan, COSTS, 2)
    assert found["controls"] == (5 + 2 * 1100) / 2
    assert found["rounds"] == (24 + 150 + 2 * 2 * 100) / 2  # probed after rounds 3 and 6
    assert found["final probes"] == 2 * (100 + 100 + 1000) / 2
    assert found["control runs"] == 2 * (24 + 3 * 10 + 2 * 100) / 2


def test_phases_of__peers_without_a_part_in_a_round_cost_nothing(small: dict[str, Any]) -> None:
    """A student and its one teacher."""
    rounds = phases_of(plan_of(small, "topology.kind=random-pair"), COSTS, 1)["rounds"]
    assert rounds == 8 * 2 + 5 * 3 * 10


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("hosting.execution=vectorised",),
        ("topology.kind=complete", "peers.count=6", "exchange.aggregation={ kind = 'krum', f = 1 }"),
        ("exchange.supervised=0.5", "evaluation.probe_train=20"),
    ],
)
def test_measured__each_cost_is_a_time(small: dict[str, Any], overrides: tuple[str, ...]) -> None:
    found = measured(plan_of(small, *overrides))
    assert 0 < found.round < 10 and 0 < found.observation < 10
    assert 0 < found.probe <= found.calibrated < 10 and 0 < found.pixels < 10


def test_measured__what_was_probed_before_is_probed_again(
    small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without BatchNorm a calibrated peer is the peer itself, and its outcome would be remembered."""
    seen: list[object] = []
    of_network = ProbeTask.of_network
    monkeypatch.setattr(
        ProbeTask, "of_network", lambda task, network: (seen.append(task), of_network(task, network))[1]
    )
    measured(plan_of(small, "peers.norm=group"))
    assert len(seen) == 3  # a warm-up, as it is, calibrated


def test_measured__probes_of_many_images_are_tried_on_fewer(
    small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 90 images a half: the time is multiplied."""
    monkeypatch.setattr(phases, "TRIED_IMAGES", 45)
    monkeypatch.setattr(phases, "_timed", lambda call: (call(), 1.0)[1])
    assert measured(plan_of(small)).probe == pytest.approx(2.0)


def test_estimated__says_that_it_is_an_estimate(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "measured", lambda plan: COSTS)
    assert estimated(plan_of(small)) == {
        "time": "about controls 55 min 5 s, rounds 2 min 54 s, final probes 5 min 0 s",
        "estimate": "of these times, by a short trial on this machine, in one process",
    }
    away = plan_of(small, "hosting.pool=ray", "hosting.address=ray://there:10001")
    assert estimated(away) == {"time": "not estimated: the peers do not run on this machine's CPUs"}


def test_run__a_dry_run_has_the_times(cli: Callable[..., tuple[Any, str, str]], tiny: Path) -> None:
    code, out, err = cli("run", "tiny.toml", "--dry-run")
    assert (code, err) == (0, "")
    line = next(line for line in out.splitlines() if line.startswith("time"))
    assert all(name in line for name in ("controls", "rounds", "final probes")) and "\nestimate  of these times" in out
