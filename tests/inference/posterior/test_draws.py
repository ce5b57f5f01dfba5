"""The importance-weighted log-likelihood and the ELBO, against integrals over the latents."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import Encoder, Guide
from vae4counts.inference import evaluate
from vae4counts.inference.posterior import draws
from vae4counts.inference.posterior.draws import draw, draw_latents
from vae4counts.models import VAE, Model, observations

Maker = Callable[..., tuple[VAE, Guide]]
CASES = [
    ("standard-normal", "marginal"),
    ("mixture", "marginal"),
    ("uniform", "marginal"),
    ("vamp", "marginal"),
    ("mixture", "selection"),
    ("mixture", "addition"),
]


@torch.no_grad()
def log_likelihood(model: VAE, batch: Batch) -> Tensor:
    """Return log p(x) by a sum over a fine grid of one latent, and of log library sizes."""
    z = torch.linspace(-25, 25, 4001, dtype=torch.float64)
    density = model.prior.log_prob(z.unsqueeze(-1)) + math.log(float(z[1] - z[0]))
    x = batch.counts.to_dense().unsqueeze(1)  # observation, grid, feature
    share = torch.log_softmax(model.decoder(z.unsqueeze(-1)), -1)

    def given(log_library: Tensor) -> Tensor:
        log_mean = share + log_library
        log_p = (x * log_mean - log_mean.exp() - torch.lgamma(x + 1)).sum(-1)
        return (log_p + density).logsumexp(-1)

    if not model.library.latents:
        return given(batch.library.log()[:, None, None])
    loc, scale = model.library.loc.item(), model.library.scale.item()
    grid = torch.linspace(loc - 8 * scale, loc + 8 * scale, 201, dtype=torch.float64)
    prior = torch.distributions.Normal(loc, scale).log_prob(grid)
    terms = torch.stack([given(point) for point in grid])
    return (terms + (prior + math.log(float(grid[1] - grid[0])))[:, None]).logsumexp(0)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["observed", "latent"])
@pytest.mark.parametrize(("prior", "kind"), CASES)
def test_importance_weighting_equals_integration(
    prior: str, kind: str, library: str, few: Batch, a_pair: Maker
) -> None:
    torch.manual_seed(2)  # guides wide enough for the importance weights to vary little
    model, guide = a_pair(prior, kind, n_latent=1, library=library, wide=True)
    log_weights = draw(model.eval(), guide.eval(), few, 40_000).log_weights
    estimate = log_weights.logsumexp(0) - math.log(40_000)
    relative = (log_weights - estimate).exp()
    error = relative.std(0) / math.sqrt(40_000)
    assert (error < 0.03).all()  # so that the comparison is sharp
    assert ((estimate - log_likelihood(model, few)).abs() < 4 * error).all()


@pytest.mark.parametrize("knows", [False, True])
@pytest.mark.parametrize(("prior", "kind"), CASES)
def test_components_are_known_without_decoding(
    prior: str,
    kind: str,
    knows: bool,
    few: Batch,
    a_pair: Maker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The draws and probabilities are the same, whether the model knows the latter or not."""
    model, guide = (part.eval() for part in a_pair(prior, kind, n_latent=2))
    torch.manual_seed(0)
    wanted = draw(model, guide, few, 7)
    if knows:
        monkeypatch.setattr(model.decoder, "forward", None)  # any call would fail
    else:
        monkeypatch.setattr(VAE, "state_probabilities", Model.state_probabilities)
        monkeypatch.setattr(draws, "CHUNK_NUMBERS", 1)
    torch.manual_seed(0)
    found = draw_latents(model, guide, few, 7)
    assert found.values.keys() == wanted.values.keys()
    for name, value in wanted.values.items():
        assert torch.equal(found.values[name], value)
    assert found.probabilities.keys() == wanted.probabilities.keys()
    for name, value in wanted.probabilities.items():
        torch.testing.assert_close(found.probabilities[name], value)
    torch.testing.assert_close(found.z_mean, wanted.z_mean)


@pytest.mark.slow
@pytest.mark.parametrize(("prior", "kind"), CASES)
def test_bounds_are_in_order(prior: str, kind: str, few: Batch, a_pair: Maker) -> None:
    model, guide = a_pair(prior, kind, n_latent=1, wide=True)
    exact = log_likelihood(model, few).mean().item()
    bounds = []
    for samples in (1, 5, 50):
        repeats = [evaluate(model, guide, [few], num_samples=samples) for _ in range(60)]
        values = np.array([[each.elbo, each.iw_log_likelihood] for each in repeats])
        assert (values[:, 0] <= values[:, 1] + 1e-12).all()
        if samples == 1:
            np.testing.assert_allclose(values[:, 0], values[:, 1])
        bounds.append((values[:, 1].mean(), values[:, 1].std() / math.sqrt(60)))
    for (lower, error), (upper, _) in zip(bounds, [*bounds[1:], (exact, 0)], strict=True):
        assert lower <= upper + 3 * error


