import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordinator.documents.document import run_document
from coordinator.watching.app import application
from coordinator.watching.sources import Sources

HOST = "127.0.0.1:8800"
CONFIG = '[run]\nname = "shown"\n[data]\nkind = "digits"\n[topology]\nkind = "ring"\n'
HOSTILE = ["<script>alert(1)</script>", "\u202egnp.exe", "x" * 100, "a'b\"c&d", "100% of {{ 7*7 }}", "-h", "a\nb"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "config.toml").write_text(CONFIG)
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "runs"


class Client:
    """Asks an application without a server; all in one event loop, as its feeds belong to one."""

    def __init__(self, folder: Path, runner: asyncio.Runner) -> None:
        app: Any = application(Sources(folder), {HOST, "localhost:8800"})
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{HOST}")
        self._runner = runner

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)


@contextmanager
def client_of(folder: Path) -> Iterator[Client]:
    with asyncio.Runner() as runner:
        yield Client(folder, runner)


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    with client_of(folder) as client:
        yield client


def test_app__a_list_names_runs_by_tokens(client: Client, folder: Path) -> None:
    (entry,) = client.get("/data/main").json()["runs"]
    assert entry["name"] == "first" and "first" not in entry["id"] and len(entry["id"]) >= 12
    shown = client.get(f"/data/{entry['id']}").json()
    assert shown == {**run_document(folder / "first", ended=False), "name": "first"}
    page = client.get(f"/run/{entry['id']}")
    assert page.headers["content-type"].startswith("text/html") and f'data-events="/events/{entry["id"]}"' in page.text


@pytest.mark.parametrize("path", ["/", "/data/main", "/static/view.js", "/static/view.css", "/nothing", "/data/none"])
def test_app__every_answer_forbids_what_is_not_served_here(client: Client, path: str) -> None:
    headers = client.get(path).headers
    policy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    assert headers["content-security-policy"] == policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    if path == "/data/main":
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost:8800.evil.example", "", "0.0.0.0:8800"]
)
def test_app__answers_to_its_own_name_only(client: Client, host: str) -> None:
    refused = client.get("/data/main", headers={"host": host})
    assert refused.status_code == 421 and "first" not in refused.text
    assert client.get("/data/main", headers={"host": "LOCALHOST:8800"}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_app__only_reads(client: Client, method: str) -> None:
    assert client.ask(method, "/").status_code == 405


def test_app__heads_have_no_body(client: Client) -> None:
    for path in ("/", "/data/main", "/events/main", "/static/view.js"):
        answer = client.ask("HEAD", path)
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/run/../../secret.txt",
        "/run/%2e%2e%2f%2e%2e%2fsecret.txt",
        "/data/first",
        "/data/%2e%2e",
        "/data/main%00",
        "/data/..%5c..%5csecret.txt",
        "/static/../app.py",
        "/static/%2e%2e%2fapp.py",
        "/static/view.html",
        "/static//etc/passwd",
        "/data/" + "a" * 20_000,
        "/events/none",
        "/run/",
        "/data/\u202e",
    ],
)
def test_app__no_address_leads_to_a_file(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 and "secret" not in answer.text and "root:" not in answer.text


@pytest.mark.parametrize("name", HOSTILE)
def test_app__a_hostile_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name.replace("/", "_")
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG)
    with client_of(folder) as client:
        page, data = client.get("/").text, client.get("/data/main")
    assert "<script>alert" not in page and "49" not in page
    document: dict[str, Any] = json.loads(data.text)
    assert document["name"] == folder.name and data.headers["content-type"].startswith("application/json")
