"""Pages from the templates of this room: everything is escaped, and nothing is fetched from elsewhere."""

import base64
import hashlib
import re
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from coordinator.pages.parts import harmless, split_by_direction

_LOADERS = [PackageLoader("coordinator.pages", folder) for folder in ("templates", "static")]  # static: the style


def _shown(value: object) -> object:
    """A value as the templates write it: HTML that they made themselves is left, all other text is made harmless."""
    return harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_ENVIRONMENT = Environment(
    loader=ChoiceLoader(_LOADERS),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["split_by_direction"] = split_by_direction
_SCRIPT = re.compile(r"<script(?![^>]*application/json)[^>]*>(.*?)</script>", re.DOTALL)


def template(name: str) -> Template:
    """A template of this room, which escapes every value and refuses to be made without one."""
    return _ENVIRONMENT.get_template(name)


def render(name: str, view: str = "", **values: Any) -> str:
    """The text of a self-contained page. view: the HTML of the component that draws a run; may be empty.

    Texts among the values are escaped by the template. Its policy lets a browser load nothing at all, and run the
    scripts of `view` only, by their SHA-256: a script that got in some other way would not run.

    Raises: jinja2.UndefinedError, if the template asks for a value that is missing.
    """
    return template(name).render(view=view, policy=_policy(view), **values)


def _policy(view: str) -> str:
    """The page's Content-Security-Policy. Source: https://www.w3.org/TR/CSP3/."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()) for script in _SCRIPT.findall(view)]
    scripts = " ".join(f"'sha256-{digest.decode()}'" for digest in digests) or "'none'"
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {scripts}; base-uri 'none'"
