"""The files of docker/ as far as they can be checked without a container engine."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[1] / "docker"
ROOT = DOCKER.parent


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DOCKER / name).read_text()))


def ray_version() -> str:
    (version,) = re.findall(r"^ray==(.+)$", (DOCKER / "constraints.txt").read_text(), re.MULTILINE)
    return str(version)


def test_compose__publishes_loopback_only_and_asks_for_a_token() -> None:
    (compose,) = documents("compose.yaml")
    services = compose["services"]
    assert set(services) == {"head", "worker", "mlflow"}
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service["healthcheck"]["test"][0] == "CMD" and service["cap_drop"] == ["ALL"], name
    for name in ("head", "worker"):
        environment = services[name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?"), "without a token nothing starts"
        assert "data:/data" in services[name]["volumes"]
    assert services["worker"]["depends_on"] == {"head": {"condition": "service_healthy"}}
    assert services["mlflow"]["volumes"] == ["mlflow:/mlflow"] and set(compose["volumes"]) == {"data", "mlflow"}


def test_rayjob__has_a_token_the_tested_ray_and_shared_checkpoints() -> None:
    claim, job = documents("rayjob.yaml")
    spec = job["spec"]["rayClusterSpec"]
    assert spec["rayVersion"] == ray_version() and spec["authOptions"] == {"mode": "token"}
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert "checkpoint.path=/data/" in job["spec"]["entrypoint"] and "--output /data/" in job["spec"]["entrypoint"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert set(container["resources"]) == {"requests", "limits"}
        assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_rayjob__its_config_and_overrides_are_valid() -> None:
    from coordinator import load_config

    words = documents("rayjob.yaml")[1]["spec"]["entrypoint"].split()
    assert words[:4] == ["python", "-m", "coordinator", "run"]
    config = load_config(ROOT / words[4], [word for word in words[5:] if "=" in word])
    assert config.hosting.placement == "spread" and config.checkpoint.path == "/data/checkpoints"


def test_dockerfile__is_pinned_small_and_not_root() -> None:
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    stages = [line for line in lines if line.startswith("FROM ")]
    assert len(stages) == 2 and all(re.match(r"FROM python:\$\{PYTHON\}-slim", line) for line in stages)
    assert any(re.fullmatch(r"ARG PYTHON=3\.\d+\.\d+", line) for line in lines)
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER 10001"]
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (word for word in copied if not word.startswith("--")):
        assert (ROOT / name).exists() and f"!{name}" in ignored, name
    for package in ("coordinator", "peers", "topologies"):
        assert package in copied


def test_readme__names_what_is_there() -> None:
    from typer.main import get_command

    from coordinator.cli import app

    text = (DOCKER / "README.md").read_text()
    commands = set(re.findall(r"peer-consensus ([a-z]+) (?!-)", text))
    assert commands and commands <= set(get_command(app).commands)  # type: ignore[attr-defined]
    for name in re.findall(r"(?:docker|configs|tests)/[\w./-]+\.(?:toml|yaml|sh|py)", text):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("bash", ["-n", "slurm.sh"]), ("shellcheck", ["slurm.sh"]), ("hadolint", ["Dockerfile"])],
    ids=["bash", "shellcheck", "hadolint"],
)
def test_linters__find_nothing(tool: str, arguments: list[str]) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run([tool, *arguments], cwd=DOCKER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
