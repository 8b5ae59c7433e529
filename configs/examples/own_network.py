"""A network of your own: a tiny vision transformer, which learns only from its neighbours on a ring.

    python configs/examples/own_network.py [section.key=value ...]      # such as hosting.pool=ray

`network=` takes a class or function of an image's shape that makes a torch.nn.Module. The module maps normalised images
[batch, *shape] to features [batch, features]; the head that turns them into outputs is one of ours (`peers.head`). It
is called once for each peer, so each starts from weights of its own. For your work: put your module in its place.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from coordinator import load_config, simulate

QUICKSTART = Path(__file__).parents[1] / "quickstart.toml"
CHANGES = ["peers.optimizer.lr=1e-3", "evaluation={probes=['linear'], controls=['alone']}", "hosting.pool=in-process"]


class TinyViT(nn.Module):
    def __init__(self, shape: tuple[int, int, int], dim: int = 32, patch: int = 2) -> None:
        super().__init__()
        channels, height, width = shape
        self.patches = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)
        self.places = nn.Parameter(0.02 * torch.randn(height // patch * (width // patch), dim))
        self.block = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.0, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.places  # [batch, patches, dim]
        return self.block(tokens).mean(dim=1)


if __name__ == "__main__":
    summary = simulate(load_config(QUICKSTART, [*CHANGES, *sys.argv[1:]]), network=TinyViT).summary
    linear, apart = summary["probes"]["linear"], summary["consensus"]["relative_distance"]
    print(f"disagreement: {apart['first']:.2f} before the first round, {apart['last']:.2f} after the last one")
    print(f"linear probe: {linear['calibrated']:.1%} untrained, {linear['trained']:.1%} trained: {linear['verdict']}")
    print(f"over peers alone: {linear['controls']['alone']}", f"digest of the weights: {summary['digest']}", sep="\n")
