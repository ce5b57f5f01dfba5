"""Rates, denoised counts and correlations, against numpy and closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from vae4counts.data import Batch, DataError
from vae4counts.inference.interpretation import Interpretation, NotInModelError
from vae4counts.inference.posterior import sizes
from vae4counts.inference.posterior.sizes import TooLargeError
from vae4counts.models import VAE, CountMixture, Latent, Library
from vae4counts.models.likelihoods import Categorical, Poisson, ZeroInflatedPoisson
from vae4counts.models.priors import StandardNormal

Look = Callable[..., Interpretation]


def sharpen(view: Interpretation) -> np.ndarray:
    """Takes the guide's spread away and gives the means of q(z | x)."""
    with torch.no_grad():
        _, raw = view.guide.head.linear.bias.chunk(2)
        _, weight = view.guide.head.linear.weight.chunk(2)
        raw.fill_(-30), weight.zero_()
        return view.guide.posterior(view.counts.batch(torch.arange(60)).counts)[0].double().numpy()


def decoded(view: Interpretation, z: np.ndarray) -> np.ndarray:
    """Softmax of the outputs of a linear decoder, in numpy."""
    weight, bias = (p.detach().double().numpy() for p in view.model.decoder.output.parameters())
    rate = np.exp(z @ weight[:6].T + bias[:6])
    return rate / rate.sum(1, keepdims=True)


class WideLibrary(Library):
    """A latent library size that is made outside of the package."""

    latents = (Latent("library"),)

    def forward(self, batch: Batch) -> torch.Tensor:
        sizes = dist.LogNormal(torch.tensor(3.0), torch.tensor(1.0))
        return pyro.sample("library", sizes).unsqueeze(-1)


def test_a_latent_library_of_ones_own_is_drawn(look: Look) -> None:
    view = look(VAE(6, StandardNormal(2), library=WideLibrary()))
    ((_, sizes),) = view.draws(torch.zeros(20, dtype=torch.long))
    assert sizes.unique().numel() == 20


def test_denoised_by_hand(look: Look) -> None:
    view = look(VAE(6, StandardNormal(2), decoder="linear"))
    share = decoded(view, sharpen(view))
    table = view.denoised(num_samples=2)
    np.testing.assert_allclose(table, 1e4 * share, rtol=2e-3)
    assert list(table.index) == list(view.obs.index)
    assert list(table.columns) == view.features
    own = view.denoised(["gene4", "gene1"], library_size=None, num_samples=3)
    library = view.counts.library.numpy()[:, None]
    np.testing.assert_allclose(own, (library * share)[:, [4, 1]], rtol=2e-3)
    assert list(own.columns) == ["gene4", "gene1"]


def test_denoised_is_the_posterior_mean(look: Look) -> None:
    """With the guide's spread in place, against many draws by hand."""
    view = look(VAE(6, StandardNormal(2), decoder="linear"))
    with torch.no_grad():
        loc, scale = view.guide.posterior(view.counts.batch(torch.arange(60)).counts)
    z = np.random.default_rng(0).normal(loc, scale, size=(4000, 60, 2))
    wanted = np.stack([decoded(view, each) for each in z])
    error = wanted.std(0) / np.sqrt(2000) * 1e4
    found = view.denoised(num_samples=4000).to_numpy()
    assert (np.abs(found - 1e4 * wanted.mean(0)) < 5 * error).all()


def test_a_latent_library_size(look: Look) -> None:
    view = look(VAE(6, StandardNormal(2), decoder="linear", library="latent"))
    own = view.denoised(library_size=None, num_samples=50).sum(axis=1)
    np.testing.assert_allclose(view.denoised(library_size=7.0).sum(axis=1), 7, rtol=1e-5)
    assert own.std() > 1


def test_extra_zeros_are_left_out() -> None:
    model = VAE(6, StandardNormal(2), ZeroInflatedPoisson(), decoder="linear")
    with torch.no_grad():
        model.likelihood.own["gate"].fill_(3.0)  # half of all counts are extra zeros
    z = torch.randn(3, 2)
    torch.testing.assert_close(model.rates(z, 10.0).sum(-1), torch.full((3,), 10.0))


def test_likelihoods_without_rates_and_models_without_library() -> None:
    z = torch.randn(3, 2)
    categorical = VAE(6, StandardNormal(2), Categorical(3), library=None).eval()
    classes = categorical.decoder(z).unflatten(-1, (3, 6)).softmax(-2)
    torch.testing.assert_close(categorical.rates(z, 1.0), classes[:, 1] + 2 * classes[:, 2])
    plain = VAE(6, StandardNormal(2), Poisson(), "linear", library=None)
    torch.testing.assert_close(plain.rates(z, 1e4), plain.decoder(z).exp())


def test_correlation_in_closed_form(look: Look) -> None:
    """log rate = W z + b, so that its covariance is W Cov(z) W'."""
    view = look(VAE(6, StandardNormal(2), Poisson(), "linear", library=None))
    with torch.no_grad():
        loc, scale = view.guide.posterior(view.counts.batch(torch.arange(60)).counts)
    latent = np.cov(loc.T, bias=True) + np.diag(scale.square().mean(0))
    weight = view.model.decoder.output.weight.detach().numpy()
    covariance = weight @ latent @ weight.T
    deviation = np.sqrt(np.diag(covariance))
    wanted = covariance / np.outer(deviation, deviation)
    table = view.feature_correlation(num_samples=2000)
    np.testing.assert_allclose(table, wanted, atol=0.02)
    few = view.feature_correlation(["gene3", "gene0"], num_samples=2000)
    np.testing.assert_allclose(few, table.loc[["gene3", "gene0"], ["gene3", "gene0"]], atol=1e-6)


def test_unknown_features_and_models_without_rates(look: Look) -> None:
    view = look(VAE(6))
    with pytest.raises(DataError, match="no feature 'gene9': did you mean 'gene"):
        view.denoised(["gene0", "gene9"])
    with pytest.raises(DataError, match="give a list of names"):
        view.denoised("gene0")
    with pytest.raises(NotInModelError, match="CountMixture has no latent space"):
        look(CountMixture(6, 2)).denoised()


def test_dense_tables_have_a_limit(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    view = look(VAE(6, StandardNormal(2)))
    monkeypatch.setattr(sizes, "MAX_BYTES", 60 * 6 * 4)
    assert view.denoised().shape == (60, 6)
    monkeypatch.setattr(sizes, "MAX_BYTES", 60 * 6 * 4 - 1)
    with pytest.raises(TooLargeError, match=r"60 observations x 6 .* name some features"):
        view.denoised()
    assert view.denoised(["gene1", "gene2"]).shape == (60, 2)
    monkeypatch.setattr(sizes, "MAX_BYTES", 3 * 8 * 25)
    with pytest.raises(TooLargeError, match=r"A table of 6 x 6 features .* name fewer features"):
        view.feature_correlation()
    assert view.feature_correlation([f"gene{j}" for j in range(5)]).shape == (5, 5)
