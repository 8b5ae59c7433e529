"""Reads from a file which examples each peer holds."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

Indices = Int64[np.ndarray, " _"]
KEY = "data.partition.path"


@dataclass(frozen=True, eq=False)
class Listed:
    """The lists of a file, and the SHA-256 of what they say."""

    parts: tuple[Indices, ...]
    digest: str


def read_lists(path: str) -> Listed:
    """A JSON file with a list of numbers of training examples for each peer. Raises: ValueError, of one line."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{KEY}: '{path}' does not exist: name a JSON file with a list for each peer") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [""])[0][:120]
        raise ValueError(f"{KEY}: '{path}' cannot be read as JSON ({reason}): write a list for each peer") from None
    if not isinstance(found, list) or not all(isinstance(part, list) for part in found):
        raise ValueError(
            f"{KEY}: '{path}' must hold a list with a list of numbers for each peer: write [[0, 5], [3], ...]"
        )
    for peer, part in enumerate(found):
        for value in part:
            if type(value) is not int or not 0 <= value < 2**63:
                raise ValueError(
                    f"{KEY}: in '{path}' the list of peer {peer} must hold numbers of training examples, from 0, got "
                    f"{json.dumps(value)[:40]}: write whole numbers"
                )
    digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()
    return Listed(tuple(np.array(part, dtype=np.int64) for part in found), digest)


def check_lists(listed: Listed, num_examples: int, num_peers: int) -> None:
    """Raises: ValueError, of one line, if there is not one list for each peer, or an example is none or is in two."""
    if len(listed.parts) != num_peers:
        raise ValueError(
            f"{KEY}: must hold a list for each of the {num_peers} peers, got {len(listed.parts)}: change the file, or "
            "peers.count"
        )
    owner: dict[int, int] = {}
    for peer, part in enumerate(listed.parts):
        for example in part.tolist():
            if example >= num_examples:
                raise ValueError(
                    f"{KEY}: peer {peer} holds example {example}, but there are {num_examples:,} training examples, "
                    "numbered from 0: change the file"
                )
            if example in owner:
                raise ValueError(
                    f"{KEY}: example {example} is in the list of peer {owner[example]} and again in that of peer "
                    f"{peer}: leave it in one of them"
                )
            owner[example] = peer
