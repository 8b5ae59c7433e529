"""What of a text is shown: errors by their first line, URIs without users, passwords and tokens."""

import re


def without_secrets(text: str) -> str:
    """The text with user and password of any URI in it hidden, and what it passes as token, key, secret or password."""
    text = re.sub(r"://[^/@:\s'\"]*:(?!\d+(?:/|$))[^\s'\"]*@", "://***@", text)  # a password may hold a / or an @
    text = re.sub(r"://[^/\s'\"]*@", "://***@", text)
    named = r"(?i)([?&;][^=&;\s]*(?:token|key|secret|passw(?:or)?d|pwd|signature)[^=&;\s]*=)[^&;\s'\"]+"
    return re.sub(named, r"\1***", text)


def has_secrets(text: str) -> bool:
    """Whether a file with this text is for its owner alone."""
    return without_secrets(text) != text


def first_line(error: object, otherwise: str = "no reason given") -> str:
    """The first line of what an error says, at most 200 characters; `otherwise` where it says nothing."""
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), otherwise)
