"""One reader of a run or a list for all pages that follow it: read in a thread, told as server-sent events."""

import asyncio
import json
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

Document = Mapping[str, Any]
Result = TypeVar("Result")
LOOK, LOOK_SELDOM = 0.1, 1.0  # seconds between two looks at the folder, of a run that goes on and of other things
APART = 0.25  # seconds between two events at least
HEARTBEAT = 5.0  # seconds without an event until a comment says that the connection is there
FORGET = 60.0  # seconds without a client until what was read is forgotten
KEPT, KEPT_BYTES = 64, 8 * 2**20  # changes for clients that are behind; those further behind get the whole again
LEAVING = 0.02  # seconds between two looks whether all clients have left
PIECE = 2**16  # bytes that are handed to a connection at a time, so that slow clients do not pile up memory
RETRY = b"retry: 1000\n\n"
STILL_HERE = b": still here\n\n"


class Feed:
    """Follows a folder as long as somebody follows the feed; then only the dates of files are looked at.

    opened: gives the function that reads the document, the same object if nothing has changed. changes: what has
    changed between two documents, {} if nothing.
    """

    def __init__(
        self, opened: Callable[[], Callable[[], Document]], changes: Callable[[Document, Document], dict[str, Any]]
    ) -> None:
        self._opened, self._changes = opened, changes
        self._read: Callable[[], Document] | None = None
        self._worker: _Worker | None = None
        self._document: Document | None = None
        self._number = 0
        self._recent: deque[tuple[int, bytes]] = deque()
        self._whole: tuple[int, bytes] = (-1, b"")
        self._news = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._failed = ""
        self.num_clients, self._num_asking, self.closed = 0, 0, False

    async def whole(self) -> bytes:
        """The document as JSON, as of now if nobody follows the feed, else as of the last event."""
        self._num_asking += 1
        try:
            if not self.num_clients or self._document is None:
                await self._look()
            return (await self._dumped())[1]
        finally:
            self._num_asking -= 1
            self._forget_later()

    async def events(self) -> AsyncIterator[bytes]:
        """The events of one client, in pieces: the whole document, then changes, and comments in between."""
        yield RETRY
        seen = -1
        while True:
            news = self._news
            if self._document is None or seen == self._number:
                if self.closed:
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), HEARTBEAT)
                    continue
                yield STILL_HERE
                continue
            newer = [change for change in self._recent if change[0] > seen]
            if seen >= 0 and newer and newer[0][0] == seen + 1:
                for number, text in newer:
                    seen = number
                    for piece in _event("change", number, text):
                        yield piece
            else:
                seen, text = await self._dumped()
                for piece in _event("document", seen, text):
                    yield piece

    def join(self) -> None:
        """A client comes; every `join` needs a `leave`."""
        self.num_clients += 1
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())

    def leave(self) -> None:
        self.num_clients -= 1
        self._forget_later()

    async def last_look(self) -> None:
        """Tell whoever follows the feed what there is now, and end their streams; returns once they have got it."""
        if self._following is not None:
            self._following.cancel()  # a look of its own may have begun before the run ended
        if self.num_clients:
            with suppress(Exception):
                await self._look()
        self.closed = True
        self._news.set()
        while self.num_clients:
            await asyncio.sleep(LEAVING)

    def close(self) -> None:
        """End all streams and the thread."""
        self.closed = True
        self._news.set()
        if self._following is not None:
            self._following.cancel()
        self._forget()

    async def _follow(self) -> None:
        while self.num_clients and not self.closed:
            begun, number = time.monotonic(), self._number
            failed = ""
            try:
                await self._look()
            except Exception:  # a defect of ours ends neither the server nor the following of this run
                failed = traceback.format_exc()
                if failed != self._failed:
                    print(failed, file=sys.stderr, flush=True)
            self._failed = failed
            goes_on = self._document is not None and self._document.get("status") == "running"
            pause = APART if number != self._number else LOOK if goes_on else LOOK_SELDOM
            await asyncio.sleep(max(pause - (time.monotonic() - begun), LOOK / 2))

    async def _look(self) -> None:
        """Read, and tell the clients if anything has changed."""
        old = self._document
        new, change = await self._in_thread(lambda: self._step(old))
        if new is self._document or old is not self._document:
            return
        self._document = new
        if old is None:
            self._recent.clear()
            self._number += 1
        elif change:
            self._number += 1
            self._recent.append((self._number, change))
            while len(self._recent) > KEPT or sum(len(text) for _, text in self._recent) > KEPT_BYTES:
                self._recent.popleft()
        else:
            return
        self._news.set()
        self._news = asyncio.Event()

    def _step(self, old: Document | None) -> tuple[Document, bytes]:
        """In the thread: the document, and what has changed as JSON."""
        if self._read is None:
            self._read = self._opened()
        new = self._read()
        changed = self._changes(old, new) if old is not None and new is not old else {}
        return new, _json(changed) if changed else b""

    async def _dumped(self) -> tuple[int, bytes]:
        """The number and the JSON of the document as it is now; written once for all clients."""
        number, document = self._number, self._document
        if self._whole[0] != number:
            self._whole = number, await self._in_thread(lambda: _json(document))
        return self._whole

    async def _in_thread(self, job: Callable[[], Result]) -> Result:
        if self._worker is None:
            self._worker = _Worker()
        return await self._worker.call(job)

    def _forget_later(self) -> None:
        if not self.num_clients and not self.closed:
            asyncio.get_running_loop().call_later(FORGET, self._forget)

    def _forget(self) -> None:
        if (self.num_clients or self._num_asking) and not self.closed:
            return
        self._read, self._document, self._whole = None, None, (-1, b"")
        self._recent.clear()
        if self._worker is not None:
            self._worker.end()
            self._worker = None


class _Worker:
    """A thread for blocking work, which keeps nobody waiting: neither the event loop, nor the end of the process."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True, name="reading").start()

    async def call(self, job: Callable[[], Result]) -> Result:
        answer: asyncio.Future[Result] = self._loop.create_future()
        self._jobs.put((job, answer))
        return await answer

    def end(self) -> None:
        self._jobs.put(None)

    def _run(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, answer = entry
            try:
                result, error = job(), None
            except Exception as raised:  # it is raised again where the answer is awaited
                result, error = None, raised
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(_answer, answer, result, error)


def _answer(answer: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if answer.done():  # who has asked is gone
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


def _json(value: Any) -> bytes:
    """Without line breaks, as an event's data must be."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def _event(name: str, number: int, text: bytes) -> Iterator[bytes]:
    yield f"id: {number}\nevent: {name}\ndata: ".encode("ascii")
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]
    yield b"\n\n"
