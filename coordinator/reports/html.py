"""Pieces of a self-contained HTML page: its frame and style, sections, tables, pictures."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

Texts = Mapping[str, tuple[str, str]]  # by figure: (alt text, caption)
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --text: #222; --back: #fff; --quiet: #595959; --line: #ddd; --box: #f4f5f6; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --text: #e6e6e6; --back: #17191c; --quiet: #a9adb3; --line: #3a3f45; --box: #22262b; }}
}}
* {{ box-sizing: border-box; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1rem; color: var(--text);
  background: var(--back); overflow-wrap: break-word; }}
h1 {{ font-size: 1.6rem; line-height: 1.2; }}
h2 {{ font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }}
.words p {{ margin: .4rem 0; max-width: 48rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }}
dt, caption, figcaption {{ color: var(--quiet); }}
dd {{ margin: 0; min-width: 0; }}
.table {{ overflow-x: auto; margin: 1rem 0; }}
table {{ border-collapse: collapse; font-size: .9rem; }}
caption {{ text-align: left; padding-bottom: .3rem; }}
caption span {{ display: inline-block; position: sticky; left: 0; max-width: min(48rem, 100vw - 2rem); }}
th, td {{ padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }}
thead th {{ white-space: normal; vertical-align: bottom; }}
th:first-child {{ text-align: left; padding-left: 0; }}
.figures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; }}
figure {{ margin: 0; }}
img {{ display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }}
.figures img {{ max-width: min(100%, 32rem); }}
.figures .wide {{ grid-column: 1 / -1; }}
.figures .wide img {{ max-width: 100%; }}
figcaption {{ font-size: .85rem; margin-top: .3rem; }}
pre {{ background: var(--box); padding: .8rem; overflow-x: auto; font-size: .85rem; border-radius: 4px; }}
@media (max-width: 30rem) {{ dl {{ grid-template-columns: 1fr; gap: 0; }} dd {{ margin-bottom: .5rem; }} }}
</style></head><body>
<main>
<h1>{title}</h1>
{body}
</main>
</body></html>
"""


def page(title: str, body: str) -> str:
    return PAGE.format(title=escape(title), body=body)


def section(heading: str, inner: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>\n{inner}</section>\n" if inner else ""


def words(lines: Iterable[str]) -> str:
    inner = "".join(f"<p>{escape(line)}</p>\n" for line in lines)
    return f'<div class="words">{inner}</div>' if inner else ""


def table(caption: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls horizontally on narrow screens; the first column holds the row headers.

    Line breaks in cells are kept.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    lines = [
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell).replace(chr(10), '<br>')}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    ]
    return (
        f'<div class="table" tabindex="0"><table><caption><span>{escape(caption)}</span></caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{''.join(lines)}</tbody></table></div>"
    )


def figures(folder: Path, texts: Texts) -> str:
    """The figures of `texts` whose files exist in `folder`; narrow screens get the narrow version if there is one."""
    items = []
    for name, (alt, caption) in texts.items():
        path, narrow = folder / f"{name}.png", folder / f"{name}-narrow.png"
        if not path.is_file():
            continue
        image = f'<img alt="{escape(alt)}" src="{_data(path)}">'
        if narrow.is_file():
            image = f'<picture><source media="(max-width: 40rem)" srcset="{_data(narrow)}">{image}</picture>'
        kind = ' class="wide"' if narrow.is_file() else ""
        items.append(f"<figure{kind}>{image}<figcaption>{escape(caption)}</figcaption></figure>\n")
    return f'<div class="figures">{"".join(items)}</div>' if items else ""


def _data(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def again(command: str, name: str, config: str) -> str:
    return section(
        "Run it again",
        f"<pre><code>{escape(command)}</code></pre><p>{escape(name)}:</p><pre><code>{escape(config)}</code></pre>",
    )
