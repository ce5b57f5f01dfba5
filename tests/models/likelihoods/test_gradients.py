"""Hand-written gradients against finite differences and against autograd of dense formulas."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from vae4counts.models.likelihoods.base import rates
from vae4counts.models.likelihoods.zero_inflated import INITIAL_GATE_LOGIT

pytestmark = pytest.mark.slow

grad = partial(torch.autograd.grad, allow_unused=True, materialize_grads=True)


def test_finite_differences(case: Any, problem: Any) -> None:
    made = problem()
    assert torch.autograd.gradcheck(made.log_prob, made.inputs)


def poisson(x: Tensor, mean: Tensor) -> Tensor:
    return torch.distributions.Poisson(mean, validate_args=False).log_prob(x)


def negative_binomial(x: Tensor, mean: Tensor, log_r: Tensor) -> Tensor:
    return torch.distributions.NegativeBinomial(
        log_r.exp(), logits=mean.log() - log_r, validate_args=False
    ).log_prob(x)


def inflated(base: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def log_pmf(x: Tensor, mean: Tensor, *parameters: Tensor) -> Tensor:
        *others, gate = parameters
        gate = gate + INITIAL_GATE_LOGIT
        kept = base(x, mean, *others)
        return torch.where(x == 0, torch.logaddexp(gate, kept), kept) - softplus(gate)

    return log_pmf


DENSE = {
    "poisson": poisson,
    "negative-binomial": negative_binomial,
    "zero-inflated-poisson": inflated(poisson),
    "zero-inflated-negative-binomial": inflated(negative_binomial),
}


def dense_log_prob(case: Any, made: Any, *inputs: Tensor) -> Tensor:
    """Return the log-probability by plain torch, entry by entry."""
    outputs, library, own = made.unpack(inputs)
    x = made.counts
    parts = iter(outputs.split(x.shape[-1], dim=-1))
    if case.name == "multinomial":
        return torch.distributions.Multinomial(1, logits=outputs, validate_args=False).log_prob(x)
    if case.name == "categorical":
        logits = torch.stack(list(parts), -1)
        classes = x.clamp_max(logits.shape[-1] - 1).expand(
            torch.broadcast_shapes(x.shape, logits.shape[:-1])
        )
        return torch.distributions.Categorical(logits=logits).log_prob(classes).sum(-1)
    rate = next(parts)
    mean = rate.exp() if library is None else rate.softmax(-1) * library
    further = [
        next(parts) if extent == "observation" else own[f"own.{name}"]
        for name, extent in case.extents.items()
    ]
    return DENSE[case.name](x, mean, *further).sum(-1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("sparse", [True, False], ids=["csr", "dense"])
def test_plain_autograd(case: Any, problem: Any, dtype: torch.dtype, sparse: bool) -> None:
    if case.name not in DENSE and case.name not in ("multinomial", "categorical"):
        pytest.skip("no dense formula is written down for it")
    made = problem(dtype)
    value = made.counts.to_sparse_csr() if sparse else made.counts
    inputs = made.inputs
    found = made.log_prob(*inputs, counts=value)
    expected = dense_log_prob(case, made, *inputs)
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {}
    torch.testing.assert_close(found, expected, **close)
    weights = torch.randn_like(found)  # a gradient that differs from row to row
    by_hand = grad(found, inputs, weights)
    torch.testing.assert_close(by_hand, grad(expected, inputs, weights), **close)


def test_only_what_is_asked_for_is_computed(case: Any, problem: Any) -> None:
    made = problem()
    inputs = made.inputs
    everything = grad(made.log_prob(*inputs).sum(), inputs)
    for i, expected in enumerate(everything):
        only = [x.detach().requires_grad_(i == j) for j, x in enumerate(inputs)]
        value = made.log_prob(*only)
        if value.requires_grad:  # that of a class does not depend on the library
            torch.testing.assert_close(grad(value.sum(), [only[i]]), (expected,))
    detached = made.log_prob(*(x.detach() for x in inputs))
    assert not detached.requires_grad
    with torch.no_grad():
        assert not made.log_prob(*inputs).requires_grad


def test_second_derivatives_are_refused(case: Any, problem: Any) -> None:
    if case.is_dense:
        pytest.skip("autograd has them")
    made = problem()
    inputs = made.inputs
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(made.log_prob(*inputs).sum(), inputs, create_graph=True)


@pytest.mark.parametrize("shapes", [((4, 5), (4, 1)), ((3, 1, 5), (4, 1)), ((5,), (1,))], ids=str)
def test_rates(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    outputs, library = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    library = library.exp()
    torch.testing.assert_close(rates(outputs, library), outputs.softmax(-1) * library)
    inputs = [x.requires_grad_() for x in (outputs, library)]
    assert torch.autograd.gradcheck(rates, inputs)


def test_rates_of_an_empty_observation() -> None:
    outputs, library = torch.randn(2, 5, requires_grad=True), torch.zeros(2, 1, requires_grad=True)
    rates(outputs, library).square().sum().backward()
    for gradient in (outputs.grad, library.grad):
        assert gradient is not None
        assert (gradient == 0).all()
