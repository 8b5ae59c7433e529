"""Debian's Chromium for tests of pages, and a small server that sends a document and its changes."""

import base64
import hashlib
import json
import queue
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from coordinator.pages import component

SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
# Every text that is drawn on a canvas leaves its box, in CSS pixels, with the size of its canvas.
WATCH_TEXT = """
window.drawnTexts = [];
const draw = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const size = this.measureText(text);
  const ratio = this.getTransform().a;
  const canvas = this.canvas;
  window.drawnTexts.push({text, canvas: canvas.getAttribute("aria-label") || "", width: canvas.width / ratio,
    height: canvas.height / ratio, left: x - size.actualBoundingBoxLeft, right: x + size.actualBoundingBoxRight,
    top: y - size.actualBoundingBoxAscent, bottom: y + size.actualBoundingBoxDescent});
  return draw.apply(this, arguments);
};
window.alerts = 0;
window.alert = () => { window.alerts += 1; };
"""


@contextmanager
def chromium(profile: Path, width: int = 1200, height: int = 900, dark: bool = False) -> Iterator[Chrome]:
    """A headless browser with an empty profile. Skips the test, with the reason, where there is none."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs chromium and chromedriver")
    options = ChromeOptions()
    options.binary_location = binary
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(driver))
    try:
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH_TEXT})
        show_as(browser, width, height, dark)
        yield browser
    finally:
        browser.quit()


def show_as(browser: Chrome, width: int, height: int, dark: bool = False, ratio: float = 1) -> None:
    """The size of the page in CSS pixels, the colours that its reader prefers, and pixels of the screen to each."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def report_with(document: dict[str, Any], folder: Path) -> str:
    """Address of a page on disk that holds the component and its data, with a policy that allows nothing else."""
    page = folder / "report.html"
    view = str(component.inlined(document))
    (script,) = re.findall(r"<script>(.*?)</script>", view, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}"><title>report</title>'
    text = f'<!doctype html><html lang="en"><head>{head}</head><body>{view}</body></html>'
    page.write_text(text, encoding="utf-8")
    return page.as_uri()


class Live:
    """The live page of a document on a free port of this machine; `send` sends changes to all that listen."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._streams: list[queue.Queue[str]] = []
        self.start(0)

    def start(self, port: int) -> None:
        live = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                live._answer(self)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def send(self, event: str, data: dict[str, Any]) -> None:
        for stream in self._streams:
            stream.put(f"event: {event}\ndata: {json.dumps(data)}\n\n")

    def stop(self) -> None:
        """Ends the server and closes what is open."""
        for stream in self._streams:
            stream.put("")
        self._streams.clear()
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        pages = {
            "/": ("text/html", lambda: component.page("watched", "/data/main", "/events/main")),
            "/static/view.js": ("text/javascript", component.script),
            "/static/view.css": ("text/css", component.style),
            "/data/main": ("application/json", lambda: json.dumps(self.document)),
            "/events/main": ("text/event-stream", lambda: f"event: document\ndata: {json.dumps(self.document)}\n\n"),
        }
        kind, body = pages.get(request.path, ("text/plain", lambda: "none"))
        request.send_response(200 if request.path in pages else 404)
        request.send_header("Content-Type", kind + "; charset=utf-8")
        request.send_header("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'")
        request.end_headers()
        request.wfile.write(body().encode())
        if request.path == "/events/main":
            self._stream(request)

    def _stream(self, request: BaseHTTPRequestHandler) -> None:
        stream: queue.Queue[str] = queue.Queue()
        self._streams.append(stream)
        while text := stream.get():
            try:
                request.wfile.write(text.encode())
                request.wfile.flush()
            except OSError:  # the reader has gone
                return
