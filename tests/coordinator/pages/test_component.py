"""The component in a browser: what is drawn and said is what its document holds."""

import copy
import itertools
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from coordinator.reports.formatting import points
from tests.coordinator.pages import documents
from tests.coordinator.pages.browser import Live, chromium, report_with, show_as

pytestmark = pytest.mark.slow

OUTSIDE = """
return window.drawnTexts.filter(({left, right, top, bottom, width, height}) =>
  left < -0.5 || top < -0.5 || right > width + 0.5 || bottom > height + 0.5);
"""
PIXEL = """
const [peer, layer] = arguments;
const canvas = document.querySelectorAll(".pv-graph canvas")[layer];
const [x, y] = peerView.place(peer).map((each) => Math.round((each + 5) * devicePixelRatio));
return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data];
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def report(page: Chrome, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Opens a page on disk with a document inlined, and gives the document."""

    def open_report(document: dict[str, Any], width: int = 1200, height: int = 900, dark: bool = False) -> Any:
        show_as(page, width, height, dark)
        page.get(report_with(document, tmp_path))
        rest(page)
        return document

    return open_report


@pytest.fixture
def live() -> Iterator[Callable[[dict[str, Any]], Live]]:
    servers: list[Live] = []

    def start(document: dict[str, Any]) -> Live:
        servers.append(Live(document))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def rest(page: Chrome) -> None:
    """Until pictures that were asked for are drawn."""
    page.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 30)));"
    )


def until(page: Chrome, condition: str, seconds: float = 5) -> float:
    """Waits for a condition in JavaScript; how many seconds it took."""
    start = time.monotonic()
    while not page.execute_script(f"return {condition};"):
        assert time.monotonic() - start < seconds, condition
        time.sleep(0.02)
    return time.monotonic() - start


def ask(page: Chrome, expression: str) -> Any:
    return page.execute_script(f"return {expression};")


def assert_no_errors(page: Chrome) -> None:
    assert [each for each in page.get_log("browser") if "favicon" not in each["message"]] == []


def test_slider__keys_move_it_and_the_links_have_the_values_of_their_measurement(page: Chrome, report: Any) -> None:
    document = report(documents.run())
    slider = page.find_element(By.CSS_SELECTOR, "input[type=range]")
    keys = [(Keys.HOME, 0), (Keys.PAGE_UP, 20), (Keys.ARROW_RIGHT, 21), (Keys.PAGE_DOWN, 20), (Keys.END, 120)]
    for key, expected in keys:
        slider.send_keys(key)
        rest(page)
        assert ask(page, "peerView.round") == expected
        assert slider.get_attribute("aria-valuetext") == f"round {expected} of 120"
        frame = max(at for at, round_ in enumerate(document["frames"]) if round_ <= expected)
        for (teacher, student), value in zip(
            document["links"]["list"], document["links"]["values"][frame], strict=True
        ):
            assert ask(page, f"peerView.linkValue({teacher}, {student})") == value
        gain = document["nodes"][0]
        row = max(at for at, each in enumerate(gain["frames"]) if each <= frame)
        assert [ask(page, f"peerView.nodeValue({peer})") for peer in range(8)] == gain["values"][row]
    assert_no_errors(page)


def test_colour__of_peers_is_one_that_is_measured_unless_another_is_chosen(page: Chrome, report: Any) -> None:
    document = documents.run()
    for colouring in document["nodes"][:1]:  # a gain that is known at the end only
        colouring["frames"], colouring["values"] = colouring["frames"][-1:], colouring["values"][-1:]
    report(document)
    late, early = (document["nodes"][place] for place in (0, 1))
    choice = Select(page.find_elements(By.CSS_SELECTOR, ".pv-bar select")[0])
    for round_, shown in ((120, late), (0, early), (119, early), (120, late)):
        page.execute_script(f"peerView.setRound({round_})")
        rest(page)
        assert choice.first_selected_option.text == shown["title"]
        assert ask(page, "peerView.nodeValue(1)") is not None
    for colouring in (early, late):
        choice.select_by_visible_text(colouring["title"])
    page.execute_script("peerView.setRound(0)")
    rest(page)
    assert choice.first_selected_option.text == late["title"] and ask(page, "peerView.nodeValue(1)") is None


