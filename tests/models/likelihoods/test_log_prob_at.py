"""The log-probability of each of a few counts on its own, against scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from vae4counts.data.counts.support import BINARY, COUNTS, REAL, SHARES


def poisson(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    return stats.poisson.logpmf(x, mean)


def negative_binomial(x: np.ndarray, mean: np.ndarray, r: np.ndarray) -> np.ndarray:
    return stats.nbinom.logpmf(x, r, r / (r + mean))


def inflated(base: Any) -> Any:
    def log_pmf(x: np.ndarray, gate: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        p = special.expit(gate)
        return np.log(p * (x == 0) + (1 - p) * np.exp(base(x, *parameters)))

    return log_pmf


def categorical(x: np.ndarray, *log_p: np.ndarray) -> np.ndarray:
    classes = np.minimum(x, len(log_p) - 1)
    return np.choose(classes, np.broadcast_arrays(*log_p))


def bernoulli(x: np.ndarray, logit: np.ndarray) -> np.ndarray:
    return stats.bernoulli.logpmf(x, special.expit(logit))


def with_background(
    x: np.ndarray, gate: np.ndarray, signal: np.ndarray, background: np.ndarray, r: np.ndarray
) -> np.ndarray:
    p = special.expit(gate)
    either = [np.exp(negative_binomial(x, mean, r)) for mean in (background, background + signal)]
    return np.log(p * either[0] + (1 - p) * either[1])


def gaussian(x: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.nan_to_num(stats.norm.logpdf(x, loc, scale))


def beta(x: np.ndarray, mean: np.ndarray, c: np.ndarray, e: np.ndarray) -> np.ndarray:
    distribution = stats.beta(c * mean, c * (1 - mean))
    censored = np.log(distribution.cdf(e) / e)
    return np.nan_to_num(np.where(x < e, censored, distribution.logpdf(x)))


REFERENCES = {
    "poisson": poisson,
    "negative-binomial": negative_binomial,
    "zero-inflated-poisson": inflated(poisson),
    "zero-inflated-negative-binomial": inflated(negative_binomial),
    "negative-binomial-background": with_background,
    "multinomial": lambda x, q, n: stats.binom.logpmf(x, n, q),
    "categorical": categorical,
    "bernoulli": bernoulli,
    "gaussian": gaussian,
    "beta": beta,
}
COLUMNS = torch.tensor([3, 0, 4])
VALUES = {
    COUNTS: torch.tensor([0, 6, 2]),
    BINARY: torch.tensor([0, 1, 1]),
    REAL: torch.tensor([torch.nan, 6.5, -2]),
    SHARES: torch.tensor([0, 0.3, torch.nan], dtype=torch.float64),
}


@pytest.mark.parametrize("lead", [(4,), (2, 4), (2, 1)], ids=str)
def test_it_agrees_with_scipy(case: Any, lead: tuple[int, ...], counts: Tensor) -> None:
    distribution = case.distribution(*lead, library=1 + counts.sum(-1, keepdim=True))
    values = VALUES[case.support]
    shape = (*distribution.batch_shape, 5)
    parameters = [p.expand(shape)[..., COLUMNS].numpy() for p in distribution.parameters]
    found = distribution.log_prob_at(COLUMNS, values)
    assert found.shape == (*distribution.batch_shape, 3)
    wanted = REFERENCES[case.name](values.numpy(), *parameters)
    # the probability of shares near 0 is that of a quadrature
    tolerance = 1e-4 if case.support is SHARES else 1e-9
    np.testing.assert_allclose(found, wanted, rtol=tolerance)


def test_all_of_them_add_up_to_the_log_probability(case: Any, counts: Tensor) -> None:
    distribution = case.distribution(4, library=counts.sum(-1, keepdim=True))
    if case.given_total:
        pytest.skip("models counts given their total")
    found = torch.stack([distribution.log_prob_at(torch.arange(5), row) for row in counts])
    torch.testing.assert_close(found.sum(-1).diagonal(), distribution.log_prob(counts))


def test_of_no_features_there_is_nothing(case: Any) -> None:
    distribution = case.distribution(4, library=torch.ones(4, 1))
    nothing = torch.tensor([], dtype=torch.long)
    assert distribution.log_prob_at(nothing, nothing).shape == (4, 0)


def test_it_is_computed_without_gradients(case: Any, counts: Tensor) -> None:
    outputs = case.outputs(4).requires_grad_()
    distribution = case.make()(outputs, 1 + counts.sum(-1, keepdim=True))
    assert not distribution.log_prob_at(COLUMNS, VALUES[case.support]).requires_grad
