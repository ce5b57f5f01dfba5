"""What all figures share: colours for colour-blind readers too, names, and axes to draw on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties, findfont, get_font

from vae4counts.data.text import LONGEST_NAME, short_name

# Six colours of Okabe & Ito's palette, and then those that are furthest from all before them, also
# to readers who lack the cones for red, green or blue (Machado et al. 2009).
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
VERMILLION, SKY = "#D55E00", "#56B4E9"
PALETTE = (
    *(BLUE, ORANGE, GREEN, PINK, VERMILLION, SKY, "#64210B", "#4E2C4E"),
    *("#002C9B", "#DEC87A", "#8585FF", "#C80B43", "#B1D3B1", "#4EDEE9", "#640B6F", "#904300"),
    *("#166437", "#D36F43", "#85596F", "#FF597A", "#645985", "#FFBC59", "#4359C8", "#DEA6BC"),
)
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
GREY, SLATE = "#999999", "#5F6B76"
# Signed values, from one side to the other; both ends are told apart by colour-blind readers.
DIVERGING = "PuOr_r"
# Shares, from none, which is the colour of the paper, to all.
SEQUENTIAL = "Blues"
# A sequential cell whose value is above this takes white letters.
DARK = 0.6

# Drawn in place of characters that the fonts do not have.
UNKNOWN_CHARACTER = "?"
# More rows or columns than this cannot be read.
MOST_ROWS = 48
# Inches that a letter of a label takes.
LETTER = 0.085

Colour = tuple[float, float, float]


def plain(name: object, longest: int = LONGEST_NAME) -> str:
    """Return a person's own text as matplotlib draws it, letter by letter.

    It becomes one line, shortened in the middle. Dollar signs begin no mathematics, and characters
    that the fonts do not have become question marks, since matplotlib would warn of each.
    """
    families = rcParams["font.family"]
    fonts = [get_font(findfont(FontProperties(family=[family]))) for family in families]
    drawn = (
        letter if any(font.get_char_index(ord(letter)) for font in fonts) else UNKNOWN_CHARACTER
        for letter in short_name(name, longest)
    )
    return "".join(drawn).replace("$", r"\$")


def largest_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the largest of too many rows in their order, and the sum of all others as a last."""
    if len(table) <= MOST_ROWS:
        return table
    order = np.argsort(-table.to_numpy().sum(axis=1), kind="stable")
    kept, others = np.sort(order[: MOST_ROWS - 1]), order[MOST_ROWS - 1 :]
    rest = table.iloc[others].sum().to_frame(f"{len(others):,} others").T
    return pd.concat([table.iloc[kept], rest]).rename_axis(table.index.name)


def label_room(table: pd.DataFrame) -> float:
    """Return the inches that the names of a table's rows take, beyond those of short names."""
    longest = max((len(plain(name)) for name in table.index), default=0)
    return LETTER * max(0, longest - 10)


def class_styles(n: int) -> list[tuple[Colour, str]]:
    """Return a colour and a marker for each of ``n`` classes; the first ones are always the same.

    There are 24 colours; after these come the same ones with another marker.
    """
    size = len(PALETTE)
    return [(to_rgb(PALETTE[i % size]), MARKERS[i // size % len(MARKERS)]) for i in range(n)]


def axes(ax: Axes | None, width: float = 6, height: float = 4.5) -> Axes:
    """Return the given axes, or new ones in a new figure."""
    if ax is not None:
        return ax
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def apart(heights: np.ndarray, room: float) -> np.ndarray:
    """Move heights as little as needed so that neighbours are ``room`` apart."""
    order = np.argsort(heights, kind="stable")
    moved = np.asarray(heights, dtype=float)[order]
    for _ in range(200):
        short = room - np.diff(moved)
        if not (short > 1e-9 * room).any():
            break
        push = np.where(short > 0, short / 2, 0)
        moved[:-1] -= push
        moved[1:] += push
    result = np.empty_like(moved)
    result[order] = moved
    return result