def test_verdicts__that_claim_something_stand_out(page: Chrome, live: Any) -> None:
    page.get(live(documents.run()).url)
    until(page, "window.peerView")
    look = "[...document.querySelectorAll('.pv-headline li')].map((each) => getComputedStyle(each).fontWeight)"
    assert ask(page, look) == ["400", "600", "400"]
    shape = "getComputedStyle(each, '::before').content"
    shapes = ask(page, f"[...document.querySelectorAll('.pv-headline li')].map((each) => {shape})")
    assert shapes == ['"\u25cf"', '"\u25b2"', '"\u25cf"']


def test_list__keeps_its_layout_before_the_curves_are_drawn(page: Chrome, live: Any) -> None:
    show_as(page, 360, 300)  # most rows are out of sight
    page.get(live(documents.listing()).url)
    until(page, "document.querySelectorAll('.pv-run').length === 6")
    rest(page)
    sizes = ask(page, "[...document.querySelectorAll('.pv-spark canvas')].map((each) => each.clientWidth)")
    assert len(sizes) == 12 and set(sizes) == {120}


def test_click__opens_the_panel_of_the_peer_with_its_links(page: Chrome, report: Any) -> None:
    document = report(documents.run())
    canvas = page.find_elements(By.CSS_SELECTOR, ".pv-graph canvas")[2]
    x, y = ask(page, "peerView.place(4)")
    middle = canvas.size["width"] / 2, canvas.size["height"] / 2
    ActionChains(page).move_to_element_with_offset(canvas, int(x - middle[0]), int(y - middle[1])).click().perform()
    rest(page)
    panel = page.find_element(By.CSS_SELECTOR, ".pv-peer")
    assert panel.find_element(By.TAG_NAME, "h3").text == "Peer 4"
    rows = panel.find_elements(By.CSS_SELECTOR, "table:first-child tbody tr")
    shown = {int(row.text.split()[0]): float(row.text.split()[1]) for row in rows}
    links = zip(document["links"]["list"], document["links"]["values"][-1], strict=True)
    expected = {teacher: value for (teacher, student), value in links if student == 4}
    assert shown == {teacher: pytest.approx(value, rel=6e-3) for teacher, value in expected.items()}
    assert list(shown.values()) == sorted(shown.values(), reverse=True)
    captions = [each.text.split("\n") for each in panel.find_elements(By.CSS_SELECTOR, "figcaption")]
    series = [(curve["title"], curve["y"][-1][4]) for curve in document["peer_curves"]]
    series.append((document["nodes"][0]["title"], document["nodes"][0]["values"][-1][4]))  # what colours the peers
    assert [(words[0], float(words[-1].rstrip("%"))) for words in captions] == [
        (title, pytest.approx(value, rel=6e-3)) for title, value in series
    ]
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    rest(page)
    assert not panel.is_displayed()
    assert ask(page, "peerView.selected") == -1


def test_peers__are_chosen_without_a_pointer(page: Chrome, report: Any) -> None:
    report(documents.run())
    Select(page.find_elements(By.CSS_SELECTOR, ".pv-bar select")[1]).select_by_value("2")
    rest(page)
    assert page.find_element(By.CSS_SELECTOR, ".pv-peer h3").text == "Peer 2"


def test_charts__a_click_moves_the_cursor_of_all(page: Chrome, report: Any) -> None:
    report(documents.run())
    surface = page.find_elements(By.CSS_SELECTOR, ".pv-right > .pv-charts canvas")[1]
    ActionChains(page).move_to_element(surface).click().perform()
    rest(page)
    picked = ask(page, "peerView.round")
    assert 40 < picked < 85  # the middle of the canvas; its margins are for words
    assert page.find_element(By.CSS_SELECTOR, ".pv-round").text == f"round {picked} of 120"


