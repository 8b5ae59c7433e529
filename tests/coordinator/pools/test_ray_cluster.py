"""Which Ray is joined: names are resolved by this machine, and what cannot be reached is told at once."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from coordinator import ConfigError
from coordinator.pools.ray_cluster import end_ray, start_ray


@pytest.fixture
def port() -> Iterator[int]:
    """Something listens there, on all addresses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Ray is asked for; it joins nothing."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(ray, "init", lambda **options: asked.append(options))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return asked


def known_here(monkeypatch: pytest.MonkeyPatch, name: str, address: str) -> None:
    """As in /etc/hosts."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: resolve(address if host == name else host, *rest, **more)
    )


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_start_ray__gets_a_number_for_a_name(
    port: int, joined: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    known_here(monkeypatch, "head.lab", "127.0.0.1")
    guard = start_ray(f"{scheme}head.lab:{port}")
    assert joined[0]["address"] == f"{scheme}127.0.0.1:{port}" and "_temp_dir" not in joined[0]
    assert guard.folder == ""  # nothing of it is ours to end
    end_ray(guard)


def test_start_ray__auto_goes_where_the_environment_says(
    port: int, joined: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    known_here(monkeypatch, "head.lab", "127.0.0.1")
    monkeypatch.setenv("RAY_ADDRESS", f"head.lab:{port}")
    end_ray(start_ray("auto"))
    assert joined[0]["address"] == f"127.0.0.1:{port}"


def test_start_ray__ipv6(joined: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        port = server.getsockname()[1]
        known_here(monkeypatch, "head.lab", "::1")
        for host in ("[::1]", "head.lab"):
            end_ray(start_ray(f"{host}:{port}"))
    assert [each["address"] for each in joined] == [f"[::1]:{port}"] * 2


def test_start_ray__here_is_patient_with_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user has set stays; nothing stays set for others."""
    names = ("RAY_worker_niceness", "RAY_worker_register_timeout_seconds")
    seen: list[list[str | None]] = []
    monkeypatch.setattr(ray, "init", lambda **options: seen.append([os.environ.get(name) for name in names]))
    monkeypatch.delenv(names[0], raising=False)
    monkeypatch.setenv(names[1], "90")
    end_ray(start_ray("local"))
    monkeypatch.delenv(names[1])
    end_ray(start_ray("local"))
    assert seen == [["0", "90"], ["0", "180"]] and not {*names} & os.environ.keys()


@pytest.mark.parametrize("address", ["no-such-host.invalid:6379", "a..b:6379", "127.0.0.1:1", "127.0.0.1:99999"])
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_start_ray__nobody_there(joined: list[dict[str, Any]], address: str, scheme: str) -> None:
    with pytest.raises(ConfigError, match=rf"^hosting.address: no Ray cluster at '{scheme}{address}': [^\n]*$"):
        start_ray(scheme + address)
    assert joined == []
