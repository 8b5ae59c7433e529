"""The live page against a real server and a real run, in Debian's Chromium."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from tests.coordinator.documents.run_folders import rows_of
from tests.coordinator.pages.browser import chromium
from tests.coordinator.watching.streams import address_in, command, listens, until

pytestmark = pytest.mark.slow
Started = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


def seen(browser: Chrome, what: str) -> Any:
    """What the page tells of itself; None until it has data."""
    return browser.execute_script(f"return window.peerView && window.peerView.document ? {what} : null")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_page__of_a_run_that_goes_on(started: Started, tiny: Path, browser: Chrome) -> None:
    """Opened while the run goes on, it sees rounds come; it has the values of the tables; then its server is killed."""
    settings = ["run.rounds=400", "evaluation.every=20", "data.num_train=4000", "peers.model={kind='mlp',hidden=[64]}"]
    with started(command("run", str(tiny), *settings, "--output", "out", "--watch", "--port", "0")) as it:
        port = address_in(it, "live page  http://127.0.0.1:")
        browser.get(f"http://127.0.0.1:{port}/")
        until(lambda: (seen(browser, "window.peerView.document.frames.length") or 0) >= 2, 120)
        early = seen(browser, "window.peerView.document.frames.length")
        last = 400 // 20 + 1  # all may be there at first on a busy machine: the server yields to the run
        until(lambda: seen(browser, "window.peerView.document.frames.length") > min(early, last - 1), 120)
        it.stdout.read()
        assert it.wait(60) == 0
    until(lambda: seen(browser, "window.peerView.document.status") == "finished", 5)
    (folder,) = Path("out").iterdir()

    with started(command("watch", str(folder), "--port", "0")) as server:
        port = address_in(server)
        browser.get(f"http://127.0.0.1:{port}/")
        until(lambda: seen(browser, "window.peerView.document.frames.length"), 60)
        rows = rows_of(folder, "edges")
        for frame in (0, 200, 400):
            browser.execute_script(f"window.peerView.setRound({frame})")
            for row in (row for row in rows if row["round"] == frame):
                shown = seen(browser, f"window.peerView.linkValue({row['teacher']}, {row['student']})")
                assert shown == pytest.approx(row["total_variation"], rel=6e-4)
        entropies = {row["peer"]: row for row in rows_of(folder, "peers") if row["round"] == 400}
        first = seen(browser, "window.peerView.document.nodes[0].name")
        assert first in ("knn_gain", "mean_entropy") and len(entropies) == 4
        slider = browser.find_element(By.CSS_SELECTOR, "input[type=range]")
        slider.send_keys(Keys.HOME)
        until(lambda: seen(browser, "window.peerView.round") == 0, 5)
        slider.send_keys(Keys.ARROW_RIGHT)
        until(lambda: seen(browser, "window.peerView.round") > 0, 5)
        browser.execute_script("window.peerView.selectPeer(2)")
        until(lambda: "peer 2" in browser.find_element(By.ID, "view").text.lower(), 5)
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 130 and time.monotonic() - began < 2.0 and not listens(port)
        until(lambda: "lost contact" in browser.find_element(By.ID, "view").text.lower(), 10)
    problems = [entry for entry in browser.get_log("browser") if "ERR_CONNECTION" not in entry["message"]]
    assert [entry for entry in problems if entry["level"] == "SEVERE" and "INCOMPLETE" not in entry["message"]] == []


NETWORK = [
    "network.clock=free-running",
    "network.compute={kind='lognormal',seconds=0.05,sigma=0.6}",
    "network.latency={kind='constant',seconds=0.05}",
    "network.churn={kind='exponential',up=2.0,down=1.0}",
    "network.loss={kind='bernoulli',probability=0.05}",
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_page__of_a_run_on_a_simulated_network(started: Started, tiny: Path, browser: Chrome) -> None:
    """While it goes on virtual time and absences grow; then it has the seconds, absences and ages of the tables."""
    settings = ["run.rounds=300", "evaluation.every=30", "data.num_train=4000", "peers.model={kind='mlp',hidden=[64]}"]
    out = ("--output", "timed", "--watch", "--port", "0")
    with started(command("run", str(tiny), *settings, *NETWORK, *out)) as it:
        browser.get(f"http://127.0.0.1:{address_in(it, 'live page  http://127.0.0.1:')}/")
        until(lambda: (seen(browser, "window.peerView.document.frames.length") or 0) >= 2, 120)
        if seen(browser, "window.peerView.document.status") == "running":  # else the machine was busy
            assert seen(browser, "window.peerView.seconds") > 0
        it.stdout.read()
        assert it.wait(120) == 0
    until(lambda: seen(browser, "window.peerView.document.status") == "finished", 5)
    (folder,) = Path("timed").iterdir()
    with started(command("watch", str(folder), "--port", "0")) as server:
        browser.get(f"http://127.0.0.1:{address_in(server)}/")
        until(lambda: seen(browser, "window.peerView.document.links.colourings"), 60)
        rounds = {row["round"]: row for row in rows_of(folder, "rounds")}
        for frame in (30, 150, 300):
            browser.execute_script(f"window.peerView.setRound({frame})")
            assert seen(browser, "window.peerView.seconds") == pytest.approx(rounds[frame]["virtual_seconds"], rel=1e-6)
        gone = [row for row in rows_of(folder, "network_presence") if not row["online"]]
        absences = {(row["peer"], row["seconds"]) for row in gone}
        marks = seen(browser, "window.peerView.document.peers.marks")
        assert len(absences) == sum(mark["kind"] == "offline" for each in marks.values() for mark in each) > 0
        heard = [row for row in rows_of(folder, "events") if row["kind"] == "study" and 120 < row["round"] <= 150]
        messages = seen(browser, "window.peerView.document.links.messages[5]")
        assert sum(messages) == len(heard) > 0
        facts = browser.find_element(By.CSS_SELECTOR, ".pv-facts").text
        assert "virtual time" in facts and "messages that did not arrive" in facts
        slider = browser.find_element(By.CSS_SELECTOR, "input[type=range]")
        slider.send_keys(Keys.HOME)
        until(lambda: seen(browser, "window.peerView.seconds") == 0, 5)
        slider.send_keys(Keys.ARROW_RIGHT)
        step = float(slider.get_attribute("step") or 0)
        until(lambda: abs(seen(browser, "window.peerView.seconds") - step) < 1e-6 * step, 5)
    problems = [entry for entry in browser.get_log("browser") if "ERR_CONNECTION" not in entry["message"]]
    assert [entry for entry in problems if entry["level"] == "SEVERE" and "INCOMPLETE" not in entry["message"]] == []
