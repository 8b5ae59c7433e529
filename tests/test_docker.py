"""The files of docker/ as far as they can be checked without a container engine."""

import os
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
        assert container["volumeMounts"][0] == {"name": "data", "mountPath": "/data"}
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_rayjob__its_config_and_overrides_are_valid() -> None:
    from coordinator import load_config

    words = documents("rayjob.yaml")[1]["spec"]["entrypoint"].split()
    assert words[:4] == ["python", "-m", "coordinator", "run"]
    config = load_config(ROOT / words[4], [word for word in words[5:] if "=" in word])
    assert config.hosting.placement == "spread" and config.checkpoint.path == "/data/checkpoints"


def strict(schema: Any) -> Any:
    """A schema in which what it does not name is an error: Kubernetes drops such fields without a word."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else {}
    return {**closed, **{key: strict(value) for key, value in schema.items()}}


@pytest.mark.skipif("KUBERAY_CRD" not in os.environ, reason="KUBERAY_CRD does not name KubeRay's ray.io_rayjobs.yaml")
def test_rayjob__fits_the_schema_of_kuberay() -> None:
    """Of ray-operator/config/crd/bases in github.com/ray-project/kuberay."""
    from jsonschema import Draft7Validator

    crd = yaml.safe_load(Path(os.environ["KUBERAY_CRD"]).read_text())
    (schema,) = [each["schema"]["openAPIV3Schema"] for each in crd["spec"]["versions"] if each["name"] == "v1"]
    schema["properties"]["metadata"] = {"type": "object"}
    job = documents("rayjob.yaml")[1]
    assert (job["apiVersion"], job["kind"]) == (f"{crd['spec']['group']}/v1", crd["spec"]["names"]["kind"])
    errors = [f"{error.json_path}: {error.message}" for error in Draft7Validator(strict(schema)).iter_errors(job)]
    assert errors == []
    job["spec"]["rayClusterSpec"]["authOption"] = {}
    assert not Draft7Validator(strict(schema)).is_valid(job), "a field that is not there is seen"


UNITS = {"gb": 2**30, "Gi": 2**30, "Mi": 2**20, "g": 2**30}


def num_bytes(text: str) -> int:
    amount, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", text).groups()  # type: ignore[union-attr]
    return int(amount) * UNITS.get(unit, 1)


def default_of(text: str, name: str) -> str:
    """What `${NAME:-value}` in a text stands for when the variable is not set."""
    (value,) = re.findall(rf"\$\{{{name}:-([^}}]+)\}}", text)
    return str(value)


def test_compose__the_object_store_fits_into_shared_memory_on_any_machine() -> None:
    """Ray's own default grows with the machine: up to 10 GB, whatever /dev/shm is."""
    (compose,) = documents("compose.yaml")
    for name in ("head", "worker"):
        service = compose["services"][name]
        store = default_of(service["command"].split("--object-store-memory=")[1].split()[0], "STORE")
        assert num_bytes(store) < 0.9 * num_bytes(default_of(service["shm_size"], "SHM"))


def test_rayjob__the_object_store_fits_into_shared_memory_and_that_into_the_container() -> None:
    spec = documents("rayjob.yaml")[1]["spec"]["rayClusterSpec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        (name,) = [each["name"] for each in container["volumeMounts"] if each["mountPath"] == "/dev/shm"]
        (volume,) = [each["emptyDir"] for each in pod["volumes"] if each["name"] == name]
        shared = num_bytes(volume["sizeLimit"])
        assert volume["medium"] == "Memory"
        assert num_bytes(group["rayStartParams"]["object-store-memory"]) < 0.9 * shared
        assert 2 * shared < num_bytes(container["resources"]["limits"]["memory"])


def test_dockerfile__a_store_that_ray_starts_by_itself_fits_into_what_the_readme_gives() -> None:
    (limit,) = re.findall(r"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES=(\d+)", (DOCKER / "Dockerfile").read_text())
    (given,) = re.findall(r"--shm-size=(\w+)", (DOCKER / "README.md").read_text())
    assert int(limit) < 0.9 * num_bytes(given)


def test_slurm__signals_the_script_alone_and_shares_nothing_with_other_jobs() -> None:
    """What tests/test_slurm.py shows on a Slurm."""
    text = (DOCKER / "slurm.sh").read_text()
    (sent,) = re.findall(r"^#SBATCH --signal=(.+)$", text, re.MULTILINE)
    assert sent.startswith("B:TERM@"), "without B: Slurm ends Ray before the checkpoint is written"
    assert "ray stop" not in text, "it ends every Ray of the user's on the node"
    assert num_bytes(default_of(text, "STORE")) > 0 and '--object-store-memory="$STORE"' in text


def test_readme__says_which_versions_are_needed() -> None:
    text = (DOCKER / "README.md").read_text()
    for needed in ("Docker Compose 2.3.3", "Docker 17.09", "KubeRay 1.5.1", "Slurm 22.05", "Ray 2.52"):
        assert needed in text, needed


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
