"""A posterior of its own for each observation."""

from __future__ import annotations

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from scipy import stats
from torch.distributions import constraints

from tests.conftest import make_batch
from vae4counts.guides import IncompatiblePairError
from vae4counts.guides.local import Block, LocalGuide
from vae4counts.models import VAE

N, M, L = 3, 2, 2


@pytest.fixture
def blocks() -> dict[str, Block]:
    """A library size and ``L`` latents."""
    return {
        "library": Block.of(constraints.positive, torch.Size()),
        "z": Block.of(constraints.independent(constraints.real, 1), torch.Size([L])),
    }


@pytest.fixture
def guide(blocks: dict[str, Block]) -> LocalGuide:
    """Mixtures of two Gaussians in three dimensions, for three observations."""
    tril = torch.randn(N, M, 1 + L, 1 + L).tril(-1) + 0.3 * torch.eye(1 + L)
    weights = torch.rand(N, M).log().log_softmax(-1)
    return LocalGuide(blocks, weights, torch.randn(N, M, 1 + L), tril)


def log_density(guide: LocalGuide, row: int, u: np.ndarray) -> np.ndarray:
    """The density of ``u``, by scipy."""
    parts = [
        guide.log_weights[row, m].item()
        + stats.multivariate_normal(
            guide.loc[row, m].numpy(),
            (guide.scale_tril[row, m] @ guide.scale_tril[row, m].T).double().numpy(),
        ).logpdf(u)
        for m in range(guide.loc.shape[1])
    ]
    return np.logaddexp.reduce(parts)


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0], [1, 1]])
def test_density_is_that_of_the_joint_mixture(guide: LocalGuide, rows: list[int]) -> None:
    batch = make_batch(np.ones((len(rows), 4)), n_observations=N)
    object.__setattr__(batch, "index", torch.tensor(rows))
    trace = poutine.trace(pyro.plate("samples", 5, dim=-2)(guide)).get_trace(batch)
    trace.compute_log_prob()
    log_q = sum(trace.nodes[name]["unscaled_log_prob"] for name in ("library", "z"))
    library, z = (trace.nodes[name]["value"] for name in ("library", "z"))
    assert library.shape == (5, len(rows))
    assert z.shape == (5, len(rows), L)
    u = torch.cat([library.log().unsqueeze(-1), z], -1).double().numpy()
    for place, row in enumerate(rows):
        # log-normal: the Jacobian of the logarithm is minus its value
        wanted = log_density(guide, row, u[:, place]) - u[:, place, 0]
        np.testing.assert_allclose(log_q[:, place].numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_draws_have_the_moments_of_the_mixture(guide: LocalGuide) -> None:
    batch = make_batch(np.ones((N, 4)))
    trace = poutine.trace(pyro.plate("samples", 40_000, dim=-2)(guide)).get_trace(batch)
    library, z = (trace.nodes[name]["value"] for name in ("library", "z"))
    u = torch.cat([library.log().unsqueeze(-1), z], -1)
    weights = guide.log_weights.exp()
    mean = torch.einsum("nm,nmd->nd", weights, guide.loc)
    away = guide.loc - mean.unsqueeze(1)
    covariance = torch.einsum(
        "nm,nmij->nij",
        weights,
        guide.scale_tril @ guide.scale_tril.mT + away.unsqueeze(-1) * away.unsqueeze(-2),
    )
    torch.testing.assert_close(u.mean(0), mean, rtol=0, atol=0.05)
    found = torch.stack([u[:, i].T.cov() for i in range(N)])
    torch.testing.assert_close(found, covariance, rtol=0.08, atol=0.08)


def test_it_is_cut_like_the_data(guide: LocalGuide) -> None:
    part = guide.of(torch.tensor([2, 0]))
    torch.testing.assert_close(part.loc, guide.loc[[2, 0]])
    assert part.sites == guide.sites == ("library", "z")


@pytest.mark.parametrize(
    ("support", "shape", "size"),
    [
        (constraints.real, (), 1),
        (constraints.positive, (), 1),
        (constraints.independent(constraints.real, 1), (4,), 4),
        (constraints.independent(constraints.positive, 1), (4,), 4),
        (constraints.unit_interval, (), 1),
        (constraints.simplex, (4,), 3),
    ],
)
def test_sites_of_any_support(
    support: constraints.Constraint, shape: tuple[int, ...], size: int
) -> None:
    block = Block.of(support, torch.Size(shape))
    assert block.size == size
    numbers = torch.randn(6, 5, size, dtype=torch.float64)
    value, log_det = block.value(numbers)
    assert value.shape == (6, 5, *shape)
    assert log_det.shape == (6, 5)
    assert support.check(value).all()
    torch.testing.assert_close(block.numbers(value), numbers)
    one = numbers[0, 0].requires_grad_()
    jacobian = torch.autograd.functional.jacobian(lambda x: block.value(x)[0].flatten()[:size], one)
    expected = jacobian.reshape(size, size).slogdet().logabsdet
    torch.testing.assert_close(log_det[0, 0], expected)


def test_it_needs_observations() -> None:
    with pytest.raises(IncompatiblePairError, match="refine"):
        LocalGuide.for_model(VAE(4), None)
