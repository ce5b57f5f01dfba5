"""Families that autograd differentiates give the numbers of derivatives written by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import softplus

from vae4counts.models.likelihoods import Family, NonZeros
from vae4counts.models.likelihoods.background import NEGATIVE_BINOMIAL_BACKGROUND
from vae4counts.models.likelihoods.bernoulli import BERNOULLI
from vae4counts.models.likelihoods.categorical import CATEGORICAL
from vae4counts.models.likelihoods.multinomial import MULTINOMIAL
from vae4counts.models.likelihoods.negative_binomial import NEGATIVE_BINOMIAL
from vae4counts.models.likelihoods.poisson import POISSON
from vae4counts.models.likelihoods.sparse import log_prob
from vae4counts.models.likelihoods.zero_inflated import zero_inflated

Function = Callable[..., Tensor]
lgamma = torch.lgamma


def poisson_zero(mean: Tensor) -> Tensor:
    return -mean


def poisson_ratio(x: Tensor, mean: Tensor) -> Tensor:
    return x * mean.log() - lgamma(x + 1)


def negative_binomial_zero(mean: Tensor, r: Tensor) -> Tensor:
    return -r * torch.log1p(mean / r)


def negative_binomial_ratio(x: Tensor, mean: Tensor, r: Tensor) -> Tensor:
    return lgamma(r + x) - lgamma(r) - lgamma(x + 1) + x * torch.log(mean / (mean + r))


def multinomial_zero(q: Tensor, total: Tensor) -> Tensor:
    return torch.zeros(())


def multinomial_ratio(x: Tensor, q: Tensor, total: Tensor) -> Tensor:
    return x * (total * q).log() - lgamma(x + 1)


def categorical_zero(*log_p: Tensor) -> Tensor:
    return log_p[0]


def categorical_ratio(x: Tensor, *log_p: Tensor) -> Tensor:
    classes = x.clamp_max(len(log_p) - 1).long().expand(1, *log_p[0].shape)
    return torch.stack(log_p).gather(0, classes).squeeze(0) - log_p[0]


def bernoulli_zero(logit: Tensor) -> Tensor:
    return -softplus(logit)


def bernoulli_ratio(x: Tensor, logit: Tensor) -> Tensor:
    return x * logit


def background_zero(gate: Tensor, signal: Tensor, background: Tensor, r: Tensor) -> Tensor:
    return background_log_p(torch.zeros(()), gate, signal, background, r)


def background_ratio(x: Tensor, *parameters: Tensor) -> Tensor:
    return background_log_p(x, *parameters) - background_zero(*parameters)


def background_log_p(
    x: Tensor, gate: Tensor, signal: Tensor, background: Tensor, r: Tensor
) -> Tensor:
    either = [
        negative_binomial_zero(mean, r) + negative_binomial_ratio(x, mean, r)
        for mean in (background, background + signal)
    ]
    return torch.logaddexp(either[0] - softplus(-gate), either[1] - softplus(gate))


def inflated(zero: Function, ratio: Function) -> Family:
    """`zero_inflated` in plain torch."""

    def inflated_zero(gate: Tensor, *parameters: Tensor) -> Tensor:
        return torch.logaddexp(gate, zero(*parameters)) - softplus(gate)

    def inflated_ratio(x: Tensor, gate: Tensor, *parameters: Tensor) -> Tensor:
        log_p = zero(*parameters) + ratio(x, *parameters) - softplus(gate)
        return log_p - inflated_zero(gate, *parameters)

    return Family.by_autograd(inflated_zero, inflated_ratio)


AUTOGRAD_POISSON = Family.by_autograd(poisson_zero, poisson_ratio)
AUTOGRAD_NEGATIVE_BINOMIAL = Family.by_autograd(negative_binomial_zero, negative_binomial_ratio)
# by name: the family with derivatives written by hand, and families without
FAMILIES: dict[str, tuple[Family, list[Family]]] = {
    "poisson": (POISSON, [AUTOGRAD_POISSON]),
    "negative-binomial": (NEGATIVE_BINOMIAL, [AUTOGRAD_NEGATIVE_BINOMIAL]),
    "multinomial": (MULTINOMIAL, [Family.by_autograd(multinomial_zero, multinomial_ratio)]),
    "bernoulli": (BERNOULLI, [Family.by_autograd(bernoulli_zero, bernoulli_ratio)]),
    "negative-binomial-background": (
        NEGATIVE_BINOMIAL_BACKGROUND,
        [Family.by_autograd(background_zero, background_ratio)],
    ),
    "categorical": (CATEGORICAL, [Family.by_autograd(categorical_zero, categorical_ratio)]),
    "zero-inflated-poisson": (
        zero_inflated(POISSON),
        [zero_inflated(AUTOGRAD_POISSON), inflated(poisson_zero, poisson_ratio)],
    ),
    "zero-inflated-negative-binomial": (
        zero_inflated(NEGATIVE_BINOMIAL),
        [
            zero_inflated(AUTOGRAD_NEGATIVE_BINOMIAL),
            inflated(negative_binomial_zero, negative_binomial_ratio),
        ],
    ),
}
N_PARAMETERS = {
    "poisson": 1,
    "negative-binomial": 2,
    "multinomial": 2,
    "bernoulli": 1,
    "negative-binomial-background": 4,
    "categorical": 3,
    "zero-inflated-poisson": 2,
    "zero-inflated-negative-binomial": 3,
}


def with_family(made: Any, family: Family | None, counts: Tensor) -> Callable[..., Tensor]:
    """Return the log-probability of counts as a function of inputs, by another family if given."""

    def evaluate(*inputs: Tensor) -> Tensor:
        outputs, library, own = made.unpack(inputs)
        distribution = functional_call(made.likelihood, own, (outputs, library))
        if family is not None:
            distribution.family = family
        return distribution.log_prob(counts)

    return evaluate


def test_every_registered_likelihood_is_compared(case: Any) -> None:
    assert (case.name in FAMILIES) != case.is_dense  # numbers have no family of counts


@pytest.mark.parametrize("sparse", [True, False], ids=["csr", "dense"])
def test_values_and_gradients_are_those_written_by_hand(
    case: Any, problem: Any, sparse: bool
) -> None:
    if case.is_dense:
        pytest.skip("autograd differentiates it in any case")
    made = problem()
    counts = made.counts.to_sparse_csr() if sparse else made.counts
    inputs = made.inputs
    value = with_family(made, None, counts)(*inputs)
    weights = torch.randn_like(value)  # a gradient that differs from row to row
    options = {"allow_unused": True, "materialize_grads": True}
    gradients = torch.autograd.grad(value, inputs, weights, **options)
    for family in FAMILIES[case.name][1]:
        found = with_family(made, family, counts)(*inputs)
        torch.testing.assert_close(found, value, rtol=1e-11, atol=1e-11)
        slopes = torch.autograd.grad(found, inputs, weights, **options)
        torch.testing.assert_close(slopes, gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FAMILIES)
def test_finite_differences(name: str, counts: Tensor) -> None:
    parameters = [torch.rand(4, 5).double().requires_grad_()]
    parameters += [
        torch.rand(1, 1).double().requires_grad_() for _ in range(N_PARAMETERS[name] - 1)
    ]
    for family in FAMILIES[name][1]:
        evaluate = partial(log_prob, family, NonZeros.of(counts))
        assert torch.autograd.gradcheck(evaluate, parameters)


@pytest.mark.parametrize("n_features", [1, 5])
@pytest.mark.parametrize("lead", [(), (2,)], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_parameters_shared_in_every_way(
    name: str, lead: tuple[int, ...], n_features: int, counts: Tensor
) -> None:
    """By all entries of a single feature too: the gradient is a sum over the entries."""
    nonzeros = NonZeros.of(counts[:, :n_features])
    by_hand, families = FAMILIES[name]
    for rows in (1, 4):
        # the first parameter has a value for each feature, the others one for all
        parameters = [torch.rand(*lead, rows, n_features, dtype=torch.float64)]
        parameters += [torch.rand(*lead, 1, 1, dtype=torch.float64)] * (N_PARAMETERS[name] - 1)
        for family in families:
            _assert_equal(by_hand, family, nonzeros, parameters)


def _assert_equal(one: Family, other: Family, nonzeros: NonZeros, values: list[Tensor]) -> None:
    results = []
    for family in (one, other):
        parameters = [value.clone().requires_grad_() for value in values]
        value = log_prob(family, nonzeros, *parameters)
        weights = torch.arange(1.0, 1 + value.numel()).double().view(value.shape)
        results.append((value, torch.autograd.grad((value * weights).sum(), parameters)))
    torch.testing.assert_close(results[1], results[0], rtol=1e-10, atol=1e-10)


def test_a_function_that_depends_on_no_parameter() -> None:
    """Its derivatives are zero."""
    constant = Family.by_autograd(lambda _: torch.full((), -0.5), lambda *_: torch.zeros(()))
    mean = torch.rand(4, 5, dtype=torch.float64, requires_grad=True)
    value = log_prob(constant, NonZeros.of(torch.eye(4, 5).double()), mean)
    torch.testing.assert_close(value, torch.full((4,), -2.5).double())  # five features
    (slope,) = torch.autograd.grad(value.sum(), mean)
    assert (slope == 0).all()


def test_second_derivatives_are_refused() -> None:
    mean = torch.rand(4, 5, dtype=torch.float64, requires_grad=True)
    value = log_prob(AUTOGRAD_POISSON, NonZeros.of(torch.eye(4, 5).double()), mean)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(value.sum(), mean, create_graph=True)


def test_nothing_is_tracked_without_gradients() -> None:
    mean = torch.rand(4, 5, dtype=torch.float64, requires_grad=True)
    nonzeros = NonZeros.of(torch.eye(4, 5).double())
    with torch.no_grad():
        assert not log_prob(AUTOGRAD_POISSON, nonzeros, mean).requires_grad
    assert not log_prob(AUTOGRAD_POISSON, nonzeros, mean.detach()).requires_grad
