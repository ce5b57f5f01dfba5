"""The flow prior: its density, against grids, change of variables and finite differences."""

from __future__ import annotations

import copy
import math

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from scipy import stats
from torch import Tensor

from vae4counts.models.priors import FlowPrior


def bent(n_latent: int, seed: int = 0) -> FlowPrior:
    """A flow in float64 that is far from the identity."""
    torch.manual_seed(seed)
    prior = FlowPrior(n_latent)
    prior.build(7)
    prior.double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    prior.flip(torch.tensor([-1.0, *[1.0] * (n_latent - 1)]))
    return prior


def test_the_density_integrates_to_one_in_the_plane() -> None:
    prior = bent(2)
    axis = torch.linspace(-9, 9, 451, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = torch.cat([prior.log_prob(part).exp() for part in grid.split(100_000)])
    plane = density.view(len(axis), len(axis))
    total = torch.trapezoid(torch.trapezoid(plane, axis), axis).item()
    assert total == pytest.approx(1, abs=1e-3)
    normal = stats.norm.pdf(grid.numpy()).prod(-1)
    assert np.abs(density.numpy() - normal).max() > 0.05  # it is no standard normal


def test_the_density_follows_from_the_change_of_variables() -> None:
    prior = bent(3)
    z = torch.randn(5, 3).double()
    with torch.no_grad():
        for point, found in zip(z, prior.log_prob(z), strict=True):
            transform = prior.flow.transform()
            mirrored = point * prior.signs
            jacobian = torch.autograd.functional.jacobian(transform, mirrored)
            base = stats.norm.logpdf(transform(mirrored).numpy()).sum()
            assert found.item() == pytest.approx(base + torch.linalg.slogdet(jacobian)[1].item())


def test_gradients_are_those_of_finite_differences() -> None:
    prior = bent(3)
    z = torch.randn(4, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(prior.log_prob, z)
    parameter = next(prior.parameters())
    prior.log_prob(z).sum().backward()
    step = 1e-6
    changed = []
    for sign in (1, -1):
        other = copy.deepcopy(prior)
        with torch.no_grad():
            next(other.parameters()).view(-1)[0] += sign * step
            changed.append(other.log_prob(z).sum().item())
    assert parameter.grad is not None
    slope = (changed[0] - changed[1]) / (2 * step)
    assert parameter.grad.view(-1)[0].item() == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_a_draw_has_the_density_of_the_site() -> None:
    prior = bent(2)
    with pyro.plate("observations", 6):
        trace = poutine.trace(prior).get_trace()
    trace.compute_log_prob()
    site = trace.nodes["z"]
    torch.testing.assert_close(site["log_prob"], prior.log_prob(site["value"]))


def test_it_starts_near_the_standard_normal() -> None:
    prior = FlowPrior(4)
    prior.build(7)
    z = torch.randn(200, 4)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert (prior.log_prob(z) - normal).abs().mean() < 0.5


def ring(n: int) -> Tensor:
    """Points near a circle of radius 3."""
    angle = 2 * math.pi * torch.rand(n)
    return 3 * torch.stack([angle.cos(), angle.sin()], -1) + 0.2 * torch.randn(n, 2)


def test_it_learns_what_no_gaussian_is() -> None:
    prior = FlowPrior(2)
    prior.build(7)
    optimiser = torch.optim.Adam(prior.parameters(), 1e-2)
    for _ in range(250):
        optimiser.zero_grad()
        (-prior.log_prob(ring(256)).mean()).backward()
        optimiser.step()
    points = ring(2000)
    gaussian = torch.distributions.MultivariateNormal(points.mean(0), points.T.cov())
    gain = prior.log_prob(points).mean() - gaussian.log_prob(points).mean()
    # the circle's own density is 1.2 nats above the Gaussian's
    assert gain > 0.6
    with pyro.plate("observations", 500):
        drawn = prior().detach()
    assert (drawn.norm(dim=-1) > 2).float().mean() > 0.9


def test_too_many_latents_and_no_transforms() -> None:
    with pytest.raises(ValueError, match="n_latent is 1001: a flow takes 1 to 1,000"):
        FlowPrior(1001).build(7)
    with pytest.raises(ValueError, match="transforms is 0"):
        FlowPrior(2, transforms=0)
