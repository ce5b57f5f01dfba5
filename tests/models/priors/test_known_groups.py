"""Groups at which components start that are classes, known of some points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from vae4counts.models import GMVAE, Labels
from vae4counts.models.priors import GaussianMixture
from vae4counts.models.priors.clustering import tied_mixture
from vae4counts.models.priors.known_groups import known_groups


def long_groups(n: int = 4, size: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points in long, thin groups side by side, which lie nearer to others' ends than to their own.

    Turned at random in three dimensions.
    """
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n), size)
    points = rng.standard_normal((len(group), 3)) * [4.0, 0.4, 0.4]
    points[:, 1] += 2.5 * group
    return points @ stats.ortho_group.rvs(3, random_state=seed), group


def some_known(group: np.ndarray, n_classes: int, n: int, seed: int = 0) -> np.ndarray:
    """The groups of ``n`` points of each class, -1 for all others."""
    known = np.full(len(group), -1)
    for k in range(n_classes):
        chosen = np.random.default_rng(seed).choice(np.flatnonzero(group == k), n, replace=False)
        known[chosen] = k
    return known


@pytest.mark.parametrize("n_known", [1, 5, 30])  # a single one may lie at a group's end
def test_each_class_has_its_own_group(n_known: int) -> None:
    right = []
    for seed in range(3):
        points, group = long_groups(seed=seed)
        shares = known_groups(points, some_known(group, 4, n_known, seed), 4, seed)
        np.testing.assert_allclose(shares.sum(1), 1)
        right.append((shares.argmax(1) == group).mean())
    assert (np.median if n_known == 1 else np.min)(right) > 0.98


def test_many_known_points_tell_the_classes_as_in_discriminant_analysis() -> None:
    rng = np.random.default_rng(0)
    points, _ = long_groups(2)
    # what splits the points into groups is not what the classes are
    kind = (points @ rng.standard_normal(3) > 0).astype(int)
    known = np.where(rng.random(len(points)) < 0.5, kind, -1)
    shares = known_groups(points, known, 2, 0)
    rest = known < 0
    by_hand = LinearDiscriminantAnalysis().fit(points[~rest], kind[~rest])
    np.testing.assert_allclose(shares[rest], by_hand.predict_proba(points[rest]), atol=0.05)
    assert (shares.argmax(1) == kind)[rest].mean() > 0.9
    # a third group takes part in EM
    assert known_groups(points, known, 3, 0).shape == (300, 3)


def test_known_points_stay_in_their_classes() -> None:
    points, group = long_groups()
    known = some_known(group, 4, 10)
    wrong = np.flatnonzero(known == 0)[:3]
    known[wrong] = 3  # against all that the points say
    for n in (4, 5):
        shares = known_groups(points, known, n, 0)
        assert (shares[known >= 0, known[known >= 0]] == 1).all()


def test_further_groups_start_where_no_class_is() -> None:
    for seed in range(3):
        points, group = long_groups(seed=seed)
        shares = known_groups(points, some_known(group, 2, 10, seed), 4, seed)
        found = shares.argmax(1)
        assert (found[group < 2] == group[group < 2]).mean() > 0.95
        names = [np.bincount(found[group == k], minlength=4).argmax() for k in (2, 3)]
        assert sorted(names) == [2, 3]
    again = known_groups(points, some_known(group, 2, 10, seed), 4, seed)
    np.testing.assert_array_equal(again, shares)


def test_few_points_that_are_all_the_same() -> None:
    shares = known_groups(np.ones((6, 2)), np.array([0, 1, -1, -1, -1, -1]), 3, 0)
    assert np.isfinite(shares).all()
    np.testing.assert_allclose(shares.sum(1), 1)


def test_the_likelihood_of_a_mixture_with_known_points() -> None:
    points, group = long_groups(2, 40)
    known = some_known(group, 2, 20)
    excluded = (known >= 0)[:, None] & (known[:, None] != np.arange(2))
    mean, shares = tied_mixture(points, np.eye(2)[group], excluded)
    # the parameters that these shares lead to are those of the mixture, to within its tolerance
    sizes = shares.sum(0)
    centres = shares.T @ points / sizes[:, None]
    within = sum(
        (points - c).T @ (shares[:, [k]] * (points - c)) for k, c in enumerate(centres)
    ) / len(points)
    log_joint = np.stack(
        [
            stats.multivariate_normal(c, within).logpdf(points) + np.log(size / len(points))
            for c, size in zip(centres, sizes, strict=True)
        ],
        1,
    )
    by_hand = np.where(
        known >= 0, log_joint[np.arange(len(points)), known], np.logaddexp(*log_joint.T)
    )
    assert mean == pytest.approx(by_hand.mean(), abs=2e-3)


@pytest.mark.parametrize("concentration", [None, 0.1])
def test_a_mixture_starts_at_the_classes(concentration: float | None) -> None:
    points, group = long_groups()
    z, known = torch.as_tensor(points).float(), torch.as_tensor(some_known(group, 3, 10))
    n = 6 if concentration is None else 12
    prior = GaussianMixture(3, n, concentration=concentration)
    model = GMVAE(7, prior, labels=Labels("type", ["a", "b", "c"]))
    shares = model.groups(z, 0, known)
    model.start_at(z, shares)
    for k in range(3):
        torch.testing.assert_close(prior.loc[k], z[group == k].mean(0), atol=1.5, rtol=0)
    empty = prior.log_weights().exp() < 0.01
    assert not empty[:3].any()
    # a sparse prior finds the one further group, and leaves the other components empty
    assert int(empty.sum()) == (0 if concentration is None else n - 4)
