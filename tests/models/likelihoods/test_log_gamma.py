"""Log-gamma functions of counts against scipy, in float32 and float64."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import gammaln, psi

from vae4counts.models.likelihoods.log_gamma import log_choose, log_poisson_ratio

COUNTS = np.array([0, 1, 2, 3, 5, 10, 47, 300, 2_000, 10_000, 100_000, 1_000_000], dtype=float)
R = np.array([1e-3, 0.03, 0.5, 1, 1.7, 4, 20, 150, 1e3, 1e4, 1e5, 1e6], dtype=np.float32)
GRID = np.array(list(product(R, COUNTS)), dtype=float).T
EPS = torch.finfo(torch.float32).eps


def rising(r: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return ``log[Gamma(r + x) / Gamma(r)]``, as a sum where that is more exact."""
    few = np.log(r[:, None] + np.arange(300)) * (np.arange(300) < x[:, None])
    return np.where(x <= 300, few.sum(-1), gammaln(r + x) - gammaln(r))


def rising_slope(r: np.ndarray, x: np.ndarray) -> np.ndarray:
    few = (np.arange(300) < x[:, None]) / (r[:, None] + np.arange(300))
    return np.where(x <= 300, few.sum(-1), psi(r + x) - psi(r))


def test_log_choose_in_float64() -> None:
    r, x = GRID
    value, slope = log_choose(torch.tensor(r), torch.tensor(x))
    # differences of gammaln are less exact: 1e6 log(1e6) rounds to 2e-9
    np.testing.assert_allclose(value, rising(r, x) - gammaln(x + 1), rtol=1e-12, atol=1e-8)
    np.testing.assert_allclose(slope, rising_slope(r, x), rtol=1e-11, atol=1e-13)


def test_log_choose_of_few_is_exact_in_float64() -> None:
    r, x = GRID[:, GRID[1] <= 10]
    value, _ = log_choose(torch.tensor(r), torch.tensor(x))
    np.testing.assert_allclose(value, rising(r, x) - gammaln(x + 1), rtol=1e-13, atol=1e-12)


def test_log_choose_in_float32() -> None:
    """Exact to 16 roundings of the largest term; the derivative to 8 roundings of itself."""
    r, x = torch.tensor(GRID)
    value, slope = log_choose(r, x)
    found, found_slope = log_choose(r.float(), x.float())
    low, high = torch.minimum(r, x), torch.maximum(r, x)
    largest = 1 + low * (1 + torch.log(high / low.clamp_min(1e-3))) + value.abs()
    assert ((found - value).abs() < 16 * EPS * largest).all()
    assert ((found_slope - slope).abs() <= 8 * EPS * slope).all()


def test_a_difference_of_lgammas_is_lost_in_float32() -> None:
    """The reason for `log_choose`."""
    r, x = torch.tensor([1e5]), torch.tensor([3.0])
    exact, _ = log_choose(r.double(), x.double())
    naive = torch.lgamma(r + x) - torch.lgamma(r) - torch.lgamma(x + 1)
    assert (naive - exact).abs() > 0.01
    assert (log_choose(r, x)[0] - exact).abs() < 3e-6


@pytest.mark.parametrize("mean", [1e-20, 1e-8, 0.3, 5.0, 1e4, 1e6, 4e8])
def test_log_poisson_ratio(mean: float) -> None:
    x, m = torch.tensor(COUNTS), torch.tensor(mean)
    expected = COUNTS * np.log(m.double().numpy()) - gammaln(COUNTS + 1)
    np.testing.assert_allclose(
        log_poisson_ratio(x, m.double()), expected, rtol=1e-13, atol=1e-9
    )  # gammaln(1e6) rounds to 1e-9
    largest = torch.tensor(1 + COUNTS + np.abs(expected))  # 1: a constant of 4 to 5 cancels
    found = log_poisson_ratio(x.float(), m)
    assert ((found - torch.tensor(expected)).abs() <= 4 * EPS * largest).all()


def test_derivative_is_that_of_the_value() -> None:
    """By finite differences, between the points of the grid too."""
    r = torch.rand(20, dtype=torch.float64) * 10 + 1e-3
    x = torch.randint(0, 50, (20,)).double()
    h = 1e-5 * r
    difference = (log_choose(r + h, x)[0] - log_choose(r - h, x)[0]) / (2 * h)
    torch.testing.assert_close(log_choose(r, x)[1], difference, rtol=1e-7, atol=1e-8)
