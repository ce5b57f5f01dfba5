"""Colours: one for a class, and all told apart by all readers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from vae4counts.inference import plots
from vae4counts.inference.plots.latent import styled_classes

pytestmark = pytest.mark.slow


def test_a_class_has_one_colour_whichever_others_are_there() -> None:
    classes = pd.Series(pd.Categorical(list("abcd") * 3))
    _, names, styles = styled_classes(classes)
    _, some, same = styled_classes(classes[classes.isin(["b", "d"])])
    assert some == ["b", "d"]
    assert (
        dict(zip(some, same, strict=True)).items() <= dict(zip(names, styles, strict=True)).items()
    )
    _, _, own = styled_classes(classes, {"b": "#123456"})
    assert own[1][0] == to_rgb("#123456")
    assert own[0] == styles[0]


def test_a_component_has_the_colour_of_the_class_that_it_means_and_no_other() -> None:
    counts = pd.DataFrame([[9, 0, 4, 1], [1, 8, 0, 1], [0, 0, 0, 1]], [*"abc"], [*"0123"])
    classes = plots.class_colours([*"abc"])
    found = plots.component_colours([*"01234"], counts, classes)
    assert (found["0"], found["1"]) == (classes["a"], classes["b"])
    assert found["2"] not in classes.values()  # a second one of "a": a shade of its colour
    blue = [to_rgb(found[k])[2] - to_rgb(found[k])[0] for k in ("0", "2")]
    assert min(blue) > 0.2
    for mixed in ("3", "4"):  # of no class, and without observations of known classes
        assert np.ptp(to_rgb(found[mixed])) == 0
    assert len(set(found.values())) == 5
    assert plots.component_colours([*"01"]) == plots.class_colours([*"01"])


# How colours look to readers without the cones for red, green and blue (Machado et al. 2009), as a
# matrix on linear RGB.
SIGHTS = {
    "all cones": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(colours: list[str], sight: Any) -> np.ndarray:
    """CIELAB coordinates as they are seen: about 2.3 apart is just noticeable."""
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt((linear @ np.transpose(sight)).clip(1e-4, 1) @ XYZ.T / XYZ.sum(axis=1)).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize(("n", "least"), [(16, 11.0), (24, 8.0)])
def test_all_readers_tell_colours_apart(sight: str, n: int, least: float) -> None:
    seen = lab([*plots.PALETTE[:n]], SIGHTS[sight])
    apart_by = np.linalg.norm(seen[:, None] - seen, axis=-1)
    assert apart_by[np.triu_indices(n, 1)].min() > least


@pytest.mark.parametrize("n", [3, 24, 60])
def test_styles_differ(n: int) -> None:
    assert len(set(plots.class_styles(n))) == n
    assert plots.class_styles(n)[:3] == plots.class_styles(3)
