"""Code of your own during a run: PCA of a peer's features over the rounds as a figure; and a run that ends by itself.

    python configs/examples/callback.py [section.key=value ...]      # such as hosting.pool=ray

An observer is told of every event. With `wants_outputs` it also gets all peers' features and outputs (logits) for some
test images, at measured rounds (0, each `evaluation.every`, the last). `Stop` ends a run by a rule, `raise StopRun` on
any condition of yours. For your work: draw `event.outputs`, or put sklearn.manifold.TSNE in the place of PCA.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from coordinator import OutputsMeasured, RunEvent, Stop, load_config, simulate


class Features:
    def __init__(self) -> None:
        self.seen: list[OutputsMeasured] = []

    def wants_outputs(self, completed: int) -> bool:
        return completed % 40 == 0

    def observe(self, event: RunEvent) -> None:
        self.seen += [event] if isinstance(event, OutputsMeasured) else []


if __name__ == "__main__":
    changes = ["hosting.pool=in-process", "evaluation={probes=['linear'], controls=[]}", *sys.argv[1:]]
    config = load_config(Path(__file__).parents[1] / "quickstart.toml", changes)
    result = simulate(config, observers=[features := Features(), Stop("consensus.relative_distance", below=0.25)])
    figure = Figure((3 * len(features.seen), 3), layout="constrained")
    for panel, event in zip(figure.subplots(1, len(features.seen), squeeze=False)[0], features.seen, strict=True):
        left, sizes, _ = np.linalg.svd(event.features[0] - event.features[0].mean(axis=0), full_matrices=False)
        panel.scatter(*(left * sizes)[:, :2].T, c=event.labels, cmap="tab10", s=6)
        panel.set(title=f"round {event.completed}: {sum(sizes[:2] ** 2) / sum(sizes**2):.0%} of variance")
    figure.savefig(result.folder / "features.png")
    print(f"ended: {result.summary['ended']}", result.folder / "features.png", sep="\n")
