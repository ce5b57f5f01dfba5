"""Log-probabilities and moments against scipy and brute force."""

from itertools import product
from math import comb
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from vae4counts.data.counts.support import BINARY
from vae4counts.models.likelihoods import (
    CategoricalCounts,
    CountDistribution,
    MultinomialCounts,
    NegativeBinomialCounts,
    PoissonCounts,
    ZeroInflatedNegativeBinomialCounts,
    ZeroInflatedPoissonCounts,
)

COUNTS = [0, 1, 2, 3, 7, 30, 200, 5_000, 100_000]
MEANS = [1e-8, 1e-3, 0.2, 1.0, 4.0, 150.0, 1e4, 1e6]
INVERSE_DISPERSIONS = [1e-3, 0.1, 1.0, 2.5, 40.0, 1e3, 1e5]
GATES = [-12.0, -3.0, 0.0, 4.0]


def negative_binomial(x: Any, mean: Any, r: Any) -> Any:
    rising = special.gammaln(r + x) - special.gammaln(r) - special.gammaln(x + 1)
    return rising - x * np.log1p(r / mean) - r * np.log1p(mean / r)


def inflated(base: Any) -> Any:
    def log_pmf(x: Any, gate: Any, *parameters: Any) -> Any:
        kept = special.log_expit(-gate) + base(x, *parameters)
        return np.where(x == 0, np.logaddexp(special.log_expit(gate), kept), kept)

    return log_pmf


REFERENCES = {
    PoissonCounts: (stats.poisson.logpmf, [MEANS]),
    NegativeBinomialCounts: (negative_binomial, [MEANS, INVERSE_DISPERSIONS]),
    ZeroInflatedPoissonCounts: (inflated(stats.poisson.logpmf), [GATES, MEANS]),
    ZeroInflatedNegativeBinomialCounts: (
        inflated(negative_binomial),
        [GATES, MEANS, INVERSE_DISPERSIONS],
    ),
}


@pytest.mark.parametrize("kind", REFERENCES, ids=lambda kind: kind.__name__)
def test_log_prob_agrees_with_scipy_over_a_wide_grid(kind: type[CountDistribution]) -> None:
    log_pmf, grids = REFERENCES[kind]
    x, *parameters = np.array(list(product(COUNTS, *grids)), dtype=float).T[..., None]
    found = kind(*map(torch.tensor, parameters)).log_prob(torch.tensor(x))
    expected = log_pmf(x, *parameters).squeeze(-1)
    # the reference's differences of gammaln round at 1e5 * log(1e5) * 1e-16
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9)


def test_negative_binomial_agrees_with_scipy_stats() -> None:
    x, mean, r = np.array(list(product([0, 1, 5, 40], [0.1, 2.0, 50.0], [0.3, 2.0, 30.0]))).T
    found = NegativeBinomialCounts(*map(torch.tensor, (mean[:, None], r[:, None])))
    expected = stats.nbinom.logpmf(x, r, r / (r + mean))
    np.testing.assert_allclose(found.log_prob(torch.tensor(x[:, None])), expected, rtol=1e-11)


def test_multinomial_agrees_with_scipy() -> None:
    random = np.random.default_rng(0)
    q = random.dirichlet(np.full(6, 0.3), size=40)
    totals = np.repeat([0, 1, 3, 1_000, 1_000_000], 8)
    x = random.multinomial(totals, q)
    found = MultinomialCounts(torch.tensor(q), torch.tensor(totals[:, None]))
    expected = [
        stats.multinomial.logpmf(*row) for row in zip(x, totals, q / q.sum(1)[:, None], strict=True)
    ]
    np.testing.assert_allclose(found.log_prob(torch.tensor(x)), expected, rtol=1e-9, atol=1e-8)


def test_categorical_is_the_log_probability_of_the_class() -> None:
    log_p = torch.randn(3, 4, 5, dtype=torch.float64).log_softmax(-2)  # rows, classes, features
    x = torch.tensor([[0, 1, 2, 3, 4], [5, 0, 0, 1, 1_000_000], [0, 0, 0, 0, 0]])
    expected = [sum(log_p[i, min(x[i, j], 3), j] for j in range(5)) for i in range(3)]
    torch.testing.assert_close(CategoricalCounts(log_p).log_prob(x), torch.stack(expected))


def pmf(case: Any, library: float = 3.0) -> tuple[CountDistribution, Tensor, Tensor]:
    """Return a distribution over one feature, its possible values and their probabilities."""
    if case.is_dense:
        pytest.skip("has a density")
    likelihood = case.make(n_features=1)
    total = torch.tensor([[library]], dtype=torch.float64)
    distribution = likelihood(case.outputs(1, n_features=1), total)
    n_classes = 2 if case.support is BINARY else getattr(likelihood, "n_classes", 1_500)
    x = torch.arange(n_classes, dtype=torch.float64)
    return distribution, x, distribution.log_prob(x[:, None]).exp()


def test_probabilities_sum_to_one(case: Any) -> None:
    _, _, p = pmf(case)
    assert p.sum().item() == pytest.approx(1, abs=1e-9)


def test_mean_and_variance_are_those_of_the_probabilities(case: Any) -> None:
    distribution, x, p = pmf(case)
    mean = (p * x).sum()
    assert distribution.mean.item() == pytest.approx(mean.item(), rel=1e-8)
    variance = (p * (x - mean) ** 2).sum()
    assert distribution.variance.item() == pytest.approx(variance.item(), rel=1e-7, abs=1e-9)


def test_multinomial_sums_to_one_over_all_compositions() -> None:
    n, q = 6, torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    x = torch.tensor([x for x in product(range(n + 1), repeat=3) if sum(x) == n])
    assert len(x) == comb(n + 2, 2)
    p = MultinomialCounts(q, torch.tensor([n])).log_prob(x).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)


def test_multinomial_of_another_total_is_impossible() -> None:
    distribution = MultinomialCounts(torch.full((2, 4), 0.25), torch.tensor([[3.0], [1e6]]))
    x = torch.tensor([[1.0, 1, 0, 0], [1e6, 1, 0, 0]])
    assert distribution.log_prob(x).tolist() == [-torch.inf, -torch.inf]
    # float32 has no 2**24 + 1, so neither the library nor a sum of counts can be exact
    large = MultinomialCounts(torch.full((1, 2), 0.5), torch.tensor([[2.0**24]]))
    assert large.log_prob(torch.tensor([[2.0**24, 1.0]])).isfinite().all()
