"""The reports in Chromium: their first screen, no page that scrolls sideways, no name that turns what is beside it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coordinator.ablations.comparisons.comparison import compare
from coordinator.ablations.page import render_ablation
from coordinator.pages import run_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium"),
    pytest.mark.skipif(not shutil.which("chromedriver"), reason="needs chromedriver"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Selenium's own
]
SCREENS = {"wide": (1200, 800), "phone": (360, 740)}
OVERRIDE = "\u202eevil 1.5\u2069\u202e"  # the second one would begin outside of the element around the name
NAMES = ("<script>alert(1)</script>", OVERRIDE, "n" * 100, "\u05d0\u05d1 \u05d2", "{{ 7*7 }}", "ring", "self")
FIGURES = {"gains": (1760, 640), "gains-narrow": (680, 560), "consensus": (1440, 384), "consensus-narrow": (540, 1080)}
VERDICTS = ("another function teaches (this run)", "what it says about the image matters (this run)", "no difference")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"):
        options.add_argument(f"--{argument}")
    for argument in (
        "disable-component-update",
        "disable-sync",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def show(browser: Any, path: Path, screen: str, dark: bool = False) -> None:
    width, height = SCREENS[screen]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": screen == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(path.as_uri())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with two probes and three control runs, as the quickstart has them, and a hostile name."""
    folder = tmp_path_factory.mktemp("pages") / f"<script>alert(1)<|script>{OVERRIDE}{'n' * 100}"
    (folder / "figures").mkdir(parents=True)
    for name, size in FIGURES.items():
        Image.new("RGB", size, "white").save(folder / "figures" / f"{name}.png")
    over = {"mean": 0.014, "low": 0.003, "high": 0.025}
    row = {
        "gain": 0.0255,
        "interval": [0.018, 0.033],
        "verdict": "learned (this run)",
        "controls": dict(zip(("alone", "shuffled", "stranger"), VERDICTS, strict=True)),
        **dict.fromkeys(("raw_pixels", "untrained", "calibrated", "trained", "reset", "recalibrated"), 0.95),
        **dict.fromkeys(("alone", "shuffled", "stranger"), 0.9),
        **{f"over_{control}": over for control in ("alone", "shuffled", "stranger")},
    }
    summary = {"status": "finished", "message": "", "probes": {"knn": row, "linear": row}}
    path = folder.parent / "run.html"
    path.write_text(run_page.render(summary, ["long " * 99], f"name = '{OVERRIDE}'\n{'x' * 400}", folder))
    return path


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of seven cells, six of hostile names, and four measures."""
    measures = [
        "probes.knn.gain",
        "probes.knn.over_alone.mean",
        "probes.linear.gain",
        "consensus.relative_distance.last",
    ]
    rows = [
        {"cell": cell, "seed": seed, "status": "finished", "flags": "artefact, dropped-peers"}
        | {measure: 0.1 * place + 0.001 * seed * place for measure in measures}
        for place, cell in enumerate(NAMES)
        for seed in range(3)
    ]
    found = compare(rows, NAMES, "self", measures)
    failed = [f"{name}, seed 9: lost {name} after 3 s" for name in NAMES]
    folder = tmp_path_factory.mktemp("pages")
    Image.new("RGB", (900, 700), "white").save(folder / "estimates.png")
    asked = [("Varied", f"run.name = {', '.join(NAMES)}")]
    path = folder / "ablation.html"
    path.write_text(render_ablation(OVERRIDE, asked, found, folder, "peer-consensus ablate", "", failed))
    return path


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("page", ["run", "ablation"])
def test_reports__never_scroll_sideways_and_cut_nothing(
    page: str, screen: str, browser: Any, request: pytest.FixtureRequest
) -> None:
    show(browser, request.getfixturevalue(page), screen)
    width, inner = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner == SCREENS[screen][0]
    cut = browser.execute_script(
        """return [...document.querySelectorAll("td, th, li, p, dd, dt, h1, h2, caption, figcaption, img")]
          .filter(each => !each.closest("thead, pre, details:not([open])") && each.getClientRects().length)
          .filter(each => each.getBoundingClientRect().right > innerWidth + 0.5
                          || each.getBoundingClientRect().left < -0.5 || each.scrollWidth > each.clientWidth + 1)
          .map(each => each.outerHTML.slice(0, 80))"""
    )
    assert cut == []
    wide = browser.execute_script(
        "return [...document.querySelectorAll('.table')].filter(each => each.scrollWidth > each.clientWidth).length"
    )
    assert wide == 0  # no table needs its own scroll bar here


@pytest.mark.parametrize("page", ["run", "ablation"])
def test_reports__fit_on_paper(page: str, browser: Any, request: pytest.FixtureRequest) -> None:
    show(browser, request.getfixturevalue(page), "wide")
    paper = {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # A4 without margins of 1 cm
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", paper)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 718
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("screen", SCREENS)
def test_run__verdicts_and_gains_are_on_the_first_screen(screen: str, browser: Any, run: Path) -> None:
    """Of a name of 140 characters as well."""
    show(browser, run, screen)
    bottoms = browser.execute_script(
        "return [...document.querySelectorAll('.verdict, .first img')].map(each => each.getBoundingClientRect().bottom)"
    )
    assert len(bottoms) == 9 and max(bottoms) <= SCREENS[screen][1]
    assert browser.execute_script("return document.querySelector('.first img').getBoundingClientRect().height") >= 200
    lines = browser.execute_script("return [...document.querySelectorAll('.verdicts li')].map(li => li.offsetHeight)")
    assert max(lines) < (32 if screen == "wide" else 60)  # one line each; on phones its verdict beneath


def test_reports__fetch_nothing_and_run_nothing(browser: Any, run: Path, ablation: Path) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    for page in (run, ablation):
        show(browser, page, "wide")
        with pytest.raises(NoAlertPresentException):
            _ = browser.switch_to.alert.text
        names = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
        assert all(name.startswith("data:") for name in names)
        assert browser.get_log("browser") == []
        assert browser.execute_script("return document.scripts.length") == 0


LOOKS = """
const image = getComputedStyle(document.querySelector("img")), page = getComputedStyle(document.body);
const light = colour => colour.match(/[0-9]+/g).slice(0, 3).reduce((sum, each) => sum + Number(each), 0);
return [...[page.backgroundColor, page.color, image.backgroundColor].map(light), parseFloat(image.paddingLeft)];
"""


def test_reports__in_the_dark_figures_have_a_light_frame(browser: Any, run: Path) -> None:
    looks = []
    for dark in (False, True):
        show(browser, run, "wide", dark)
        looks.append(browser.execute_script(LOOKS))
    (back, text, frame, padding), (dark_back, dark_text, dark_frame, dark_padding) = looks
    assert back > 700 and text < 150 and frame == 765 and padding == 0
    assert dark_back < 120 and dark_text > 600 and dark_frame == 765 and dark_padding > 4


def test_ablation__no_name_turns_what_stands_beside_it(browser: Any, ablation: Path) -> None:
    """The letters after a name go on from left to right, to the right of it."""
    show(browser, ablation, "wide")
    places = browser.execute_script(
        """return [...document.querySelectorAll(".failed li")].map(item => {
          const walk = document.createTreeWalker(item, NodeFilter.SHOW_TEXT), found = [];
          for (let node = walk.nextNode(); node; node = walk.nextNode()) {
            const from = node.data.indexOf("seed 9: lost");
            for (let at = from; from >= 0 && at < from + 12; at++) {
              const range = document.createRange();
              range.setStart(node, at); range.setEnd(node, at + 1);
              const box = range.getBoundingClientRect();
              if (box.width) found.push([Math.round(box.top), box.left]);
            }
          }
          return found;
        })"""
    )
    assert len(places) == len(NAMES)
    for letters in places:
        assert len(letters) >= 10 and letters == sorted(letters)
