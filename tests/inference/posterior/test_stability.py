"""Stability of components: real groups are found again, and halves of a group are not."""

from __future__ import annotations

import numpy as np
import pytest

from vae4counts.inference.posterior.stability import component_stability, jaccard

CENTRES = np.array([[0.0, 0], [12, 0], [0, 12]])


def blobs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """``n`` points around each of three centres, and the memberships."""
    random = np.random.default_rng(0)
    points = np.concatenate([random.normal(centre, 1.0, (n, 2)) for centre in CENTRES])
    return points, np.eye(3).repeat(n, 0)


def test_jaccard_of_sets() -> None:
    """Of memberships of 0 or 1 it is the size of the intersection over that of the union."""
    one, other = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 2])
    wanted = [[2 / 3, 1 / 4, 0], [0, 1 / 3, 1 / 2]]
    np.testing.assert_allclose(jaccard(np.eye(2)[one], np.eye(3)[other]), wanted)


def test_jaccard_of_shares() -> None:
    shares = np.array([[0.2, 0.8], [0.6, 0.4]])
    wanted = (0.2 + 0.4) / (0.8 + 0.6)
    np.testing.assert_allclose(jaccard(shares, shares), [[1, wanted], [wanted, 1]])


def test_separate_groups_are_stable() -> None:
    points, shares = blobs(100)
    np.testing.assert_allclose(component_stability(points, shares), 1, atol=1e-3)


def test_a_group_cut_in_two_is_not_stable() -> None:
    """Three of the four groups are real; the fourth is a half of one, cut by its position."""
    points, shares = blobs(200)
    is_cut = (np.arange(600) < 200) & (np.arange(600) % 2 == 0)
    cut = np.concatenate([shares * ~is_cut[:, None], is_cut[:, None]], 1)
    found = component_stability(points, cut)
    assert found[[1, 2]].min() > 0.7
    assert found[[0, 3]].max() < 0.6


def test_empty_components_have_none() -> None:
    points, shares = blobs(50)
    found = component_stability(points, np.concatenate([shares, np.zeros((150, 2))], 1))
    assert (found[3:] == 0).all()
    assert found[:3].min() > 0.99


def test_the_seed_decides() -> None:
    points, shares = blobs(20)
    blurred = 0.5 * shares + 1 / 6
    again = [component_stability(points, blurred, seed, 3) for seed in (1, 1)]
    np.testing.assert_array_equal(*again)


@pytest.mark.parametrize("n", [1, 3])
def test_few_points(n: int) -> None:
    points, shares = blobs(n)
    assert np.isfinite(component_stability(points, shares)).all()
