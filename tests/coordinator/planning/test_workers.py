"""Where worker processes can be forked, and what is said where they must be and cannot."""

from importlib import metadata

import pytest

from coordinator.experiment.config import ConfigError
from coordinator.experiment.sections import HostingConfig
from coordinator.planning import ray_release, workers
from coordinator.planning.workers import forks


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Linux, a tested Ray, no GPU, no job."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(ray_release, "version", lambda name: "2.60.3")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.delenv(workers.JOB, raising=False)
    return monkeypatch


def test_forks__where_a_run_starts_a_ray_of_its_own(usual: pytest.MonkeyPatch) -> None:
    assert forks(HostingConfig()) and forks(HostingConfig(workers="forked")) and forks(HostingConfig(address="local"))
    assert not forks(HostingConfig(workers="spawned")) and not forks(HostingConfig(pool="in-process"))
    assert forks(HostingConfig(pool="in-process"), as_task=True)
    assert not forks(HostingConfig(pool="in-process", workers="spawned"), as_task=True)


def test_forks__not_with_gpus_for_hosts(usual: pytest.MonkeyPatch) -> None:
    usual.setattr("torch.cuda.device_count", lambda: 1)
    assert not forks(HostingConfig()) and not forks(HostingConfig(device="cuda"))
    assert forks(HostingConfig(device="cpu")) and forks(HostingConfig(gpus_per_peer=0))
    with pytest.raises(ConfigError, match=r"workers is 'forked', but this machine has GPUs for hosts; .*: set it"):
        forks(HostingConfig(workers="forked"))


@pytest.mark.parametrize(
    ("hosting", "why"),
    [
        ({"address": "auto"}, "the run joins the Ray cluster at hosting.address 'auto'"),
        ({"device": "cuda"}, "hosts have GPUs"),
        ({"gpus_per_peer": 0.5}, "hosts have GPUs"),
    ],
)
def test_forks__refused_in_one_line_where_it_cannot_be(
    usual: pytest.MonkeyPatch, hosting: dict[str, object], why: str
) -> None:
    assert not forks(HostingConfig.model_validate(hosting))
    with pytest.raises(ConfigError) as error:
        forks(HostingConfig.model_validate({**hosting, "workers": "forked"}))
    assert str(error.value) == f"hosting.workers is 'forked', but {why}: set it to auto or spawned"


def test_forks__refused_by_the_machine(usual: pytest.MonkeyPatch) -> None:
    forked = HostingConfig(workers="forked", device="cpu")
    usual.setenv(workers.JOB, "{}")
    with pytest.raises(ConfigError, match="this is a job of a Ray cluster, which the run joins"):
        forks(forked)
    usual.setattr(ray_release, "version", lambda name: "2.61.0")
    usual.delenv(workers.JOB)
    with pytest.raises(ConfigError, match=r"that is tested with Ray 2\.60, and here is 2\.61: set"):
        forks(forked)
    usual.setattr("sys.platform", "darwin")
    with pytest.raises(ConfigError, match="this system is not Linux"):
        forks(forked)


def test_tested__is_the_release_that_tests_run_with() -> None:
    """Otherwise the tests of forked workers would test nothing."""
    assert metadata.version("ray").startswith(f"{ray_release.TESTED[-1]}.") and ray_release.untested() == ""
