"""The component that draws a run in a browser: its script, its style, and pages that hold it."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from coordinator.pages.render import template

# In this order, each with one job; later ones use earlier ones. All are one function's body, so nothing is global but
# what view.js puts on `window`. With the style they are about 90 kB of a report, 25 kB compressed; a plotting library
# would put 1,270 kB (bokeh 3.9.2's bokeh.min.js) or 4,820 kB (plotly 7.1.0's plotly.min.js) into each.
SCRIPTS = (
    "format.js",
    "data.js",
    "theme.js",
    "clock.js",
    "axes.js",
    "charts.js",
    "gains.js",
    "geometry.js",
    "links.js",
    "nodes.js",
    "graph.js",
    "legend.js",
    "controls.js",
    "peer.js",
    "words.js",
    "run.js",
    "list.js",
    "view.js",
)
# "<" and ">" could end the element or open a comment in it; U+2028 and U+2029 end a line of JavaScript.
ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


@cache
def script() -> str:
    """The component's JavaScript, ES2020: one function that is called at once, and mounts what `view.html` made."""
    return '(() => {\n"use strict";\n' + "\n".join(_static(name) for name in SCRIPTS) + "})();\n"


@cache
def style() -> str:
    """The component's style sheet: everything in it is under `.peer-view`."""
    return _static("view.css")


def escaped_json(document: Mapping[str, Any]) -> str:
    """JSON of a document that can stand in a script element of a page: what ends or comments it is escaped.

    Raises:
        ValueError: a number is not finite; JSON has none.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(ESCAPED)


def inlined(document: Mapping[str, Any]) -> Markup:
    """The component with all it needs, for a page without a server: style, data of the run, script.

    One to a page. What the page says by itself is left out: title, verdicts, gains.
    """
    parts = {"style": style(), "script": script(), "data": escaped_json(document)}
    text = template("inlined.html").render(tag="section", source="#view-data", events="", **parts)
    return Markup(text)  # nosec B704


def page(title: str, source: str, events: str) -> str:
    """The live page: it links `/static/view.js` and `/static/view.css`, and follows the events of a run or a list.

    Args:
        title: the page's title until data have come.
        source: address of the document.
        events: address of its changes, as server-sent events.
    """
    return template("live.html").render(tag="main", title=title, source=source, events=events)


def _static(name: str) -> str:
    return (files("coordinator.pages") / "static" / name).read_text(encoding="utf-8")
