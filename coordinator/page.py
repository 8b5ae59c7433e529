"""`report.html`: one self-contained page of a run, readable without a network."""

import base64
from html import escape
from pathlib import Path
from typing import Any

from coordinator.learned import CONDITIONS

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
th, td {{ padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }}
img {{ max-width: 100%; }}
pre {{ background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: .85rem; }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def render(summary: dict[str, Any], lines: list[str], config: str, folder: Path) -> str:
    """The page as text: what was said at the end of the run, the probes, the pictures, and how to run it again.

    `lines` are the report's sentences; pictures are taken from the `figures` of `folder`.
    """
    said = [f"{summary['status']}: {summary['message']}"] if summary["message"] else []
    body = "".join(f"<p>{escape(line)}</p>" for line in [*said, *lines])
    body += _probes(summary["probes"])
    for name in ("consensus", "topology"):
        picture = folder / "figures" / f"{name}.png"
        if picture.is_file():
            data = base64.b64encode(picture.read_bytes()).decode()
            body += f'<p><img alt="{name}" src="data:image/png;base64,{data}"></p>'
    body += (
        f"<h2>Run it again</h2><pre>peer-consensus run config.toml</pre><p>config.toml:</p><pre>{escape(config)}</pre>"
    )
    return PAGE.format(title=escape(folder.name), body=body)


def _probes(probes: dict[str, Any]) -> str:
    """Controls beside the trained peers, the gain over the calibrated ones, and the one over peers alone."""
    shown = [name for name in CONDITIONS if any(name in row for row in probes.values())]
    if not shown:
        return ""
    names = ["probe", *(name.replace("_", " ") for name in shown), "gain", "verdict", "over alone", "the exchange"]
    rows = []
    for name, row in probes.items():
        cells = [name, *(f"{row[each]:.1%}" if each in row else "" for each in shown)]
        cells += [_gain(row.get("gain"), *row.get("interval", (0.0, 0.0))), row.get("verdict", "")]
        over = row.get("over_alone", {})
        cells += [_gain(over.get("mean"), over.get("low", 0.0), over.get("high", 0.0)), row.get("exchange", "")]
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr>"
    note = "Gains in points with 95% intervals over this run's peers and test images; over calibrated, over alone."
    return f"<h2>Did they learn?</h2><table>{head}{''.join(rows)}</table><p>{note}</p>"


def _gain(mean: float | None, low: float, high: float) -> str:
    return "" if mean is None else f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
