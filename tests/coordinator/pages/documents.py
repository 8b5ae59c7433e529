"""Documents as the component shows them, made up: of any size, running or finished, with names meant to do harm."""

import copy
import math
from typing import Any

import networkx as nx
import numpy as np

Document = dict[str, Any]

HOSTILE = "<script>alert(1)</script>\"'&`</bdi>\u202egnp.exe\u2066 {{ 7*7 }} " + "w" * 100


def ring(num_peers: int) -> list[list[int]]:
    """Both directions of the links of a ring: [teacher, student]."""
    return [[peer, (peer + step) % num_peers] for peer in range(num_peers) for step in (1, -1)]


def random_regular(num_peers: int, degree: int, seed: int = 0) -> list[list[int]]:
    """Both directions of the links of a random regular graph."""
    edges = sorted(nx.random_regular_graph(degree, num_peers, seed=seed).edges)
    return [[int(a), int(b)] for edge in edges for a, b in (edge, edge[::-1])]


def circle(num_peers: int) -> list[list[float]]:
    angles = [2 * math.pi * peer / num_peers for peer in range(num_peers)]
    return [[0.5 + 0.5 * math.sin(angle), 0.5 - 0.5 * math.cos(angle)] for angle in angles]


def disc(num_peers: int) -> list[list[float]]:
    """Peers at equal density in a disc, by the golden angle."""
    radii = [0.5 * math.sqrt(peer / max(num_peers - 1, 1)) for peer in range(num_peers)]
    angles = [peer * math.pi * (3 - math.sqrt(5)) for peer in range(num_peers)]
    return [[0.5 + r * math.sin(a), 0.5 - r * math.cos(a)] for r, a in zip(radii, angles, strict=True)]


