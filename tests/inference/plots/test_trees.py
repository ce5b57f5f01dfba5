"""Trees of features: which links are drawn, and names that are apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from vae4counts.inference import plots
from vae4counts.models import FeatureTree

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_of_a_large_tree_the_closest_links_are_drawn() -> None:
    n = 400
    chain = FeatureTree(np.arange(n) - 1, np.arange(n), np.r_[0.0, np.linspace(1, 2, n - 1)])
    ax = plots.feature_tree(chain, [str(j) for j in range(n)])
    assert len(ax.collections[0].get_paths()) == 120
    assert {text.get_text() for text in ax.texts} == {str(j) for j in range(n - 121, n)}


def outlines(ax: Axes) -> list[Path]:
    """The turned rectangles that texts fill, in pixels."""
    found = []
    for text in ax.texts:
        angle = text.get_rotation()
        text.set_rotation(0)
        box = text.get_window_extent()
        text.set_rotation(angle)
        turned = Affine2D().rotate_deg_around(*ax.transData.transform(text.get_position()), angle)
        found.append(Path(turned.transform(box.corners()[[0, 1, 3, 2, 0]])))
    return found


@pytest.mark.parametrize("shape", ["random", "chain", "star", "halves"])
def test_names_in_a_tree_are_apart_from_each_other_and_from_links(shape: str) -> None:
    n = 80
    parents = {
        "random": np.r_[-1, RNG.integers(np.arange(1, n))],
        "chain": np.arange(n) - 1,
        "star": np.r_[-1, np.zeros(n - 1, dtype=int)],
        "halves": (np.arange(n) - 1) // 2,
    }[shape]
    tree = FeatureTree(parents, np.repeat(np.arange(n), 2), RNG.random(n))
    ax = plots.feature_tree(tree, [f"a feature {j}" for j in range(2 * n)])
    ax.figure.canvas.draw()
    boxes = outlines(ax)
    pairs = combinations(boxes, 2)
    assert not any(one.intersects_path(other, filled=True) for one, other in pairs)
    page = Path(ax.figure.bbox.corners()[[0, 1, 3, 2, 0]])
    assert all(page.contains_points(box.vertices).all() for box in boxes)
    links = [ax.transData.transform(path.vertices) for path in ax.collections[0].get_paths()]
    around = boxes[1:]  # the root's is in the middle, where its links meet
    assert not any(box.contains_points(link).any() for box in around for link in links)
