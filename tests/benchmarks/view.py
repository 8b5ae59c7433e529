"""The page of a run in headless Chromium, drawn by the CPU: pictures a second, times of its layers, size of its code.

Of random regular graphs of 1,024 peers with 30 measurements: of degree 8 (4,096 lines), of degree 20 (10,240), and
20,000 links of degree 40, the most that a document has. `playing`: the slider plays. `dragged`: each picture shows
another measurement, so all is drawn anew each time, but links of a crowded graph ten times a second or less. `pointed`:
the pointer moves over the graph.
"""

import argparse
import gzip
import tempfile
import time
from pathlib import Path
from typing import Any

from common import show
from selenium.webdriver import Chrome

from coordinator.pages import component
from tests.coordinator.pages import browser, documents

# Counts the pictures of `seconds`, having done `step(count)` before each.
COUNT = """
const [seconds, kind, done] = arguments;
const {peerView: view} = window;
const canvas = document.querySelector(".pv-graph canvas:nth-of-type(3)");
const frames = view.document.frames;
const box = canvas.getBoundingClientRect();
const move = (count) => canvas.dispatchEvent(new PointerEvent("pointermove", {bubbles: true,
  clientX: box.left + 40 + (count * 7) % 380, clientY: box.top + 60 + (count * 13) % 340}));
const steps = {playing: () => {}, dragged: (count) => view.setRound(frames[count % frames.length]), pointed: move};
if (kind === "playing") document.querySelector(".pv-play").click();
const start = performance.now();
let count = 0;
let longest = 0;
let last = start;
const tick = (now) => {
  longest = Math.max(longest, now - last);
  last = now;
  if (now - start > seconds * 1000) return done({fps: count / seconds, longest_ms: longest});
  count += 1;
  steps[kind](count);
  requestAnimationFrame(tick);
};
requestAnimationFrame(tick);
"""


def measured(page: Chrome, url: str, seconds: float) -> dict[str, Any]:
    page.set_script_timeout(seconds + 60)
    found: dict[str, Any] = {}
    for kind in ("playing", "dragged", "pointed"):
        page.get(url)
        time.sleep(2)
        found[kind] = {name: round(value, 1) for name, value in page.execute_async_script(COUNT, seconds, kind).items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6)
    seconds = parser.parse_args().seconds
    texts = {"script": component.script().encode(), "style": component.style().encode()}
    found: dict[str, Any] = {"bytes": {name: len(text) for name, text in texts.items()}}
    found["bytes gzipped"] = {name: len(gzip.compress(text)) for name, text in texts.items()}
    with tempfile.TemporaryDirectory() as folder, browser.chromium(Path(folder, "profile")) as page:
        for degree in (8, 20, 40):
            links = documents.random_regular(1024, degree)[::2][:20_000]  # one direction of each
            document = documents.run(1024, links, documents.disc(1024), frames=30)
            url = browser.report_with(document, Path(folder))
            found[f"1024 peers, {len(links)} links"] = measured(page, url, seconds)
    show(found)


main()
