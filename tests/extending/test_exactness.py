"""What the parts from outside compute, against SciPy, enumeration and exact distributions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from autoregressive import Autoregressive
from beta_negative_binomial import TAIL, BetaNegativeBinomialCounts
from laplace import Laplace, TanhGuide
from scipy import stats
from scipy.special import logsumexp
from two_factors import TwoFactors

from vae4counts.data import Batch
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import evaluate
from vae4counts.inference.posterior.draws import draw
from vae4counts.models import VAE

CHANCE = 1e-4


def batch_of(counts: Any) -> Batch:
    dense = torch.as_tensor(np.asarray(counts), dtype=torch.float64)
    return Batch.of_counts(
        dense.to_sparse_csr(), dense.sum(1), torch.arange(len(dense)), len(dense)
    )


def spread(model: Any) -> Any:
    """The model in float64 with parameters far from their start."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return model.eval()


def test_the_likelihood_is_that_of_scipy() -> None:
    mean = torch.tensor([[0.3, 2.0, 11.0]], dtype=torch.float64, requires_grad=True)
    size = torch.tensor([[1.0, 3.0, 2.0]], dtype=torch.float64, requires_grad=True)
    counts = torch.tensor([[0.0, 4.0, 40.0]], dtype=torch.float64)
    b = (mean * (TAIL - 1) / size).detach().numpy()
    expected = stats.betanbinom.logpmf(counts.numpy(), size.detach().numpy(), TAIL, b).sum()

    def log_prob(mean: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        return BetaNegativeBinomialCounts(mean, size).log_prob(counts.to_sparse_csr())

    assert log_prob(mean, size).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(log_prob, (mean, size))
    moments = BetaNegativeBinomialCounts(mean, size)
    own = stats.betanbinom(size.detach().numpy(), TAIL, b)
    np.testing.assert_allclose(moments.mean.detach(), own.mean())
    np.testing.assert_allclose(moments.variance.detach(), own.var())


def test_the_prior_is_that_of_scipy() -> None:
    z = torch.tensor([[0.3, -2.0], [0.0, 5.0]])
    expected = stats.laplace.logpdf(z.numpy(), scale=0.5**0.5).sum(1)
    np.testing.assert_allclose(Laplace(2).log_prob(z), expected, rtol=1e-5)


def test_a_guide_without_a_mean_gives_that_of_its_draws() -> None:
    model = VAE(3, Laplace(2))
    guide = TanhGuide.for_model(model, Encoder((4,), norm="layer", dropout=0.0))
    batch = Batch.of_counts(
        torch.ones(2, 3).to_sparse_csr(), torch.full((2,), 3.0), torch.arange(2), 2
    )
    draws = draw(model.eval(), guide.eval(), batch, 6)
    assert draws.z_mean is not None
    torch.testing.assert_close(draws.z_mean, draws.values["z"].mean(0))


def test_an_autoregressive_model_is_one_distribution() -> None:
    """Probabilities of all small counts, and each mean depends on the features before it alone."""
    model = spread(Autoregressive(3))
    with torch.no_grad():
        model.bias.fill_(-1.0)
    states = np.array(list(itertools.product(range(14), repeat=3)), dtype=float)
    log_probs = draw(model, guide_for(model), batch_of(states), 1).log_weights[0]
    assert log_probs.exp().sum().item() == pytest.approx(1, abs=1e-3)
    counts = torch.rand(3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(model.mean_given, counts)
    assert (jacobian.triu() == 0).all()
    assert (jacobian.tril(-1).abs() > 0).sum() == 3


def test_its_replicates_are_from_its_distribution() -> None:
    """Drawn one feature after the other: compared with the exact probabilities by chi-square."""
    model = spread(Autoregressive(3))
    with torch.no_grad():
        model.bias.fill_(-1.0)
    states = np.array(list(itertools.product(range(14), repeat=3)), dtype=float)
    log_probs = draw(model, guide_for(model), batch_of(states), 1).log_weights[0].numpy()
    n = 40_000
    drawn = model.draw(batch_of(np.full((1, 3), 7)), n)["counts"][:, 0].numpy()
    number = (drawn.clip(0, 13) @ [14**2, 14, 1]).astype(int)
    seen, expected = np.bincount(number, minlength=len(states)), n * np.exp(log_probs)
    common = expected >= 5
    observed = np.append(seen[common], seen[~common].sum())
    means = np.append(expected[common], n - expected[common].sum())
    statistic = ((observed - means) ** 2 / means).sum()
    assert stats.chi2.sf(statistic, common.sum()) > CHANCE


def brute_force(model: TwoFactors, counts: np.ndarray) -> np.ndarray:
    """``log p(component, state, x)``, shape ``(K, M, N)``, one term after the other."""
    parameters = {name: value.detach().numpy() for name, value in model.named_parameters()}
    component = stats_log_softmax(parameters["component_logits"])
    joint = np.empty((model.n_components, model.n_states, len(counts)))
    for c in range(model.n_components):
        state = stats_log_softmax(parameters["state_logits"][c])
        for s in range(model.n_states):
            means = np.exp(parameters["component_effects"][c] + parameters["state_effects"][s])
            joint[c, s] = component[c] + state[s] + stats.poisson.logpmf(counts, means).sum(1)
    return joint


def stats_log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - logsumexp(logits)


def test_two_enumerated_sites_are_summed_out_as_by_brute_force() -> None:
    model = spread(TwoFactors(4))
    counts = np.random.default_rng(0).poisson(1.5, size=(9, 4))
    joint = brute_force(model, counts)
    exact = logsumexp(joint, axis=(0, 1))
    batch, guide = batch_of(counts), guide_for(model)
    draws = draw(model, guide, batch, 2)
    np.testing.assert_allclose(draws.log_weights, np.broadcast_to(exact, (2, 9)))
    posterior = np.exp(joint - exact)
    np.testing.assert_allclose(draws.probabilities["component"][1], posterior.sum(1).T)
    np.testing.assert_allclose(draws.probabilities["state"][0], posterior.sum(0).T)
    found = evaluate(model, guide, [batch], num_samples=3)
    assert found.elbo == pytest.approx(exact.mean())
    assert found.iw_log_likelihood == pytest.approx(exact.mean())


def test_both_sites_are_drawn_together() -> None:
    """The pair of component and state of an observation, by chi-square against brute force."""
    model = spread(TwoFactors(4))
    counts = np.array([[1, 0, 2, 1]])
    joint = brute_force(model, counts)[..., 0]
    exact = np.exp(joint - logsumexp(joint)).ravel()
    n = 20_000
    latents = draw(model, guide_for(model), batch_of(counts), n).latents()
    pair = latents["component"] * model.n_states + latents["state"]
    seen = np.bincount(pair.flatten().numpy(), minlength=len(exact))
    statistic = ((seen - n * exact) ** 2 / (n * exact)).sum()
    assert stats.chi2.sf(statistic, len(exact) - 1) > CHANCE
