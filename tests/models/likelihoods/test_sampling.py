"""Samples: their moments, their seeds, and their use in a Pyro program."""

from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine

N = 10_000


def test_moments_of_samples(case: Any) -> None:
    library = torch.tensor([[6.0], [40.0]], dtype=torch.float64)
    distribution = case.distribution(2, library=library)
    x = distribution.sample(torch.Size([N]))
    assert x.shape == (N, 2, 5)
    assert case.support.allows(x).all()
    mean, variance = distribution.mean, distribution.variance
    assert mean.shape == variance.shape == (2, 5)
    deviation = x - mean
    error = (variance / N).sqrt()
    assert ((x.mean(0) - mean).abs() < 5 * error).all()
    # standard error of the mean of squared deviations
    error = deviation.square().std(0) / N**0.5
    assert ((deviation.square().mean(0) - variance).abs() < 5 * error).all()


def test_features_and_observations_are_drawn_independently(case: Any) -> None:
    distribution = case.distribution(2, library=torch.full((2, 1), 1e3, dtype=torch.float64))
    x = distribution.sample(torch.Size([N])).flatten(1)
    correlation = torch.corrcoef(x.T) - torch.eye(10)
    if case.given_total:  # counts that share a total are correlated, the observations are not
        correlation = correlation[:5, 5:]
    assert (correlation.abs() < 5 / N**0.5).all()


def test_the_same_seed_gives_the_same_counts(case: Any) -> None:
    distribution = case.distribution(3, library=torch.full((3, 1), 9.0, dtype=torch.float64))
    state = np.random.get_state()  # noqa: NPY002
    pyro.set_rng_seed(5)
    first = distribution.sample(torch.Size([20]))
    torch.manual_seed(5)
    np.random.seed(77)  # noqa: NPY002
    assert distribution.sample(torch.Size([20])).equal(first)
    assert not distribution.sample(torch.Size([20])).equal(first)
    np.random.set_state(state)  # noqa: NPY002


def test_sampling_leaves_the_random_state_of_numpy_alone(case: Any) -> None:
    distribution = case.distribution(3, library=torch.full((3, 1), 9.0, dtype=torch.float64))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    distribution.sample()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_samples_carry_no_gradient(case: Any) -> None:
    outputs = case.outputs(3).requires_grad_()
    distribution = case.make()(outputs, torch.full((3, 1), 9.0, dtype=torch.float64))
    assert not distribution.sample().requires_grad


def test_expanding_changes_nothing_but_the_shape(case: Any, counts: torch.Tensor) -> None:
    distribution = case.distribution(4, library=counts.sum(-1, keepdim=True))
    wide = distribution.expand(torch.Size([3, 4]))
    assert type(wide) is type(distribution)
    assert wide.batch_shape == (3, 4)
    assert wide.event_shape == distribution.event_shape
    expected = distribution.log_prob(counts)
    for value in (counts, counts.to_sparse_csr()):
        assert wide.log_prob(value).shape == (3, 4)
        assert wide.log_prob(value).equal(expected.expand(3, 4))
    torch.testing.assert_close(wide.log_prob(counts.expand(3, 4, 5)), expected.expand(3, 4))
    assert wide.sample().shape == wide.mean.shape == wide.variance.shape == (3, 4, 5)
    assert wide.mean[1].equal(distribution.mean)


@pytest.mark.parametrize("lead", [(4,), (3, 4), (3, 1)], ids=str)
def test_as_an_observed_site_in_a_plate(
    case: Any, counts: torch.Tensor, lead: tuple[int, ...]
) -> None:
    distribution = case.distribution(*lead, library=counts.sum(-1, keepdim=True))

    def model() -> None:
        with pyro.plate("clusters", 3, dim=-2), pyro.plate("cells", 8, subsample_size=4, dim=-1):
            pyro.sample("counts", distribution, obs=counts.to_sparse_csr())

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    expected = distribution.log_prob(counts).expand(3, 4)
    site = trace.nodes["counts"]
    torch.testing.assert_close(site["unscaled_log_prob"], expected)
    torch.testing.assert_close(trace.log_prob_sum(), 2 * expected.sum())


def test_as_a_latent_site_in_a_plate(case: Any) -> None:
    distribution = case.distribution(4, library=torch.full((4, 1), 9.0, dtype=torch.float64))
    with pyro.plate("cells", 4):
        x = pyro.sample("counts", distribution)
    assert x.shape == (4, 5)
