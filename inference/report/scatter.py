"""The latent space to point at: a canvas, and the data and the script that draw it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.colors import to_hex

from vae4counts.inference.plots.latent import styled_classes

# Places on the canvas, from side to side: more than a screen has.
GRID = 4095
# The outline of each marker of the figures, about the origin, in SVG's language of paths.
OUTLINES = {
    "o": "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z",
    "^": "M0-1.2L1.1 .8H-1.1Z",
    "s": "M-.9-.9H.9V.9H-.9Z",
    "D": "M0-1.2L1.2 0L0 1.2L-1.2 0Z",
    "v": "M0 1.2L1.1-.8H-1.1Z",
    "P": "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    "X": "M-1.1-.6L-.6-1.1L0-.5L.6-1.1L1.1-.6L.5 0L1.1 .6L.6 1.1L0 .5L-.6 1.1L-1.1 .6L-.5 0Z",
    "*": "M0-1.4L.4-.4L1.4-.4L.6 .2L.9 1.2L0 .6L-.9 1.2L-.6 .2L-1.4-.4L-.4-.4Z",
}


def scatter(
    plane: np.ndarray,
    axis_names: tuple[str, str],
    names: Sequence[str],
    colourings: Sequence[tuple[pd.Series, Mapping[str, str]]],
    caption: str,
) -> Markup:
    """Return observations in the plane, to point at, coloured by class.

    Args:
        plane: Coordinates, shape ``(n, 2)``.
        axis_names: Names of the two axes.
        names: Names of the observations.
        colourings: Classes of the observations, each a series with a name, and their colours.
        caption: What is shown.
    """
    low, span = plane.min(axis=0), np.ptp(plane, axis=0)
    places = np.rint((plane - low) / np.where(span > 0, span, 1) * GRID).astype(int)
    data = {
        "grid": GRID,
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "names": list(map(str, names)),
        "colourings": [_colouring(*each) for each in colourings],
    }
    # no text in the data can end the element that holds them
    written = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    choices = Markup().join(
        Markup('<label><input type="radio" name="colouring" value="{}"{}> {}</label>').format(
            i, Markup(" checked") if i == 0 else "", classes.name
        )
        for i, (classes, _) in enumerate(colourings)
    )
    return Markup(
        '<figure class="map" id="map">\n'
        "<fieldset{hidden}><legend>Colour by</legend>{choices}</fieldset>\n"
        '<div class="plane"><canvas tabindex="0" role="application" aria-label="{caption} '
        'Arrow keys go from one observation to the next." aria-describedby="map-says"></canvas>'
        '<span class="ring" hidden></span><output id="map-says" aria-live="polite"></output>'
        "</div>\n"
        '<p class="axes"><span>{across} →</span> <span>{up} ↑</span></p>\n'
        '<div class="classes" role="group" aria-label="Classes: choose those to stand out"></div>\n'
        "<figcaption>{caption} Point at an observation to see what it is, or use the arrow keys to "
        "go from one to the next; classes chosen in the list stand out.</figcaption>\n"
        "<noscript><p>The latent space cannot be drawn without JavaScript.</p></noscript>\n"
        '<script type="application/json" id="map-data">{data}</script></figure>'
    ).format(
        hidden=Markup(" hidden") if not colourings else "",
        choices=choices,
        caption=caption,
        across=axis_names[0],
        up=axis_names[1],
        data=Markup(written),  # noqa: S704
    )


def _colouring(classes: pd.Series, colours: Mapping[str, str]) -> dict[str, Any]:
    codes, names, styles = styled_classes(classes, colours)
    return {
        "name": str(classes.name),
        "codes": codes.tolist(),
        "classes": [
            {"name": name, "colour": to_hex(colour), "outline": OUTLINES[marker]}
            for name, (colour, marker) in zip(names, styles, strict=True)
        ],
    }
