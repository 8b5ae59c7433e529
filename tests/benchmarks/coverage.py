"""How often the interval of one run finds a gain where there is none, and how often a gain that is there.

In a model: an image has a difficulty, a random function has an ability and luck of its own on every image; the peers of
an arm have a part of both in common, from none (independent peers) to all of it (one function). Under the null, trained
and control peers have the same distribution, so each interval that excludes 0 is a false verdict. `--pairs` measures
the same on networks: an arm trained twice, which differs only by the order of the batches. `before` is the interval
without the part that peers have in common.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from coordinator.measures.statistics import half_width
from coordinator.measures.verdict import Interval, Side, gain_interval

PEERS, IMAGES, SPREADS, ACCURACIES = (2, 4, 8, 16), (500, 2000, 10000), (0.0, 0.005, 0.01, 0.02), (0.4, 0.9)
DIFFICULTY = 0.5  # the share of the latent variance that all functions owe to the image
FASHION_MNIST = Path(os.environ.get("PEER_CONSENSUS_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))


@dataclass(frozen=True)
class Arms:
    """What the trained peers have in common, what those of the control have, and what a peer keeps from control to
    trained: shares of a random function's variance."""

    trained: float = 0.0
    control: float = 0.0
    kept: float = 0.0


NULLS = {
    "independent": Arms(),
    "0.7 of each peer kept": Arms(kept=0.7),
    "0.1 in common": Arms(0.1),
    "0.25 in common": Arms(0.25),
    "0.5 in common": Arms(0.5),
    "one function": Arms(1.0),
    "0.5 in common, control too": Arms(0.5, 0.5),
    "one function, control another": Arms(1.0, 1.0),
}


class Functions:
    """Random functions of one draw: each has an ability, a number, and luck on every image."""

    def __init__(self, rng: np.random.Generator, peers: int, images: int) -> None:
        def draw(*shape: int) -> Any:
            return rng.standard_normal(shape, dtype=np.float32)

        self._difficulty = draw(images)
        self._own = [(draw(peers, 1), draw(peers, images)) for _ in range(3)]  # trained, control
        self._common = [(draw(1, 1), draw(1, images)) for _ in range(2)]

    def untrained(self) -> Any:
        return self._own[1]

    def control(self, arms: Arms) -> Any:
        return _mixed(self._common[1], self._own[1], arms.control)

    def trained(self, arms: Arms) -> Any:
        return _mixed(self._common[0], _mixed(self._own[1], self._own[0], arms.kept), arms.trained)

    def right(self, functions: Any, accuracy: float, spread: float) -> Any:
        """Which images they answer correctly: `accuracy` on average, which differs by `spread` between functions."""
        threshold = special.ndtri(accuracy)
        slope = np.float32(spread * np.sqrt(2 * np.pi) * np.exp(threshold**2 / 2))  # in probits
        level = np.float32(threshold * np.sqrt(1 + slope**2))
        ability, luck = functions
        latent = np.float32(np.sqrt(1 - DIFFICULTY)) * luck + np.float32(np.sqrt(DIFFICULTY)) * self._difficulty
        return latent > -(level + slope * ability)


def _mixed(common: Any, own: Any, share: float) -> Any:
    """A part in common and the rest of one's own, of the same distribution as either."""
    return tuple(
        np.float32(np.sqrt(share)) * a + np.float32(np.sqrt(1 - share)) * b for a, b in zip(common, own, strict=True)
    )


def before(treated: Any, control: Any) -> Interval:
    """The interval as it was: the peers' part and the images' part only, as if the peers were independent draws."""
    gains, per_image = treated.mean(axis=1) - control.mean(axis=1), treated.mean(axis=0) - control.mean(axis=0)
    images = special.ndtri(0.975) * per_image.std(ddof=1) / np.sqrt(len(per_image))
    half, mean = float(np.hypot(half_width(gains), images)), float(gains.mean())
    return Interval(mean, mean - half, mean + half)


def verdicts(
    trials: int,
    gain: float,
    names: list[str],
    grid: tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...], tuple[float, ...]],
    seed: int = 0,
) -> Counter[tuple[str, str, int, int, float, float]]:
    """How many of the trials have a verdict: under the null any, with a gain only one that is above 0.

    Fewer peers and images are the first of the most, from the same draw: rates of one cell are right, and those of
    neighbouring cells go together. Keys: interval, arms, peers, images, spread, accuracy.
    """
    peers, images, spreads, accuracies = grid
    rng, found = np.random.default_rng(seed), Counter[tuple[str, str, int, int, float, float]]()
    for _ in range(trials):
        functions = Functions(rng, max(peers), max(images))
        for name in names:
            trained, control = functions.trained(NULLS[name]), functions.control(NULLS[name])
            for spread, accuracy in itertools.product(spreads, accuracies):
                right = functions.right(trained, accuracy + gain, spread)
                others = [functions.right(each, accuracy, spread) for each in (control, functions.untrained())]
                for n, m in itertools.product(peers, images):
                    t, c, u = (each[:n, :m] for each in (right, *others))
                    for kind, interval in (("before", before(t, c)), ("now", gain_interval(t, c, u))):
                        counts = interval.side is Side.ABOVE or (not gain and interval.side is Side.BELOW)
                        found[kind, name, n, m, spread, accuracy] += counts
    return found


