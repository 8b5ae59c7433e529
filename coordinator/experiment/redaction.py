"""Shortens and redacts text before it is shown: first lines of errors, URIs without credentials."""

import re


def without_secrets(text: str) -> str:
    """Hide users and passwords in URIs, and the values of URI parameters such as token, key, secret or password."""
    text = re.sub(r"://[^/@:\s'\"]*:(?!\d+(?:/|$))[^\s'\"]*@", "://***@", text)  # passwords may contain / and @
    text = re.sub(r"://[^/\s'\"]*@", "://***@", text)
    named = r"(?i)([?&;][^=&;\s]*(?:token|key|secret|passw(?:or)?d|pwd|signature)[^=&;\s]*=)[^&;\s'\"]+"
    return re.sub(named, r"\1***", text)


def has_secrets(text: str) -> bool:
    """Whether the text contains credentials, so that a file with it should be private."""
    return without_secrets(text) != text


def first_line(error: object, otherwise: str = "no reason given") -> str:
    """The first non-empty line of an error's message, at most 200 characters; `otherwise` if there is none."""
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), otherwise)
