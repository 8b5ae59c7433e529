"""A picture of a run's page as the live page shows it, by headless Chromium: for a README, or a talk.

PYTHONPATH=. python tests/benchmarks/picture.py RUN FILE.png [--round 60] [--width 1200] [--height 900] [--dark]
"""

import argparse
import tempfile
from pathlib import Path

from selenium.webdriver.support.wait import WebDriverWait

from coordinator.documents.document import run_document
from tests.coordinator.pages import browser

READY = "return Boolean(window.peerView && window.peerView.document)"
DRAWN = "const [done] = arguments; requestAnimationFrame(() => requestAnimationFrame(done));"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("file", type=Path, help="PNG to write")
    parser.add_argument("--round", type=int, help="by default the last one")
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    asked = parser.parse_args()
    live, size = browser.Live(run_document(asked.run)), (asked.width, asked.height)
    with tempfile.TemporaryDirectory() as profile, browser.chromium(Path(profile), *size, asked.dark) as page:
        page.get(live.url)
        WebDriverWait(page, 30).until(lambda found: found.execute_script(READY))
        if asked.round is not None:
            page.execute_script("window.peerView.setRound(arguments[0])", asked.round)
        page.execute_async_script(DRAWN)
        page.save_screenshot(str(asked.file))
    live.stop()
    print(f"{asked.file}: {asked.width} x {asked.height}")


if __name__ == "__main__":
    main()
