"""The pages, data and events of a server, as a Starlette application; and what a browser is allowed to do with them."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.pages import component
from coordinator.watching.feed import Feed
from coordinator.watching.sources import MAIN, Sources

HEADERS = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
STATIC = {"view.js": (component.script, "text/javascript"), "view.css": (component.style, "text/css")}
UNCACHED = {"cache-control": "no-store"}


def application(sources: Sources, hosts: Collection[str]) -> ASGIApp:
    """The application. hosts: the values of the header Host that it answers to."""
    pages = _Pages(sources)
    routes = [
        Route("/", pages.page),
        Route("/run/{token}", pages.page),
        Route("/data/{token}", pages.data),
        Route("/events/{token}", pages.events),
        Route("/static/{name}", pages.static),
        Route("/favicon.ico", lambda request: Response(status_code=204)),
    ]
    return Guarded(Starlette(routes=routes), hosts)


class _Pages:
    """What each address answers; a token that was never given out is not found, whatever it says."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def page(self, request: Request) -> Response:
        token = request.path_params.get("token", MAIN)
        path = self._sources.path(token)
        if path is None:
            return _not_found()
        text = component.page(path.name, f"/data/{token}", f"/events/{token}")
        return Response(text, media_type="text/html", headers=UNCACHED)

    async def data(self, request: Request) -> Response:
        feed = self._sources.feed(request.path_params["token"])
        if feed is None:
            return _not_found()
        return Response(await feed.whole(), media_type="application/json", headers=UNCACHED)

    async def events(self, request: Request) -> Response:
        feed = self._sources.feed(request.path_params["token"])
        return _not_found() if feed is None else Events(feed, request.method == "HEAD")

    async def static(self, request: Request) -> Response:
        if request.path_params["name"] not in STATIC:
            return _not_found()
        content, kind = STATIC[request.path_params["name"]]
        return Response(content(), media_type=kind, headers={"cache-control": "no-cache"})


class Events(Response):
    """A stream of server-sent events, until the client or the server goes; then nothing of it is left."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, only_head: bool = False) -> None:
        self.status_code, self.background, self.body = 200, None, b""
        self._feed, self._only_head = feed, only_head
        self.init_headers(UNCACHED)
        self.raw_headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if not self._only_head:
            self._feed.join()
            tasks = [asyncio.create_task(self._pump(send)), asyncio.create_task(_disconnected(receive))]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                self._feed.leave()
                await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(OSError):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> None:
        async for piece in self._feed.events():
            await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Guarded:
    """Answers only to the names of this machine's loopback, so that no site of the web reads it by a name of its own.

    It reads only, and every answer forbids all but what is served here.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Any) -> Response | None:
        named = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        if len(named) != 1 or named[0] not in self._hosts:
            return PlainTextResponse("this server answers to 127.0.0.1 and localhost only\n", 421)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("only GET\n", 405, {"allow": "GET, HEAD"})
        return None


def _not_found() -> Response:
    return PlainTextResponse("there is nothing here\n", 404)
