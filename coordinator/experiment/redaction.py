"""Prepares text to be shown: first lines of errors, URIs without credentials, names that cannot steer a terminal."""

import re

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, such as those that begin colours and movements of the cursor
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff"  # directions, further line ends, invisible
    "\ud800-\udfff]"  # bytes of a file's name that are not UTF-8
)


def without_secrets(text: str) -> str:
    """Hide users and passwords in URIs, and the values of URI parameters such as token, key, secret or password."""
    text = re.sub(r"://[^/@:\s'\"]*:(?!\d+(?:/|$))[^\s'\"]*@", "://***@", text)  # passwords may contain / and @
    text = re.sub(r"://[^/\s'\"]*@", "://***@", text)
    # a picture that is part of a page is no parameter, whatever its letters spell
    named = r"(?i)([?&;](?!base64,)[^=&;\s]*(?:token|key|secret|passw(?:or)?d|pwd|signature)[^=&;\s]*=)[^&;\s'\"]+"
    return re.sub(named, r"\1***", text)


def has_secrets(text: str) -> bool:
    """Whether the text contains credentials, so that a file with it should be private."""
    return without_secrets(text) != text


def first_line(error: object, otherwise: str = "no reason given") -> str:
    """The first non-empty line of an error's message, at most 200 characters; `otherwise` if there is none."""
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), otherwise)


def visible(text: str) -> str:
    r"""A text in which control characters stand as escapes, such as `\x1b`; line ends and tabs are left.

    Letters of all scripts are left too; what would turn the direction of the text beside them is escaped.
    """
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)