def test_play__space_starts_and_stops_it(page: Chrome, report: Any) -> None:
    report(documents.run())
    play = page.find_element(By.CSS_SELECTOR, ".pv-play")
    ActionChains(page).send_keys(Keys.SPACE).perform()
    assert play.get_attribute("aria-pressed") == "false"  # the focus is elsewhere: it scrolls the report
    page.execute_script("document.querySelector('.pv-slider').focus()")
    ActionChains(page).send_keys(Keys.SPACE).perform()
    assert play.get_attribute("aria-pressed") == "true"
    until(page, "peerView.round > 5 && peerView.round < 100")
    assert ask(page, "peerView.fps()") > 5
    ActionChains(page).send_keys(Keys.SPACE).perform()
    assert play.get_attribute("aria-pressed") == "false"
    rest(page)
    stopped = ask(page, "peerView.round")
    time.sleep(0.4)
    assert ask(page, "peerView.round") == stopped


def test_play__goes_from_measurement_to_measurement_where_motion_is_to_be_reduced(page: Chrome, report: Any) -> None:
    document = report(documents.run())
    features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.find_element(By.CSS_SELECTOR, ".pv-play").click()
    seen = set()
    start = time.monotonic()
    while time.monotonic() - start < 2.4:
        seen.add(ask(page, "peerView.round"))
    assert {0, 20, 40} <= seen <= set(document["frames"])


def test_graph__of_many_links_is_drawn_to_the_end_after_the_slider_was_dragged(page: Chrome, report: Any) -> None:
    """While it is dragged, the links of a crowded graph may come later than the rest."""
    document = report(documents.run(1024, documents.random_regular(1024, 8), documents.disc(1024), frames=12))
    picture = "document.querySelector('.pv-graph canvas').toDataURL()"
    page.execute_script(f"peerView.setRound({document['frames'][4]})")
    time.sleep(0.6)
    expected = ask(page, picture)
    page.execute_async_script(
        "const done = arguments[1]; const rounds = [...arguments[0]];"
        "const step = () => { if (!rounds.length) return done(); peerView.setRound(rounds.shift());"
        " requestAnimationFrame(step); }; step();",
        [*document["frames"], document["frames"][4]],
    )
    time.sleep(0.6)
    assert ask(page, picture) == expected
    page.execute_script(f"peerView.setRound({document['frames'][0]})")
    time.sleep(0.6)
    assert ask(page, picture) != expected


SHAPES = {
    "ring": lambda: documents.run(),
    "ring of 64": lambda: documents.run(64),
    "two peers": lambda: documents.run(2),
    "1024 peers": lambda: documents.run(1024, documents.random_regular(1024, 8), documents.disc(1024), frames=5),
    "running": lambda: documents.running(documents.run(), 3, 50),
    "nothing yet": lambda: documents.running(documents.run(), 0, 0),
    "no links": lambda: documents.run(6, []),
    "large numbers": lambda: _large(documents.run()),
    "hostile": documents.hostile,
    "list": documents.listing,
}


def _large(document: dict[str, Any]) -> dict[str, Any]:
    """Losses of millions and of millionths, and a run of a million rounds."""
    for curve, factor in zip(document["curves"], (3e6, 2e-6, 1e9, 12345.678, -1e4), strict=True):
        for column in ("y", "low", "high"):
            curve[column] = curve[column] and [value * factor for value in curve[column]]
        curve["x"] = [round_ * 10_000 for round_ in curve["x"]]
    document["frames"] = [round_ * 10_000 for round_ in document["frames"]]
    document["clock"]["to"] = document["total"] = document["completed"] = 1_200_000
    return document


