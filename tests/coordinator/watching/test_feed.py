import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from coordinator.documents.changes import applied, changes
from coordinator.watching import feed as feeds
from coordinator.watching.feed import Feed


class Source:
    """A document that a test changes."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"status": "running", "frames": [0]}
        self.reads, self.opened, self.fails = 0, 0, False

    def open(self) -> Callable[[], dict[str, Any]]:
        self.opened += 1
        return self.read

    def read(self) -> dict[str, Any]:
        self.reads += 1
        if self.fails:
            raise RuntimeError("a defect")
        return self.document

    def grow(self) -> None:
        self.document = {**self.document, "frames": [*self.document["frames"], len(self.document["frames"])]}


class Client:
    """Reads a feed's events as a browser does."""

    def __init__(self, feed: Feed) -> None:
        self.feed, self.document, self.kinds, self.times = feed, {}, list[str](), list[float]()
        feed.join()
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        text = b""
        async for piece in self.feed.events():
            text += piece
            while b"\n\n" in text:
                block, text = text.split(b"\n\n", 1)
                self._take(dict(line.split(": ", 1) for line in block.decode().splitlines() if ": " in line))

    def _take(self, fields: dict[str, str]) -> None:
        if "event" in fields:
            data = json.loads(fields["data"])
            self.kinds.append(fields["event"])
            self.times.append(time.monotonic())
            self.document = data if fields["event"] == "document" else applied(self.document, data)
            self.number = int(fields["id"])

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.feed.leave()


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.01)


def played(play: Callable[[Source, Feed], Awaitable[None]]) -> None:
    async def main() -> None:
        source = Source()
        feed = Feed(source.open, changes)
        try:
            await play(source, feed)
        finally:
            feed.close()

    asyncio.run(main())


def test_feed__many_clients_get_the_whole_then_changes_of_one_reader() -> None:
    async def play(source: Source, feed: Feed) -> None:
        clients = [Client(feed) for _ in range(50)]
        await until(lambda: all(client.document == source.document for client in clients))
        source.grow()
        await until(lambda: all(client.document == source.document for client in clients))
        late = Client(feed)
        await until(lambda: late.document == source.document)
        assert {tuple(client.kinds) for client in clients} == {("document", "change")} and late.kinds == ["document"]
        assert source.opened == 1 and late.number == clients[0].number

    played(play)


def test_feed__events_are_apart_and_only_of_changes() -> None:
    async def play(source: Source, feed: Feed) -> None:
        client = Client(feed)
        await until(lambda: client.kinds == ["document"])
        for _ in range(60):
            source.grow()
            await asyncio.sleep(0.02)
        await until(lambda: client.document == source.document)
        assert min(later - time_ for time_, later in zip(client.times, client.times[1:], strict=False)) > 0.2
        seen = len(client.kinds)
        await asyncio.sleep(0.6)
        assert len(client.kinds) == seen <= 9

    played(play)


def test_feed__a_client_that_is_far_behind_gets_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEPT", 3)
    monkeypatch.setattr(feeds, "APART", 0.01)
    monkeypatch.setattr(feeds, "LOOK", 0.01)

    async def play(source: Source, feed: Feed) -> None:
        quick = Client(feed)
        await until(lambda: bool(quick.kinds))
        feed.join()
        slow = feed.events()
        begun = b""
        while b"\n\n" not in begun.removeprefix(b"retry: 1000\n\n"):
            begun += await anext(slow)
        for _ in range(8):
            source.grow()
            await until(lambda: quick.document == source.document)
        assert len(feed._recent) == 3  # nothing is kept for the slow one
        piece = await anext(slow)
        assert b"event: document" in piece
        await slow.aclose()  # type: ignore[attr-defined]
        feed.leave()

    played(play)


def test_feed__nothing_is_read_when_nobody_follows() -> None:
    async def play(source: Source, feed: Feed) -> None:
        client = Client(feed)
        await until(lambda: bool(client.kinds))
        await client.leave()
        await asyncio.sleep(0.3)
        reads = source.reads
        await asyncio.sleep(0.5)
        assert source.reads == reads and feed.num_clients == 0
        source.grow()
        assert json.loads(await feed.whole()) == source.document  # asked for, it is of now
        again = Client(feed)
        await until(lambda: again.document == source.document)

    played(play)


def test_feed__what_was_read_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "FORGET", 0.05)

    async def play(source: Source, feed: Feed) -> None:
        client = Client(feed)
        await until(lambda: bool(client.kinds))
        await client.leave()
        await until(lambda: feed._document is None)
        again = Client(feed)
        await until(lambda: again.document == source.document)
        assert source.opened == 2
        await again.leave()
        await until(lambda: feed._document is None)
        assert json.loads(await feed.whole()) == source.document  # asked for once, it is not kept either
        await until(lambda: feed._document is None and feed._worker is None)

    played(play)


def test_feed__a_defect_of_reading_ends_no_stream(capsys: pytest.CaptureFixture[str]) -> None:
    async def play(source: Source, feed: Feed) -> None:
        client = Client(feed)
        await until(lambda: bool(client.kinds))
        source.fails = True
        await asyncio.sleep(0.5)
        source.fails = False
        source.grow()
        await until(lambda: client.document == source.document)

    played(play)
    assert capsys.readouterr().err.count("RuntimeError: a defect") == 1


def test_feed__closing_ends_all_streams_at_once() -> None:
    async def play(source: Source, feed: Feed) -> None:
        clients = [Client(feed) for _ in range(3)]
        await until(lambda: all(client.kinds for client in clients))
        begun = time.monotonic()
        feed.close()
        await asyncio.gather(*(client.task for client in clients))
        assert time.monotonic() - begun < 0.5

    played(play)
