"""Views of peers in words, from a config's table."""

from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = ("kind", "digest", "target", "args", "joint", "sensor")
AS_THEY_ARE = "images as they are"


def view_in_words(view: Sequence[Mapping[str, Any]]) -> str:
    """The steps of a view in their order, such as `crop (padding 4), colour-jitter (brightness 0.4, joint)`."""
    return ", ".join(map(_step, view)) or AS_THEY_ARE


def views_in_words(peers: Mapping[str, Any]) -> list[str]:
    """Who sees what, of a config's table of peers: a line for each view; empty if nobody has one."""
    groups = peers.get("groups") or [peers]
    if not any(group.get("view") for group in groups):
        return []
    of_view: dict[str, list[str]] = {}
    first = 0
    for group in groups:
        peers_of = peers_in_words(range(first, first + group["count"]))
        of_view.setdefault(view_in_words(group["view"]), []).append(peers_of)
        first += group["count"]
    if len(of_view) == 1:
        lines = [f"all peers: {view}" for view in of_view]
    else:
        lines = [f"peers {', '.join(who)}: {view}" for view, who in of_view.items()]
    return [*lines, "random steps are drawn once for all peers"] if peers.get("view_draws") == "shared" else lines


def peers_in_words(peers: Sequence[int]) -> str:
    """Peers in ascending order, three or more neighbours as one: `0 to 3, 7, 8`."""
    parts: list[list[int]] = []
    for peer in peers:
        if parts and parts[-1][-1] == peer - 1:
            parts[-1].append(peer)
        else:
            parts.append([peer])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts)


def _step(step: Mapping[str, Any]) -> str:
    name = f"'{step['target']}'" if step["kind"] == "import" else str(step["kind"])
    options = [f"{key} {_shown(value)}" for key, value in step.items() if key not in HIDDEN and value]
    options += [f"{key} {value}" for key, value in step.get("args", {}).items()]
    options += ["same for all peers"] if step.get("joint") else []
    return f"{name} ({', '.join(options)})" if options else name


def _shown(value: Any) -> str:
    return " to ".join(f"{each:.3g}" for each in value) if isinstance(value, list | tuple) else f"{value:.3g}"
