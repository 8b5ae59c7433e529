"""What each kind of peer sees: some training images as they are, in its sensors alone, and as it may draw them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from coordinator.experiment.plan import Plan
from coordinator.experiment.views import different_views
from coordinator.figures.style import NARROW, SMALL, WIDE, plain, write_form
from coordinator.reports.views import peers_in_words, view_in_words
from peers.data.datasets import Dataset, pixels_of

IMAGES, FEWER = 8, 3  # in a wide and in a narrow figure
DRAWN = ("drawn", "again")
MOST = 6  # views that are shown
LETTERS, FEWER_LETTERS, LINES = 125, 44, 8  # of a title: in a line, and lines at most
Pictures = Float[np.ndarray, "images channels height width"]


@dataclass(frozen=True)
class Block:
    """What some peers see of the images, as named rows of pictures."""

    title: str
    rows: dict[str, Pictures]


def save_views(plan: Plan, folder: Path) -> bool:
    """Write `views` and `views-narrow` into `folder`; False, without a file, if no peer has a view."""
    if not plan.config.peers.has_views:
        return False
    blocks = blocks_of(plan)
    for narrow in (False, True):
        write_form(draw_views(blocks, narrow), folder / f"views{'-narrow' if narrow else ''}.png", narrow)
    return True


def blocks_of(plan: Plan) -> list[Block]:
    """The images as they are, then those of each different view: what probes see, and two draws if it draws."""
    pixels = pixels_of(plan.dataset.train_images[_of_different_classes(plan.dataset)])
    blocks = [Block("", {"as they are": pixels.numpy()})]
    views = different_views(plan.config)
    for seen in views[:MOST]:
        rows = {"probed": seen.view.still(pixels, seen.first)}
        if any(step.draws for step in seen.view.steps):
            rows |= {
                name: seen.view.draw(pixels, seen.first, 0, number) for number, name in enumerate(("drawn", "again"))
            }
        words = view_in_words([step.model_dump(mode="json") for step in seen.view.steps])
        grey = any(step.name == "chroma" for step in seen.view.steps)
        name = "peers" if len(seen.peers) > 1 else "peer"
        blocks.append(
            Block(
                f"{name} {peers_in_words(seen.peers)}: {words}",
                {row: (values + 0.5 if grey else values).numpy() for row, values in rows.items()},
            )
        )
    if len(views) > MOST:
        last = blocks[-1]
        blocks[-1] = Block(f"{last.title} (and {len(views) - MOST} further views)", last.rows)
    return blocks


def draw_views(blocks: Sequence[Block], narrow: bool = False) -> Figure:
    """A row of pictures for each row of the blocks, each block under its title; the first images in a narrow figure."""
    count = min(FEWER if narrow else IMAGES, len(next(iter(blocks[0].rows.values()))))
    width = NARROW if narrow else WIDE
    side = (width - 1.0) / (FEWER if narrow else IMAGES)
    titles = [plain(block.title, FEWER_LETTERS if narrow else LETTERS, LINES) for block in blocks]
    heights = [0.02 + 0.18 * len(title.splitlines()) for title in titles]
    number = sum(len(block.rows) for block in blocks)
    figure = Figure(figsize=(width, number * side + sum(heights) + 0.15))
    ratios = [
        part for block, height in zip(blocks, heights, strict=True) for part in (height, *[side] * len(block.rows))
    ]
    left = 0.8 / width
    right = left + count * side / width
    grid = GridSpec(
        len(ratios), count, figure, left, 0.01, right, 0.995, wspace=0.04, hspace=0.04, height_ratios=ratios
    )
    place = 0
    for block, title in zip(blocks, titles, strict=True):
        heading = figure.add_subplot(grid[place, :])
        heading.axis("off")
        heading.text(0, 0.15, title, fontsize=SMALL, va="bottom", ha="left", clip_on=False)
        for name, pictures in block.rows.items():
            place += 1
            for column in range(count):
                axis = figure.add_subplot(grid[place, column])
                _show(axis, pictures[column])
                if not column:
                    axis.set_ylabel(name, fontsize=SMALL, rotation=0, ha="right", va="center")
        place += 1
    return figure


def _show(axis: Axes, picture: Float[np.ndarray, "channels height width"]) -> None:
    """One picture, whose values from 0 to 1 are black to white, or its colours if it has three channels."""
    colours = np.clip(picture.transpose(1, 2, 0), 0, 1)
    axis.imshow(colours if colours.shape[2] == 3 else colours.mean(axis=2), cmap="gray", vmin=0, vmax=1)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _of_different_classes(dataset: Dataset) -> list[int]:
    """The first training image of each class, then others, as many as a figure shows."""
    firsts = np.unique(dataset.train_labels, return_index=True)[1]
    others = np.setdiff1d(np.arange(min(len(dataset.train_labels), 2 * IMAGES)), firsts)
    return [*map(int, firsts), *map(int, others)][:IMAGES]
