"""What each kind of peer sees: some training images as they are, in its sensors alone, and as it may draw them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from coordinator.figures.style import NARROW, SMALL, WIDE, plain, write_form
from coordinator.planning.plan import Plan
from coordinator.planning.views import different_views
from coordinator.reports.views import peers_in_words, view_in_words
from peers.data.datasets import Dataset, pixels_of

IMAGES, FEWER = 8, 3  # in a wide and in a narrow figure
DRAWN = ("drawn", "again")
MOST = 6  # views that are shown
LETTERS, FEWER_LETTERS, LINES = 125, 44, 8  # of a title: in a line, and lines at most
LEFT, GAP, LINE = 0.8, 0.05, 0.155  # inches: of the rows' names, between rows, of a line of a title
Pictures = Float[np.ndarray, "images channels height width"]


@dataclass(frozen=True, eq=False)
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
    """A strip of pictures for each row of the blocks, each block under its title; the first images if narrow."""
    most, letters = (FEWER, FEWER_LETTERS) if narrow else (IMAGES, LETTERS)
    width = NARROW if narrow else WIDE
    rows = [(block, name, _strip(pictures[:most])) for block in blocks for name, pictures in block.rows.items()]
    strip = rows[0][2]
    shown = min(most, len(next(iter(blocks[0].rows.values()))))
    across = (width - LEFT - GAP) * shown / most
    down = across * strip.shape[0] / strip.shape[1]
    titles = {block: plain(block.title, letters, LINES) for block in blocks}
    above = {block: LINE * len(title.splitlines()) + GAP for block, title in titles.items()}
    height = sum(above.values()) + len(rows) * (down + GAP)
    figure, top = Figure(figsize=(width, height)), height
    for block, name, pictures in rows:
        if name == next(iter(block.rows)):
            figure.text(LEFT / width, (top - GAP / 2) / height, titles[block], fontsize=SMALL, va="top", ha="left")
            top -= above[block]
        axis = figure.add_axes((LEFT / width, (top - down) / height, across / width, down / height))
        axis.imshow(pictures, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        axis.axis("off")
        middle = (top - down / 2) / height
        figure.text((LEFT - 0.06) / width, middle, name, fontsize=SMALL, ha="right", va="center")
        top -= down + GAP
    return figure


def _strip(pictures: Pictures) -> Float[np.ndarray, "rows columns *colours"]:
    """Pictures side by side, with white between: values from 0 to 1 are black to white, or colours of 3 channels."""
    each = np.clip(pictures.transpose(0, 2, 3, 1), 0, 1)
    each = each if each.shape[-1] == 3 else each.mean(axis=-1)
    white = np.ones((each.shape[1], max(1, each.shape[2] // 24), *each.shape[3:]), each.dtype)
    parts = [part for picture in each for part in (white, picture)][1:]
    return np.concatenate(parts, axis=1)


def _of_different_classes(dataset: Dataset) -> list[int]:
    """The first training image of each class, then others, as many as a figure shows."""
    firsts = np.unique(dataset.train_labels, return_index=True)[1]
    others = np.setdiff1d(np.arange(min(len(dataset.train_labels), 2 * IMAGES)), firsts)
    return [*map(int, firsts), *map(int, others)][:IMAGES]
