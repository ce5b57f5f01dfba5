"""Models start from data: decoders at the mean counts, library sizes at the observed ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyro
import pytest
import torch
from scipy import stats

from vae4counts.data import Batch
from vae4counts.data.counts.batch import Table
from vae4counts.models import GMVAE, VAE, CountMixture, LatentLibrary, start_from_data
from vae4counts.models.library import LIBRARIES
from vae4counts.models.likelihoods import LIKELIHOODS, Poisson
from vae4counts.models.networks import DECODERS
from vae4counts.models.priors import GaussianMixture, StandardNormal


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", [n for n, kind in LIKELIHOODS.items() if kind.support.counts])
def test_decoder_starts_at_the_mean_counts(
    name: str, decoder: str, batch_of: Callable[..., Batch]
) -> None:
    counts = np.array([[9, 1, 2, 0], [11, 3, 0, 0], [10, 2, 1, 0]])
    batch = batch_of(counts)
    likelihood = LIKELIHOODS[name]()
    model = VAE(4, StandardNormal(2), likelihood, decoder)
    start_from_data(model, batch)
    bias = model.decoder.output.bias.unsqueeze(0)
    mean = likelihood(bias, torch.tensor([[13.0]])).mean[0]
    assert mean.isfinite().all()
    order = mean.argsort(descending=True).tolist()
    assert order == [0, 1, 2, 3]
    # others have a gate, a last class, or a background that a library size does not scale
    if name in ("poisson", "negative-binomial", "multinomial"):
        torch.testing.assert_close(mean, torch.tensor([10.0, 2, 1, 0]), atol=0.1, rtol=0.01)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", [n for n, kind in LIKELIHOODS.items() if not kind.support.counts])
def test_decoder_starts_at_the_mean_of_other_values(name: str, decoder: str) -> None:
    values = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 1]])
    likelihood = LIKELIHOODS[name]()
    if DECODERS[decoder].needs_counts:
        with pytest.raises(ValueError, match="has parts of counts, which the values of"):
            VAE(3, StandardNormal(2), likelihood, decoder)
        return
    if likelihood.support.missing:
        values[0] = torch.nan
    model = VAE(3, StandardNormal(2), likelihood, decoder)
    start_from_data(model, Batch({"counts": Table(values)}, torch.arange(4), 4))
    mean = likelihood(model.decoder.output.bias, None).mean
    torch.testing.assert_close(mean, values.nanmean(0), atol=1e-4, rtol=0)


def test_latent_library_starts_at_the_log_totals(batch: Batch) -> None:
    library = LatentLibrary()
    library.initialise(batch)
    totals = batch.counts.to_dense().sum(1).numpy()
    logs = np.log(totals[totals > 0])
    assert library.loc.item() == pytest.approx(logs.mean(), rel=1e-6)
    assert library.scale.item() == pytest.approx(logs.std(), rel=1e-6)
    assert {"loc", "scale"} <= set(library.state_dict())


@pytest.mark.parametrize("total", [0, 5])
def test_latent_library_of_totals_that_do_not_vary(
    total: int, batch_of: Callable[..., Batch]
) -> None:
    library = LatentLibrary()
    library.initialise(batch_of(np.full((3, 1), total)))
    assert library.loc.isfinite()
    assert library.scale >= 0.01


def test_libraries(batch: Batch) -> None:
    observed = LIBRARIES["observed"]()(batch)
    assert observed is not None
    assert torch.equal(observed.squeeze(-1), batch.counts.to_dense().sum(1))
    assert LIBRARIES[None]()(batch) is None
    latent = LatentLibrary()
    latent.loc.fill_(2.0), latent.scale.fill_(0.5)
    with pyro.plate("observations", 5000):
        drawn = latent(batch).squeeze(-1)
    assert stats.kstest(drawn.log().numpy(), stats.norm(2, 0.5).cdf).pvalue > 1e-4


def test_mixture_starts_at_different_observations(batch: Batch) -> None:
    model = CountMixture(7, 3, Poisson())
    start_from_data(model, batch)
    outputs = model.outputs.detach()
    assert outputs.isfinite().all()
    assert torch.pdist(outputs).min() > 0.1


def test_expected_counts_at_the_centre_of_each_component() -> None:
    model = GMVAE(7, GaussianMixture(2, 3), decoder="linear").eval()
    means = model.component_means(library=50.0)
    assert means.shape == (3, 7)
    assert not means.requires_grad
    for k in range(3):
        wanted = 50 * torch.softmax(model.decoder(model.prior.loc[k]), -1)
        torch.testing.assert_close(means[k], wanted)
    torch.testing.assert_close(model.component_means().sum(1), torch.ones(3))
    z = torch.randn(4, 2)
    assert torch.equal(model.responsibilities(z), model.prior.responsibilities(z))


@pytest.mark.parametrize("library", LIBRARIES)
def test_counts_can_be_drawn_with_every_library(library: str | None, batch: Batch) -> None:
    model = VAE(7, StandardNormal(2), library=library)
    drawn = model.draw(batch, 3)["counts"]
    assert drawn.shape == (3, 12, 7)
    assert (drawn >= 0).all()
