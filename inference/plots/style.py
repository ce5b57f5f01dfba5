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

# Okabe & Ito's palette, with similar colours far apart.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
BLACK, VERMILLION, SKY, YELLOW = "#000000", "#D55E00", "#56B4E9", "#F0E442"
PALETTE = (BLUE, ORANGE, GREEN, PINK, BLACK, VERMILLION, SKY, YELLOW)
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
GREY = "#999999"
# Signed values, from one side to the other; both ends are told apart by colour-blind readers.
DIVERGING = "PuOr_r"

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
    """Return a colour and a marker for each of ``n`` classes.

    The first eight are the palette's. Eight darker and eight lighter ones follow, told apart by
    lightness, and then the same 24 with another marker.
    """
    # black has no shades
    base = [to_rgb("#7F7F7F" if n > 8 and c == BLACK else c) for c in PALETTE]
    shades = base + [_mix(c, 0.0, 0.5) for c in base] + [_mix(c, 1.0, 0.55) for c in base]
    return [(shades[i % 24], MARKERS[i // 24 % len(MARKERS)]) for i in range(n)]


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


def _mix(colour: Colour, end: float, share: float) -> Colour:
    red, green, blue = (part * (1 - share) + end * share for part in colour)
    return red, green, blue