def rates(
    trials: int, gain: float, names: list[str], peers: tuple[int, ...], images: tuple[int, ...], seed: int = 0
) -> dict[str, Any]:
    """In percent, for each of the arms, peers and images: the worst cell under the null; the mean with a gain."""
    found = verdicts(trials, gain, names, (peers, images, SPREADS, ACCURACIES), seed)
    over, cells = statistics.mean if gain else max, [*itertools.product(SPREADS, ACCURACIES)]

    def percent(kind: str, name: str, n: int, m: int) -> float:
        return round(100 * over(found[kind, name, n, m, *cell] for cell in cells) / trials, 1)

    return {
        name: {
            f"{n} peers, {m} images": {kind: percent(kind, name, n, m) for kind in ("before", "now")}
            for n, m in itertools.product(peers, images)
        }
        for name in names
    }


def pairs(data: str, peers: int, rounds: int, seeds: int) -> dict[str, Any]:
    """The same arm trained twice, from the same weights, with another order of the batches: how many verdicts differ.

    Nothing is to be found: a verdict of either arm over the other is false.
    """
    counts: dict[str, Counter[str]] = {}
    halves: dict[str, list[float]] = {}
    for seed in range(seeds):
        one, other = (probed(data, peers, rounds, seed, order) for order in (0, 1))
        for probe in ("knn", "linear"):
            trained, control, untrained = one[probe, "trained"], other[probe, "trained"], one[probe, "untrained"]
            calibrated = one[probe, "calibrated"]
            for kind, interval, gain in (
                ("before", before(trained, control), before(trained, calibrated)),
                ("now", gain_interval(trained, control, untrained), gain_interval(trained, calibrated, untrained)),
            ):
                count = counts.setdefault(f"{probe}, {kind}", Counter({"false": 0, "over calibrated": 0}))
                count["false"] += interval.side is not Side.NEITHER
                count["over calibrated"] += gain.side is not Side.NEITHER
                halves.setdefault(f"{probe}, {kind}", []).append(100 * (gain.high - gain.mean))
    return {
        name: {**count, "median half-width over calibrated, points": round(statistics.median(halves[name]), 2)}
        for name, count in counts.items()
    }


def probed(data: str, peers: int, rounds: int, seed: int, order: int) -> dict[tuple[str, str], Any]:
    """Which images the peers of an arm answer correctly, by probe and condition. order: of batches, 0: the run's."""
    from coordinator import load_config, simulate
    from coordinator.records.events import Probed
    from peers.data import batches

    class Answers:
        def __init__(self) -> None:
            self.found: dict[tuple[str, str], Any] = {}

        def observe(self, event: object) -> None:
            if isinstance(event, Probed) and event.condition is not None:
                for probe in event.outcomes[0].correct:
                    right = np.stack([outcome.correct[probe] for outcome in event.outcomes])
                    self.found[probe, event.condition.value] = right

    images = {"kind": "digits"} if data == "digits" else {"kind": data, "root": str(FASHION_MNIST), "train_limit": 6000}
    table = {
        "run": {"rounds": rounds, "seed": seed},
        "data": {**images, "batch_size": 128},
        "peers": {
            "count": peers,
            "model": {"kind": "mlp", "hidden": [128, 128]},
            "head": {"kind": "linear", "dim": 64},
            "optimizer": {"kind": "adamw", "lr": 1e-3},
        },
        "topology": {"kind": "complete"},
        "exchange": {
            "what": "logits",
            "target": {"kind": "standardise", "temperature": 0.5},
            "loss": {"kind": "kl", "temperature": 0.1},
        },
        "evaluation": {"every": rounds, "probes": ["knn", "linear"], "probe_train": 2000},
        "hosting": {"pool": "in-process", "execution": "vectorised"},
        "tracking": {"enabled": False},
        "checkpoint": {"every": 0},
    }
    answers, stream = Answers(), batches.stream
    batches.stream = lambda seed, purpose, *more: stream(seed, purpose, *more, *([order] if order else []))
    try:
        with tempfile.TemporaryDirectory() as folder:
            simulate(load_config(table), folder, observers=[answers])
    finally:
        batches.stream = stream
    return dict(answers.found)


def main() -> None:
    import torch
    from common import show

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--arms", nargs="+", choices=[*NULLS], default=[*NULLS], help="what their peers have in common")
    parser.add_argument("--seed", type=int, default=0, help="of the trials")
    parser.add_argument("--gain", type=float, default=0.0, help="of the trained peers, as a fraction: then the power")
    parser.add_argument("--pairs", type=int, default=0, help="instead: so many seeds of an arm trained twice")
    parser.add_argument("--data", choices=["digits", "fashion-mnist"], default="fashion-mnist", help="of the pairs")
    parser.add_argument("--peers", type=int, nargs="+", help="2, 4, 8 and 16, or 12 for the pairs")
    parser.add_argument("--images", type=int, nargs="+", default=[*IMAGES], help="of the trials")
    parser.add_argument("--rounds", type=int, default=300, help="of the pairs")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    if asked.pairs:
        found = pairs(asked.data, (asked.peers or [12])[0], asked.rounds, asked.pairs)
    else:
        found = rates(
            asked.trials, asked.gain, asked.arms, tuple(asked.peers or PEERS), tuple(asked.images), asked.seed
        )
    show({"benchmark": "coverage", **vars(asked), "found": found, "seconds": round(time.perf_counter() - start)})


if __name__ == "__main__":
    main()