@pytest.mark.parametrize("size", [(1200, 900), (360, 800)], ids=["wide", "phone"])
@pytest.mark.parametrize("shape", SHAPES)
def test_page__texts_stay_in_their_canvas_and_nothing_is_wider_than_the_page(
    page: Chrome, live: Any, shape: str, size: tuple[int, int]
) -> None:
    show_as(page, *size)
    page.get(live(SHAPES[shape]()).url)
    until(page, "window.peerView && document.querySelector('h1').textContent")
    rest(page)
    if shape != "list":
        page.execute_script("peerView.selectPeer(1)")
        rest(page)
    assert len(ask(page, "window.drawnTexts")) > 0 or shape in ("list", "nothing yet")
    assert page.execute_script(OUTSIDE) == []
    assert ask(page, "document.documentElement.scrollWidth") <= size[0]
    assert_no_errors(page)


def test_format__differences_are_written_as_in_sentences(page: Chrome) -> None:
    page.get("about:blank")
    script = files("coordinator.pages").joinpath("static/format.js").read_text(encoding="utf-8")
    values = [0.0, 2e-14, -3e-12, 0.03, -0.03, 0.004, 0.049, 0.05, -0.06, 0.25, 0.35, -0.75, 1.25, 2.5, -15.94, 100.0]
    written = page.execute_script(script + "; return arguments[0].map((value) => formatSigned(value));", values)
    assert written == [points(value / 100).replace("-", "\u2212") for value in values]


def test_graph__marks_come_and_go_between_two_measurements(page: Chrome, report: Callable[..., Any]) -> None:
    document = documents.run()
    frame = document["frames"][1]
    offline = {"kind": "offline", "words": "offline", "from": frame, "until": frame + 2}
    back = {**offline, "from": frame + 2, "until": frame + 4}
    document["peers"]["marks"] = {"0": [offline], "1": [back]}
    report(document)

    def drawn(completed: int) -> str:
        page.execute_script("peerView.setRound(arguments[0])", completed)
        rest(page)
        script = "return document.querySelectorAll('.pv-graph canvas')[1].toDataURL()"
        picture: str = page.execute_script(script)
        return picture

    assert document["frames"][2] > frame + 4
    pictures = [drawn(frame + after) for after in (1, 2, 3, 4, 1)]
    assert pictures[0] == pictures[4] and pictures[1] == pictures[2]
    assert len(set(pictures)) == 3


def test_names__stay_text(page: Chrome, live: Any) -> None:
    show_as(page, 1200, 900)
    document = documents.hostile()
    page.get(live(document).url)
    until(page, "window.peerView")
    page.execute_script("peerView.selectPeer(3)")
    rest(page)
    time.sleep(0.6)  # until it is said too
    texts = page.execute_script("return [...document.querySelectorAll('#view bdi')].map((each) => each.textContent)")
    assert texts.count(documents.HOSTILE) >= 6
    assert ask(page, "document.querySelector('.pv-headline bdi').textContent") == documents.HOSTILE
    assert ask(page, "document.querySelectorAll('#view script, #view img, #view iframe').length") == 0
    assert ask(page, "window.alerts") == 0
    unsafe = "return [...document.querySelectorAll('#view bdi')].every((each) => each.children.length === 0)"
    assert page.execute_script(unsafe)
    page.get(live(documents.listing()).url)
    until(page, "document.querySelectorAll('.pv-run').length === 6")
    assert documents.HOSTILE in page.execute_script(
        "return [...document.querySelectorAll('.pv-run a bdi')].map((each) => each.textContent)"
    )
    assert ask(page, "window.alerts") == 0


def test_report__needs_no_network(page: Chrome, report: Any) -> None:
    report(documents.run())
    assert ask(page, "location.protocol") == "file:"
    assert ask(page, "performance.getEntriesByType('resource').length") == 0
    assert not page.find_element(By.CSS_SELECTOR, ".pv-head").is_displayed()  # the report has its own
    assert_no_errors(page)


