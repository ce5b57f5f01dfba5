"""Float32 against float64: counts to 1e6, rates from 1e-8, inverse dispersions 1e-3 to 1e5.

The accuracy for one count ``x``: its value is exact to 8 roundings (of 1.2e-7) of the largest term,
that is of ``1 + x + |log p(0)| + |log p(x)|``, and every derivative by the logarithm of a parameter
to 4 roundings of ``1 + x + |log p(0)|``, where ``p(0)`` is that without inflation.
"""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from vae4counts.models.likelihoods import (
    CountDistribution,
    NegativeBinomialCounts,
    PoissonCounts,
    ZeroInflatedNegativeBinomialCounts,
    ZeroInflatedPoissonCounts,
)

EPS = torch.finfo(torch.float32).eps
COUNTS = [0.0, 1.0, 2.0, 5.0, 100.0, 1e4, 1e6]
MEANS = [1e-8, 1e-4, 0.05, 0.7, 1.0, 13.0, 1e3, 1e5, 1e6]
INVERSE_DISPERSIONS = [1e-3, 0.02, 0.5, 1.0, 7.0, 300.0, 1e4, 1e5]
GATES = [-20.0, -3.0, 0.0, 5.0]

GRIDS = {
    PoissonCounts: [MEANS],
    NegativeBinomialCounts: [MEANS, INVERSE_DISPERSIONS],
    ZeroInflatedPoissonCounts: [GATES, MEANS],
    ZeroInflatedNegativeBinomialCounts: [GATES, MEANS, INVERSE_DISPERSIONS],
}
BASES = {
    ZeroInflatedPoissonCounts: PoissonCounts,
    ZeroInflatedNegativeBinomialCounts: NegativeBinomialCounts,
}


def value_and_slopes(
    kind: type[CountDistribution], x: Tensor, parameters: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    parameters = [p.clone().requires_grad_() for p in parameters]
    value = kind(*parameters).log_prob(x)
    return value.detach().double(), [
        gradient.squeeze(-1).double() for gradient in torch.autograd.grad(value.sum(), parameters)
    ]


@pytest.mark.parametrize("kind", GRIDS, ids=lambda kind: kind.__name__)
def test_float32_is_as_accurate_as_stated(kind: type[CountDistribution]) -> None:
    x, *parameters = torch.tensor(list(product(COUNTS, *GRIDS[kind]))).T[..., None]
    found, found_slopes = value_and_slopes(kind, x, parameters)
    wide = [p.double() for p in parameters]
    value, slopes = value_and_slopes(kind, x.double(), wide)
    base, at = (BASES[kind], wide[1:]) if kind in BASES else (kind, wide)
    at_zero = base(*at).log_prob(torch.zeros_like(x))
    largest = 1 + x.squeeze(-1) + at_zero.abs()
    assert found.isfinite().all()
    assert ((found - value).abs() <= 8 * EPS * (largest + value.abs())).all()
    for parameter, found_slope, slope in zip(wide, found_slopes, slopes, strict=True):
        assert found_slope.isfinite().all()
        # a gate is a logit, of unit scale; the others are positive
        scale = parameter.squeeze(-1) if (parameter > 0).all() else torch.ones_like(slope)
        assert ((found_slope - slope).abs() * scale <= 4 * EPS * largest).all()


@pytest.mark.parametrize("scale", [1.0, 60.0, 1e4])
def test_extreme_outputs_are_finite(case: Any, scale: float) -> None:
    """Rates that underflow to 0 at a count above 0, and rates that would overflow."""
    outputs = (case.outputs(40, dtype=torch.float32) * scale).requires_grad_()
    counts = torch.tensor([0.0, 1.0, 3.0, 1e3, 1e6])[torch.randint(5, (40, 5))]
    library, counts = counts.sum(-1, keepdim=True), case.within(counts)
    likelihood = case.make(dtype=torch.float32)
    for given in [library] if case.given_total else [library, None]:
        value = likelihood(outputs, given).log_prob(counts.to_sparse_csr())
        assert value.isfinite().all()
        gradients = torch.autograd.grad(value.sum(), [outputs, *likelihood.parameters()])
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_gradient_at_a_rate_of_zero_is_large(case: Any) -> None:
    """It says that a rate that underflowed is too small."""
    distribution = case.distribution(1, library=torch.tensor([[4.0]]))
    kinds = tuple(GRIDS)
    if not isinstance(distribution, kinds):
        pytest.skip("has no rates, or rates that sum to 1")
    at = next(kind for kind in kinds if type(distribution) is kind)
    parameters = [p.float().expand(1, 5) for p in distribution.parameters]
    where = 1 if "zero-inflated" in case.name else 0
    parameters[where] = torch.zeros(1, 5)
    _, slopes = value_and_slopes(at, torch.ones(1, 5), parameters)
    assert (slopes[where] > 1e10).all()
    assert slopes[where].isfinite().all()


def test_sums_of_many_entries_keep_float32(case: Any) -> None:
    """Sums over 4,000 features and 800 entries per row are as exact as the entries."""
    n = 4_000
    torch.manual_seed(3)
    counts = torch.poisson(torch.rand(8, n).pow(6) * 4)
    library, outputs = counts.sum(-1, keepdim=True), case.outputs(8, n_features=n)
    counts = case.within(counts)
    likelihood = case.make(n_features=n, dtype=torch.float64)
    exact = likelihood(outputs, library.double()).log_prob(counts)
    found = likelihood.float()(outputs.float(), library).log_prob(counts.to_sparse_csr())
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_outputs_of_half_precision_are_widened(case: Any, dtype: torch.dtype) -> None:
    outputs = case.outputs(4, dtype=torch.float32).to(dtype).requires_grad_()
    counts = torch.zeros(4, 5)
    counts[:, 1] = 2
    library, counts = counts.sum(-1, keepdim=True), case.within(counts)
    likelihood = case.make(dtype=torch.float32)
    value = likelihood(outputs, library).log_prob(counts)
    assert value.dtype == torch.float32
    assert value.equal(likelihood(outputs.float(), library).log_prob(counts))
    value.sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.dtype == dtype


def test_autocast_leaves_likelihoods_alone(case: Any) -> None:
    """In a backward pass under autocast too."""
    counts = torch.poisson(torch.rand(4, 5) * 3)
    library, counts = counts.sum(-1, keepdim=True), case.within(counts)
    likelihood = case.make(dtype=torch.float32)
    inputs = [case.outputs(4, dtype=torch.float32).requires_grad_(), *likelihood.parameters()]
    expected = likelihood(inputs[0], library).log_prob(counts)
    slopes = torch.autograd.grad(expected.sum(), inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = likelihood(inputs[0], library).log_prob(counts)
        found_slopes = torch.autograd.grad(found.sum(), inputs)
    assert found.equal(expected)
    assert all(a.equal(b) for a, b in zip(found_slopes, slopes, strict=True))
