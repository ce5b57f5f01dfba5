"""Groups of points at which a mixture starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import mixture
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from vae4counts.models.priors import GaussianMixture, clustering
from vae4counts.models.priors.clustering import (
    agreement,
    count_groups,
    k_means,
    merged,
    merged_gaussians,
    overlaps,
    tied_mixture,
)

pytestmark = pytest.mark.slow


def stretched(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Make points in long, thin groups side by side, of given sizes and rotated at random."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(sizes)), sizes)
    points = rng.standard_normal((len(label), 2)) * [4.0, 0.4]
    points[:, 1] += 3 * label
    turn = stats.ortho_group.rvs(3, random_state=seed)[:2]
    noise = 0.4 * rng.standard_normal((len(label), 3))
    return points @ turn + noise, label


def test_long_groups_of_unequal_size_that_k_means_cuts() -> None:
    points, label = stretched([400, 150, 60])
    shares = merged_gaussians(points, 3, seed=0)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert shares.shape == (610, 3)
    assert adjusted_rand_score(label, shares.argmax(1)) > 0.95
    assert (
        adjusted_rand_score(label, KMeans(3, n_init=10, random_state=0).fit_predict(points)) < 0.5
    )


@pytest.mark.parametrize("seed", range(2))
def test_groups_are_counted(seed: int) -> None:
    """With five times as many Gaussians, a piece of a group may be split off by chance."""
    points, _ = stretched([300, 300, 200, 100], seed)
    assert count_groups(points, 12, seed=0) == 4
    assert 4 <= count_groups(points, 20, seed=0) <= 5
    assert merged_gaussians(points, 12, seed=0).shape[1] == 12


@pytest.mark.parametrize("n", [1, 2, 5])
def test_em_is_that_of_scikit_learn(n: int) -> None:
    points, _ = stretched([100, 80, 20])
    shares = np.random.default_rng(0).dirichlet(np.ones(n), size=len(points))
    inverse = np.linalg.inv(np.cov(points.T))
    means = shares.T @ points / shares.sum(0)[:, None]
    other = mixture.GaussianMixture(
        n,
        covariance_type="tied",
        weights_init=shares.mean(0),
        means_init=means,
        tol=1e-10,
        precisions_init=inverse,
        max_iter=2000,
        random_state=0,
    ).fit(points)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clustering, "MAX_EM_STEPS", 2000)
        patched.setattr(clustering, "EM_TOLERANCE", 1e-10)
        mean, found = tied_mixture(points, shares)
    assert mean == pytest.approx(other.lower_bound_, abs=1e-6)
    np.testing.assert_allclose(found, other.predict_proba(points), atol=1e-3)


def test_groups_that_do_not_overlap_at_all_are_kept_whole() -> None:
    merged_shares = merged(np.eye(4).repeat(5, 0), 2, overlaps)
    assert merged_shares.shape == (20, 2)
    np.testing.assert_array_equal(merged_shares.sum(1), 1)


def test_a_single_group_is_counted_as_one() -> None:
    points = np.random.default_rng(0).standard_normal((500, 3))
    assert count_groups(points, 6, seed=0) == 1


def test_overlaps_follow_their_definition() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(3), size=50)
    found = overlaps(shares)
    for j in range(3):
        for k in range(3):
            both = sum(row[j] * row[k] for row in shares)
            wanted = both / np.sqrt(shares[:, j].sum() * shares[:, k].sum())
            assert found[j, k] == pytest.approx(wanted)


def test_agreement_follows_its_definition() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), size=40)
    views = [rng.dirichlet(np.ones(k), size=40) for k in (2, 4)]
    found = agreement(shares, views)
    for j in range(3):
        for k in range(3):
            cosines = []
            for view in views:
                one, other = (shares[:, group] @ view for group in (j, k))
                cosines.append(one @ other / np.sqrt((one @ one) * (other @ other)))
            assert found[j, k] == pytest.approx(np.mean(cosines))


def test_groups_depend_little_on_the_seed() -> None:
    """If one start of EM splits a group or joins two, most others do not."""
    points, label = stretched([400, 200, 100, 60, 60])
    scores = [
        adjusted_rand_score(label, merged_gaussians(points, 5, seed).argmax(1))
        for seed in range(0, 30, 10)
    ]
    assert min(scores) > 0.95


def test_a_handful_of_distant_points_is_not_a_group() -> None:
    label = np.repeat([0, 1], 400)
    points = np.random.default_rng(0).standard_normal((800, 2)) + 8 * label[:, None]
    points[:4] = [10, -10]
    shares = merged_gaussians(points, 2, seed=0)
    assert adjusted_rand_score(label, shares.argmax(1)) > 0.9
    assert count_groups(points, 8, seed=0) == 2


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.eye(2).repeat(3, 0), np.ones((2, 1))])
def test_few_points_and_equal_ones(points: np.ndarray) -> None:
    shares = merged_gaussians(points, len(points), seed=0)
    np.testing.assert_allclose(shares.sum(1), 1)


def test_k_means_is_one_hot() -> None:
    points, _ = stretched([30, 30])
    shares = k_means(points, 4, seed=0)
    assert shares.shape == (60, 4)
    assert set(shares.sum(1)) == {1.0}
    assert (shares.sum(0) > 0).all()


def test_a_mixture_starts_at_the_moments_of_its_groups() -> None:
    torch.manual_seed(0)
    z = torch.randn(200, 2, dtype=torch.float64) * torch.tensor([2.0, 0.5]) + 3
    shares = torch.rand(200, 2, dtype=torch.float64).softmax(1)
    prior = GaussianMixture(2, 2).double()
    prior.start_at(z, shares)
    loc, scale = prior.components()
    for k in range(2):
        weights = shares[:, k].numpy()
        mean = np.average(z.numpy(), axis=0, weights=weights)
        variance = np.average((z.numpy() - mean) ** 2, axis=0, weights=weights)
        np.testing.assert_allclose(loc[k].detach(), mean)
        np.testing.assert_allclose(scale[k].detach() - 0.01, variance**0.5)
    torch.testing.assert_close(prior.log_weights().exp(), shares.mean(0), atol=1e-3, rtol=0)


def test_components_without_a_group_stay_empty() -> None:
    z = torch.randn(300, 2)
    prior = GaussianMixture(2, 5, concentration=0.1)
    prior.start_at(z, torch.ones(300, 2) / 2)
    weights = prior.log_weights().exp()
    assert (weights[2:] < 1e-3).all()
    optimiser = torch.optim.Adam(prior.parameters(), 0.1)
    for _ in range(20):
        optimiser.zero_grad()
        (-prior.log_prob(3 * z + 5).mean()).backward()
        optimiser.step()
    assert (prior.log_weights().exp()[2:] < 1e-3).all()
    assert all(parameter.isfinite().all() for parameter in prior.parameters())