def test_live__changes_make_the_document_that_the_server_has(page: Chrome, live: Any) -> None:
    late = documents.run()
    stages = [documents.running(late, 2, 30), documents.running(late, 4, 70), late]
    server = live(stages[0])
    page.get(server.url)
    until(page, "window.peerView && peerView.round === 30")
    assert "running" in page.find_element(By.CSS_SELECTOR, ".pv-chip").text
    for early, later in itertools.pairwise(stages):
        server.send("change", documents.changes(early, later))
        until(page, f"peerView.round === {later['completed']}")
        assert ask(page, "peerView.document") == later
    assert "finished" in page.find_element(By.CSS_SELECTOR, ".pv-chip").text
    assert len(page.find_elements(By.CSS_SELECTOR, ".pv-headline li")) == 3


def test_live__a_slider_that_was_moved_stays_until_follow_is_pressed(page: Chrome, live: Any) -> None:
    late = documents.run()
    early, later = documents.running(late, 3, 50), documents.running(late, 4, 70)
    server = live(early)
    page.get(server.url)
    until(page, "window.peerView && peerView.round === 50")
    page.execute_script("peerView.setRound(20)")
    server.send("change", documents.changes(early, later))
    until(page, "peerView.document.completed === 70")
    assert ask(page, "peerView.round") == 20
    page.find_element(By.XPATH, "//button[text()='follow']").click()
    assert ask(page, "peerView.round") == 70


def test_live__a_long_run_that_has_just_begun_fills_the_charts(page: Chrome, live: Any) -> None:
    document = documents.running(documents.run(frames=41, total=4000), 2, 110)
    page.get(live(document).url)
    until(page, "window.peerView && peerView.round === 110")
    slider = page.find_element(By.CSS_SELECTOR, "input[type=range]")
    assert slider.get_attribute("max") == "125"  # 4000 over 32: more than half of it is over
    assert slider.get_attribute("aria-valuetext") == "round 110 of 4,000"


def test_live__links_that_come_later_are_drawn(page: Chrome, live: Any) -> None:
    document = documents.run(4, [[0, 1], [1, 0]])
    server = live(document)
    page.get(server.url)
    until(page, "window.peerView")
    links = copy.deepcopy(document["links"])
    links["list"].append([2, 3])
    links["values"] = [[*row, None] for row in links["values"]]
    links["values"][-1][-1] = 0.25
    links["messages"] = [[*row, 1] for row in links["messages"]]
    server.send("change", {"set": {"links": links}})
    until(page, "peerView.linkValue(2, 3) === 0.25")
    page.execute_script("peerView.setRound(0)")
    assert ask(page, "peerView.linkValue(2, 3)") is None


def test_live__says_within_two_seconds_that_the_server_is_gone_and_finds_it_again(page: Chrome, live: Any) -> None:
    server = live(documents.running(documents.run(), 3, 50))
    page.get(server.url)
    until(page, "window.peerView && peerView.round === 50")
    server.stop()
    assert until(page, "!document.querySelector('.pv-lost').hidden") < 2
    assert "lost contact" in page.find_element(By.CSS_SELECTOR, ".pv-lost").text
    server.document = documents.run()
    server.start(server.port)
    until(page, "document.querySelector('.pv-lost').hidden && peerView.document.status === 'finished'", 15)


def test_colours__follow_the_reader_and_pixels_the_screen(page: Chrome, report: Any) -> None:
    document = report(documents.run())
    low, high = document["nodes"][0]["scale"]
    light = page.execute_script(PIXEL, 7, 1)
    assert light[3] == 255
    show_as(page, 1200, 900, dark=True)
    rest(page)
    assert page.execute_script(PIXEL, 7, 1) != light
    assert low < 0 < high
    show_as(page, 1200, 900, ratio=2)
    rest(page)
    canvas = ".pv-graph canvas"
    assert ask(page, f"document.querySelector('{canvas}').width") == 2 * ask(
        page, f"document.querySelector('{canvas}').clientWidth"
    )
    assert page.execute_script(PIXEL, 7, 1) == light