@pytest.mark.parametrize("library", ["observed", "latent"])
@pytest.mark.parametrize(("prior", "kind"), CASES)
def test_one_draw_is_the_training_objective(
    prior: str, kind: str, library: str, few: Batch, a_pair: Maker
) -> None:
    """The ELBO of evaluation is what training maximises (with a joint guide on average)."""
    model, guide = a_pair(prior, kind, library=library)
    objective = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(model, guide)
    objective.eval()
    if kind == "marginal":
        torch.manual_seed(4)
        elbo = evaluate(model, guide, [few], num_samples=1).elbo
        torch.manual_seed(4)
        assert elbo == pytest.approx(-objective(few).item() / 20, rel=1e-12)
        return
    copies = few.counts.to_dense().repeat(20, 1)
    many = Batch.of_counts(copies.to_sparse_csr(), copies.sum(1), torch.arange(100), 100)
    enumerated = torch.stack([-objective(many).detach() / 100 for _ in range(40)])
    drawn = draw(model, guide, few, 8000).log_weights.mean(1)
    error = math.hypot(enumerated.std().item() / 40**0.5, drawn.std().item() / 8000**0.5)
    assert abs(enumerated.mean().item() - drawn.mean().item()) < 4 * error


@pytest.mark.parametrize("library", ["observed", "latent"])
@pytest.mark.parametrize(("prior", "kind"), CASES)
def test_parts_add_up(prior: str, kind: str, library: str, few: Batch, a_pair: Maker) -> None:
    result = evaluate(*a_pair(prior, kind, library=library), [few, few], num_samples=7)
    names = {"counts", "z"} | ({"library"} if library == "latent" else set())
    names |= {"component"} if kind != "marginal" else set()
    assert set(result.elbo_parts) == names
    assert sum(result.elbo_parts.values()) == pytest.approx(result.elbo, rel=1e-12)
    assert result.n == 10
    assert result.iw_samples == 7


def test_parts_are_minus_the_divergences(few: Batch, a_pair: Maker) -> None:
    model, guide = a_pair("standard-normal", "marginal")
    result = evaluate(model, guide, [few], num_samples=20_000)
    loc, scale = guide.posterior(few.counts)
    divergence = 0.5 * (loc**2 + scale**2 - 1) - scale.log()
    wanted = -divergence.sum(-1).mean().item()
    assert result.elbo_parts["z"] == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize(("prior", "kind"), [*CASES[1:]])
def test_responsibilities(prior: str, kind: str, few: Batch, a_pair: Maker) -> None:
    model, guide = a_pair(prior, kind)
    draws = draw(model.eval(), guide.eval(), few, 50)
    shares = draws.responsibilities
    assert shares is not None
    assert shares.shape == (50, 5, 3)
    torch.testing.assert_close(shares.sum(-1), torch.ones(50, 5).double())
    if kind == "marginal":
        wanted = model.prior.responsibilities(draws.values["z"])
    else:
        wanted = guide.component_head(guide.encoder(few.counts)).softmax(-1).expand(50, -1, -1)
    torch.testing.assert_close(shares, wanted.detach())


class SkewedGuide(Guide):
    """A log-normal q(z | x): torch has no mean of a transformed distribution."""

    sites = ("z",)

    @classmethod
    def fits(cls, model: Model) -> bool:
        return model.n_latent == 2

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> Guide:
        return cls()

    def forward(self, batch: Batch) -> Tensor:
        log_total = batch.library.log1p().unsqueeze(-1)
        base = dist.Normal(log_total.expand(-1, 2), 0.5)
        transforms = [dist.transforms.ExpTransform(), dist.transforms.AffineTransform(-1.0, 2.0)]
        with observations(batch):
            return pyro.sample("z", dist.TransformedDistribution(base, transforms).to_event(1))


def test_posterior_without_a_mean_has_that_of_its_draws(few: Batch, a_pair: Maker) -> None:
    model, _ = a_pair("standard-normal", "marginal")
    draws = draw(model, SkewedGuide(), few, 50)
    assert draws.z_mean is not None
    assert draws.z_mean.shape == (5, 2)
    torch.testing.assert_close(draws.z_mean, draws.values["z"].mean(0))
    log_weights = draws.log_model["z"] + draws.log_model["counts"] - draws.log_guide["z"]
    torch.testing.assert_close(draws.log_weights, log_weights)


@pytest.mark.parametrize(("prior", "kind"), CASES)
def test_posterior_mean_is_in_closed_form(prior: str, kind: str, few: Batch, a_pair: Maker) -> None:
    """Given the component, which a joint guide draws."""
    model, guide = a_pair(prior, kind)
    draws = draw(model.eval(), guide.eval(), few, 7)
    assert draws.z_mean is not None
    if kind == "marginal":
        wanted = guide.posterior(few.counts)[0]
    else:
        means, _ = guide.posteriors(guide.encoder(few.counts))
        wanted = means[torch.arange(5), draws.values["component"]].mean(0)
    torch.testing.assert_close(draws.z_mean, wanted.detach())


def test_no_draws_at_all(few: Batch, a_pair: Maker) -> None:
    with pytest.raises(ValueError, match="num_samples is 0"):
        evaluate(*a_pair("mixture", "marginal"), [few], num_samples=0)
