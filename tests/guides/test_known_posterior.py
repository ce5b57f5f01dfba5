"""Richer guides come closer to a known log-likelihood: two latents, by quadrature."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference.posterior.draws import draw
from vae4counts.models import VAE, LinearDecoder
from vae4counts.models.likelihoods import Poisson
from vae4counts.models.priors import StandardNormal

pytestmark = pytest.mark.slow

# The two latents add up in the first feature, so that they are anticorrelated given the counts.
WEIGHT = torch.tensor([[1.5, 1.5], [0.5, -0.5], [0.3, 0.1]])
COUNTS = [9, 1, 1]


def made_model() -> VAE:
    """A Poisson model with a log-linear decoder, which stays as it is."""
    model = VAE(3, StandardNormal(2), Poisson(), LinearDecoder(), library=None)
    model.decoder.output.weight.data.copy_(WEIGHT)
    model.decoder.output.bias.data.zero_()
    return model.requires_grad_(False)


def log_likelihood(model: VAE) -> float:
    """``log p(x)`` by a sum over a grid of ``z``."""
    axis = torch.linspace(-6, 6, 801, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    rates = model.double().rates(z, None)
    terms = torch.distributions.Poisson(rates).log_prob(torch.tensor(COUNTS)).sum(-1)
    terms += model.prior.log_prob(z)
    return (terms.logsumexp(0) + 2 * (axis[1] - axis[0]).log()).item()


@cache
def fitted_elbo(kind: str, batch_of: Callable[..., Batch]) -> float:
    """The ELBO of a guide that is fitted to many copies of one observation."""
    torch.manual_seed(0)
    model = made_model()
    guide = guide_for(model, kind, Encoder((4,), norm="none", dropout=0.0))
    batch = batch_of([COUNTS] * 128)
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(model, guide)
    optimiser = torch.optim.Adam(guide.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, total_iters=300)
    for _ in range(300):
        optimiser.zero_grad()
        elbo(batch).backward()
        optimiser.step()
        schedule.step()
    log_weights: Tensor = draw(model, guide.eval(), batch, 200).log_weights
    return log_weights.mean().item()


def test_richer_guides_are_closer_to_the_log_likelihood(batch_of: Any) -> None:
    truth = log_likelihood(made_model())
    marginal, full, flow = (
        truth - fitted_elbo(kind, batch_of) for kind in ("marginal", "full-covariance", "flow")
    )
    assert marginal > 0.3
    assert 0 < full < 0.3 * marginal
    assert 0 < flow < 0.3 * marginal