def test_spoken__says_the_state_and_has_a_table_of_the_values(page: Chrome, report: Any) -> None:
    document = report(documents.run())
    page.execute_script("peerView.setRound(60)")
    until(page, "document.querySelector('[aria-live]').textContent.startsWith('round 60 of 120, 8 peers')")
    label = page.find_element(By.CSS_SELECTOR, ".pv-graph canvas").get_attribute("aria-label")
    assert "peer 3 dropped after round 40" in label
    cells = "[...row.cells].map((each) => each.textContent)"
    rows = ask(page, f"[...document.querySelectorAll('.pv-spoken tbody tr')].map((row) => {cells})")
    entropies = document["nodes"][1]["values"][3]
    titles = ask(page, "[...document.querySelectorAll('.pv-spoken thead th')].map((each) => each.textContent)")
    place = titles.index(document["nodes"][1]["title"])
    assert [float(row[place].split()[0]) for row in rows] == [pytest.approx(each, rel=6e-3) for each in entropies]


def test_list__has_a_row_for_each_run_and_follows_changes(page: Chrome, live: Any) -> None:
    show_as(page, 1200, 900)
    document = documents.listing()
    server = live(document)
    page.get(server.url)
    until(page, "document.querySelectorAll('.pv-run').length === 6")
    links = page.find_elements(By.CSS_SELECTOR, ".pv-run a")
    assert [link.get_dom_attribute("href") for link in links] == [f"/run/token-{index}" for index in range(6)]
    later = copy.deepcopy(document["runs"])
    later[0] |= {"status": "finished", "completed": 120, "headline": ["linear: learned"]}
    server.send("change", {"set": {"runs": later}})
    until(page, "document.querySelector('.pv-run .pv-headline').textContent === 'linear: learned'")
    assert ask(page, "document.querySelector('.pv-run a')") == links[0]  # the same element: it keeps the focus


VIRTUAL = ".pv-controls button:nth-of-type(2)"
MARKED = """
const canvas = document.querySelectorAll(".pv-graph canvas")[1];
const [x, y] = peerView.place(2).map((each) => Math.round(each * devicePixelRatio));
const data = canvas.getContext("2d").getImageData(x - 30, y - 30, 60, 60).data;
return data.filter((value, index) => index % 4 === 3 && value > 0).length;
"""


def test_virtual_time__slider_and_axes_are_in_seconds_unless_rounds_are_asked_for(page: Chrome, report: Any) -> None:
    """60 rounds of half a second, then 60 of two: the middle of the time is round 82.5."""
    report(documents.timed())
    slider = page.find_element(By.CSS_SELECTOR, ".pv-slider")
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("0", "150")
    page.execute_script(
        "arguments[0].value = 75; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))", slider
    )
    rest(page)
    assert ask(page, "peerView.round") == 82 and ask(page, "peerView.seconds") == 75
    words = page.find_element(By.CSS_SELECTOR, ".pv-round").text
    assert words == slider.get_attribute("aria-valuetext") == "75.00 s, round 82 of 120"
    assert "virtual time (s)" in {each["text"] for each in ask(page, "drawnTexts")}
    page.execute_script("window.drawnTexts.length = 0")
    button = page.find_element(By.CSS_SELECTOR, VIRTUAL)
    assert (button.text, button.get_attribute("aria-pressed")) == ("virtual time", "true")
    button.click()
    rest(page)
    texts = {each["text"] for each in ask(page, "drawnTexts")}
    assert "round" in texts and "virtual time (s)" not in texts
    assert (slider.get_attribute("max"), slider.get_attribute("value")) == ("120", "82")
    assert page.find_element(By.CSS_SELECTOR, ".pv-round").text == "round 82 of 120"
    assert page.execute_script(OUTSIDE) == []
    assert button.get_attribute("aria-pressed") == "false" and ask(page, "peerView.round") == 82


def test_virtual_time__curves_are_clicked_where_the_second_is(page: Chrome, report: Any) -> None:
    report(documents.timed())
    plot = page.find_elements(By.CSS_SELECTOR, ".pv-right > .pv-charts canvas[aria-hidden]")[0]
    for share in (0.2, 0.5):
        place = (share - 0.5) * plot.size["width"]
        ActionChains(page).move_to_element_with_offset(plot, round(place), 0).click().perform()
        rest(page)
        seconds, round_ = ask(page, "peerView.seconds"), ask(page, "peerView.round")
        assert round_ == int(2 * seconds if seconds < 30 else 60 + (seconds - 30) / 2)
        assert 150 * share - 20 < seconds < 150 * share + 20


