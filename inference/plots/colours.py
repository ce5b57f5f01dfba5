"""One colour for each class in all figures; components in the colours of what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.colors import to_hex, to_rgb

from vae4counts.inference.plots.style import class_styles

# Of components that are of no one class.
MIXED = "#7F7F7F"
# Shades of a colour: how much of white (1) or black (0) is mixed into it.
SHADES = ((1, 0.0), (1, 0.45), (0, 0.4), (1, 0.65), (0, 0.65), (1, 0.25))
# The share of a component's observations that have to be of a class for it to mean that class.
MAJORITY = 0.5


def class_colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour, as ``"#rrggbb"``, for each class by its place among all classes."""
    styles = class_styles(len(names))
    return {name: to_hex(colour) for name, (colour, _) in zip(names, styles, strict=True)}


def component_colours(
    names: Sequence[str],
    counts: pd.DataFrame | None = None,
    classes: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return a colour for each component: that of the class that most of its observations are of.

    Several components of one class get shades of its colour, the largest one the colour itself.
    Components that are mostly of no one class are grey. Without classes, components are coloured
    as classes are.

    Args:
        names: Names of the components.
        counts: Numbers of observations, classes x components (see `component_labels`).
        classes: The colour of each class.
    """
    if counts is None or classes is None:
        return class_colours(names)
    counts = counts.reindex(columns=list(names), fill_value=0)
    totals = counts.sum()
    colours, met = {}, dict.fromkeys([*classes.values(), MIXED], 0)
    for name in totals.sort_values(ascending=False, kind="stable").index:
        largest = counts[name].max()
        meant = largest > MAJORITY * totals[name]
        base = classes[str(counts[name].idxmax())] if meant else MIXED
        end, share = SHADES[met[base] % len(SHADES)]
        met[base] += 1
        colours[name] = _mixed(base, end, share)
    return {name: colours[name] for name in names}


def _mixed(colour: str, grey: float, share: float) -> str:
    """Return a colour with a share of grey, from 0 for black to 1 for white."""
    red, green, blue = ((1 - share) * each + share * grey for each in to_rgb(colour))
    return to_hex((red, green, blue))