def run(
    num_peers: int = 8,
    links: list[list[int]] | None = None,
    positions: list[list[float]] | None = None,
    frames: int = 7,
    total: int = 120,
    title: str = "quickstart",
    seed: int = 0,
) -> Document:
    """A finished run whose peers come to agree: links' values fall, gains grow, one peer is dropped, one collapsed."""
    generator = np.random.default_rng(seed)
    links = ring(num_peers) if links is None else links
    rounds = [round(total * frame / (frames - 1)) for frame in range(frames)]
    share = np.array(rounds) / total
    values = 0.08 + 0.34 * np.exp(-3 * share)[:, None] * generator.uniform(0.6, 1, (frames, len(links)))
    document: Document = {
        "format": 1,
        "kind": "run",
        "name": f"{title}-20260102-030405",
        "title": title,
        "status": "finished",
        "stage": "finished",
        "stage_words": "finished",
        "message": "",
        "completed": total,
        "total": total,
        "clock": {"name": "round", "unit": "", "from": 0, "to": total},
        "peers": _peers(num_peers, positions or circle(num_peers), total),
        "frames": rounds,
        "nodes": _nodes(generator, share, num_peers),
        "links": {
            "list": links,
            "directed": True,
            "left_out": 0,
            "note": "",
            "title": "total variation",
            "unit": "",
            "scale": [0, 0.42],
            "values": _rounded(values),
            "messages": [[0 if frame == 0 else total // (frames - 1)] * len(links) for frame in range(frames)],
        },
        "curves": _curves(rounds, share, total),
        "peer_curves": _peer_curves(generator, share, rounds, num_peers),
        "gains": _gains(),
        "headline": [
            "kNN: not distinguishable, +0.3 points (\u22121.8 to +2.3)",
            "linear: learned (this run), +2.8 points (+0.5 to +5.0)",
            "linear over alone: no difference, +0.3 points (\u22121.2 to +1.7)",
        ],
        "tones": ["neutral", "good", "neutral"],
        "facts": [
            ["topology", f"ring of {num_peers}, {len(links)} messages a round"],
            ["bytes", "30.0 MiB"],
            ["time", "12 s"],
        ],
        "flags": [],
    }
    return document


def timed(num_peers: int = 8, pace: float = 0.5, slow_pace: float = 2.0) -> Document:
    """A run on a simulated network of 120 rounds, which take `pace` virtual seconds each, after the 60th `slow_pace`.

    Peer 2 is offline from second 5.25 to second 6, within two rounds; the messages of later links are older.
    """
    document = run(num_peers)
    del document["clock"]
    document = {"clock": {"name": "round", "unit": "", "from": 0, "to": 120}, **document}
    rounds = list(range(0, 121, 5))
    seconds = [pace * min(each, 60) + slow_pace * max(each - 60, 0) for each in rounds]
    document["virtual"] = {"name": "virtual time", "unit": "s", "rounds": rounds, "seconds": seconds}
    offline = {"kind": "offline", "words": "offline from 5.25 s to 6 s", "from": 5.25 / pace, "until": 6 / pace}
    document["peers"]["marks"]["2"] = [offline]
    count = len(document["links"]["list"])
    ages = {"name": "age_seconds", "title": "age of messages", "unit": "s", "scale": [0, 10], "frames": [1, 4]}
    ages["values"] = [[round(0.1 * link, 3) for link in range(count)], [9.5] * count]
    document["links"]["colourings"] = [ages]
    document["curves"].append(
        {**document["curves"][0], "name": "mean_age_seconds", "title": "mean age of messages", "unit": "s"}
    )
    document["facts"] += [["virtual time", "150 s, 1.25 s a round"], ["messages lost", "12"]]
    return document


def running(document: Document, frames: int, completed: int) -> Document:
    """The same run at an earlier time: what was measured by then, no gains and no verdicts."""
    early = copy.deepcopy(document)
    early |= {"status": "running", "stage": "rounds", "stage_words": "rounds", "completed": completed}
    early |= {"gains": [], "headline": [], "tones": []}
    early["frames"] = early["frames"][:frames]
    for node in early["nodes"]:
        keep = [place for place, frame in enumerate(node["frames"]) if frame < frames]
        node["frames"] = [node["frames"][place] for place in keep]
        node["values"] = [node["values"][place] for place in keep]
    for name in ("values", "messages"):
        early["links"][name] = early["links"][name][:frames]
    for curve in early["curves"]:
        keep_rows = sum(round_ <= completed for round_ in curve["x"])
        for column in ("x", "y", "low", "high"):
            curve[column] = curve[column] and curve[column][:keep_rows]
    for curve in early["peer_curves"]:
        keep_rows = sum(round_ <= completed for round_ in curve["x"])
        curve["x"], curve["y"] = curve["x"][:keep_rows], curve["y"][:keep_rows]
    return early


def changes(early: Document, late: Document) -> Document:
    """What brings the early document to the late one, as the server sends it."""
    short = {"status", "stage", "stage_words", "message", "completed", "total", "facts", "flags"}
    short |= {"gains", "headline", "tones"}
    append: dict[str, Any] = {"frames": late["frames"][len(early["frames"]) :]}
    append["nodes"] = _later(early["nodes"], late["nodes"], ("frames", "values"))
    append["curves"] = _later(early["curves"], late["curves"], ("x", "y", "low", "high"))
    append["peer_curves"] = _later(early["peer_curves"], late["peer_curves"], ("x", "y"))
    columns = ("values", "messages")
    append["links"] = {key: late["links"][key][len(early["links"][key]) :] for key in columns}
    return {"set": {key: late[key] for key in short if late[key] != early[key]}, "append": append}


def listing(title: str = "runs", count: int = 6) -> Document:
    """A list of runs, one of them running, one lost, one with a hostile name, one an ablation."""
    statuses = ["running", "finished", "lost: no sign of life since 14:03", "stopped", "finished", "interrupted"]
    runs = []
    for index in range(count):
        status = statuses[index % len(statuses)]
        decay = [round(0.75 * math.exp(-step / 9), 4) for step in range(20 if status != "running" else 9)]
        runs.append(
            {
                "id": f"token-{index}",
                "name": HOSTILE if index == 3 else f"quickstart-2026112{index}-132213",
                "kind": "ablation" if index == 4 else "run",
                "status": status,
                "completed": 120 if status == "finished" else 57,
                "total": 120,
                "headline": ["linear: learned (this run), +2.8 points (+0.5 to +5.0)"] if status == "finished" else [],
                "tones": ["good"] if status == "finished" else [],
                "sparklines": [
                    {"title": "disagreement", "y": decay},
                    {"title": "agreement", "y": [round(1 - value, 4) for value in decay]},
                ],
                "at": 1790000000.5 + 3600 * index,
            }
        )
    return {"format": 1, "kind": "list", "name": title, "title": title, "runs": runs}


def hostile() -> Document:
    """A run in which every name is meant to do harm."""
    document = run(title=HOSTILE)
    document["peers"]["groups"] = [HOSTILE]
    document["peers"]["marks"]["3"][0]["words"] = HOSTILE
    for entry in [document["links"], *document["nodes"], *document["curves"], *document["peer_curves"]]:
        entry["title"] = HOSTILE
    document["links"]["note"] = document["message"] = HOSTILE
    document |= {"headline": [HOSTILE], "flags": [HOSTILE], "facts": [[HOSTILE, HOSTILE]]}
    document["gains"][0]["probe"] = HOSTILE
    return document


def _later(early: list[Document], late: list[Document], columns: tuple[str, ...]) -> Document:
    pairs = zip(early, late, strict=True)
    return {b["name"]: {key: b[key] and b[key][len(a[key]) :] for key in columns} for a, b in pairs}


def _peers(num_peers: int, positions: list[list[float]], total: int) -> Document:
    marks = {
        "3": [{"kind": "dropped", "words": "dropped after round 40: loss is nan", "from": total // 3}],
        "5": [{"kind": "collapsed", "words": "collapsed: one answer for all images", "from": total // 2}],
        "1": [{"kind": "frozen", "words": "frozen: it does not learn", "from": 0}],
    }
    return {
        "count": num_peers,
        "positions": _rounded(np.array(positions)),
        "groups": ["small-cnn, batch norm, linear head", "mlp, no norm, linear head"],
        "group_of": [peer % 2 for peer in range(num_peers)],
        "marks": {peer: mark for peer, mark in marks.items() if int(peer) < num_peers},
    }


def _nodes(generator: np.random.Generator, share: np.ndarray, num_peers: int) -> list[Document]:
    drawn = generator.normal(0, 1.4, num_peers)
    gains = share[:, None] * (1.5 + drawn) * 1.1
    entropies = 4.1 - 2.5 * share[:, None] * generator.uniform(0.4, 1, num_peers)
    return [
        {
            "name": "linear_gain",
            "title": "linear gain over calibrated",
            "unit": "points",
            "scale": [-4, 4],
            "kind": "diverging",
            "frames": list(range(0, len(share), 2)),
            "values": _rounded(gains[::2]),
        },
        {
            "name": "mean_entropy",
            "title": "mean entropy",
            "unit": "nats",
            "scale": [0, 4.16],
            "kind": "sequential",
            "frames": list(range(len(share))),
            "values": _rounded(entropies),
        },
    ]


def _curves(rounds: list[int], share: np.ndarray, total: int) -> list[Document]:
    every = np.arange(1, total + 1)
    falling = 0.1 + 0.65 * np.exp(-4 * share)
    decay = 2.1 * np.exp(-3 * every / total) + 0.4 + 0.03 * np.sin(every)
    probe = 91.1 + 2.7 * share
    levels = [
        {"words": "calibrated", "value": 91.1},
        {"words": "alone", "value": 93.6},
        {"words": "shuffled", "value": 92.7},
        {"words": "stranger", "value": 94.0},
    ]
    return [
        _curve("loss", "loss", "", every, decay, 0, spread=0.12),
        _curve("disagreement", "disagreement", "relative distance", rounds, falling, 0),
        _curve("agreement", "agreement", "%", rounds, 100 * (1 - falling), None),
        _curve("linear", "linear probe", "%", rounds[::2], probe[::2], None, levels, 0.6),
        _curve("bytes", "exchanged", "MiB", every, 0.25 * every, 0),
    ]


def _curve(
    name: str,
    title: str,
    unit: str,
    x: Any,
    y: Any,
    low_is: float | None,
    levels: list[Document] | None = None,
    spread: float = 0,
) -> Document:
    low, high = (_rounded(y - spread), _rounded(y + spread)) if spread else (None, None)
    shown = {"name": name, "title": title, "unit": unit, "low_is": low_is, "panel": name, "levels": levels or []}
    return shown | {"x": [int(each) for each in x], "y": _rounded(np.asarray(y)), "low": low, "high": high}


def _peer_curves(
    generator: np.random.Generator, share: np.ndarray, rounds: list[int], num_peers: int
) -> list[Document]:
    loss = 0.4 + 2.1 * np.exp(-3 * share)[:, None] * generator.uniform(0.7, 1.1, num_peers)
    entropy = 4.1 - 2.5 * share[:, None] * generator.uniform(0.4, 1, num_peers)
    return [
        {"name": "loss", "title": "loss", "unit": "", "x": rounds, "y": _rounded(loss)},
        {"name": "mean_entropy", "title": "mean entropy", "unit": "nats", "x": rounds, "y": _rounded(entropy)},
    ]


def _gains() -> list[Document]:
    rows = [
        ("kNN", "calibrated", "not distinguishable", "neutral", 0.25, -1.76, 2.26),
        ("kNN", "alone", "no difference", "neutral", 1.15, -0.95, 3.25),
        ("kNN", "shuffled", "worse", "bad", -2.6, -4.1, -1.2),
        ("linear", "calibrated", "learned (this run)", "good", 2.75, 0.53, 4.97),
        ("linear", "alone", "no difference", "neutral", 0.25, -1.23, 1.73),
        ("linear", "stranger", "no difference", "neutral", -0.15, -3.08, 2.78),
    ]
    names = ("probe", "control", "words", "tone", "mean", "low", "high")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _rounded(values: np.ndarray) -> Any:
    """Nested lists of four significant digits."""
    if values.ndim > 1:
        return [_rounded(row) for row in values]
    return [float(f"{value:.4g}") for value in values]