def test_virtual_time__plays_every_second_as_fast(page: Chrome, report: Any) -> None:
    """From round 60 on a round takes four times as long."""
    report(documents.timed())
    passed = []
    for start in (2, 70):
        page.execute_script(f"peerView.setRound({start})")
        rest(page)
        before = ask(page, "peerView.seconds")
        page.find_element(By.CSS_SELECTOR, ".pv-play").click()
        begun = time.monotonic()
        time.sleep(1.2)
        page.find_element(By.CSS_SELECTOR, ".pv-play").click()
        passed.append((ask(page, "peerView.seconds") - before) / (time.monotonic() - begun))
    assert all(0.6 * 150 / 14 < speed < 1.4 * 150 / 14 for speed in passed)  # the whole run in 14 seconds


def test_virtual_time__an_absence_ends_within_a_round(page: Chrome, report: Any) -> None:
    report(documents.timed())
    drawn = []
    for moment in (10.4, 10.6, 11.9, 12.0):
        page.execute_script(f"peerView.setRound({moment})")
        rest(page)
        drawn.append(page.execute_script(MARKED))
    assert drawn[0] == drawn[3] < drawn[1] == drawn[2]


def test_links__are_coloured_by_the_age_of_their_messages_if_asked(page: Chrome, report: Any) -> None:
    document = report(documents.timed())
    measured = document["links"]["values"][-1][0]
    assert ask(page, "peerView.linkValue(0, 1)") == measured
    choice = Select(page.find_elements(By.CSS_SELECTOR, ".pv-bar select")[2])
    assert [option.text for option in choice.options] == ["total variation", "age of messages"]
    choice.select_by_visible_text("age of messages")
    rest(page)
    assert ask(page, "peerView.linkValue(0, 1)") == 9.5
    legend = page.find_element(By.CSS_SELECTOR, ".pv-legend").text
    assert "links: age of messages" in legend and "total variation" not in legend
    page.execute_script("peerView.setRound(20); peerView.selectPeer(0)")
    rest(page)
    assert ask(page, "peerView.linkValue(1, 2)") == pytest.approx(0.2)
    assert "age of messages (s)" in page.find_element(By.CSS_SELECTOR, ".pv-tables").text
    page.execute_script("peerView.setRound(0)")  # before any message
    rest(page)
    assert ask(page, "peerView.linkValue(1, 2)") is None


def test_virtual_time__a_run_without_it_has_no_choice_of_it(page: Chrome, report: Any) -> None:
    report(documents.run())
    assert not page.find_element(By.CSS_SELECTOR, VIRTUAL).is_displayed()
    assert not page.find_elements(By.CSS_SELECTOR, ".pv-bar select")[2].is_displayed()
    assert ask(page, "peerView.seconds") is None


def test_live__virtual_time_goes_on_with_the_run(page: Chrome, live: Any) -> None:
    late = documents.timed()
    early = documents.running(late, 3, 40)
    early["virtual"] = {**late["virtual"], "rounds": late["virtual"]["rounds"][:9]}
    early["virtual"]["seconds"] = late["virtual"]["seconds"][:9]
    server = live(early)
    page.get(server.url)
    until(page, "window.peerView && peerView.round === 40")
    assert ask(page, "peerView.seconds") == 20
    tail = {key: late["virtual"][key][9:] for key in ("rounds", "seconds")}
    change = documents.changes(early, late)
    change["append"]["virtual"] = tail
    change["set"]["links"] = late["links"]
    del change["append"]["links"]
    server.document = late
    server.send("change", change)
    until(page, "peerView.round === 120")
    assert ask(page, "peerView.seconds") == 150 and ask(page, "peerView.document.virtual") == late["virtual"]
