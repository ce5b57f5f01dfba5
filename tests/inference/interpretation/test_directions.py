"""Directions of the latent space, against the closed forms of linear decoders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vae4counts.data import DataError, UnknownName
from vae4counts.inference.interpretation import Interpretation, NotInModelError
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.models import VAE, CountMixture
from vae4counts.models.likelihoods import Poisson
from vae4counts.models.priors import StandardNormal

Look = Callable[..., Interpretation]


@pytest.fixture
def plain(look: Look) -> Interpretation:
    """log rate = W z + b."""
    return look(VAE(6, StandardNormal(3), Poisson(), "linear", library=None))


def weights(view: Interpretation) -> np.ndarray:
    return view.model.decoder.output.weight.detach().double().numpy()


def cloud(view: Interpretation, n: int) -> np.ndarray:
    """The draws of the aggregate posterior that the view takes."""
    with own_randomness(torch.device("cpu"), view.seed):
        return view.cloud(np.ones(60, dtype=bool), n).double().numpy()


def test_latent_table_in_closed_form(plain: Interpretation) -> None:
    with torch.no_grad():
        loc, scale = plain.guide.posterior(plain.counts.batch(torch.arange(60)).counts)
    table = plain.latent_table(num_samples=2000)
    np.testing.assert_allclose(table["mean"], loc.mean(0), atol=0.02)
    np.testing.assert_allclose(table["sd_within"], scale.square().mean(0).sqrt(), rtol=0.02)
    np.testing.assert_allclose(table["sd_between"], loc.std(0, correction=0), atol=0.02)
    np.testing.assert_allclose(table["sd"] ** 2, table["sd_between"] ** 2 + table["sd_within"] ** 2)
    with pytest.raises(ValueError, match="num_samples is 1"):
        plain.latent_table(num_samples=1)


def test_effects_of_a_linear_decoder(plain: Interpretation) -> None:
    scale = cloud(plain, 120).std(0)
    wanted = 2 * scale * weights(plain) / np.log(2)
    table = plain.latent_effects(num_points=120)
    np.testing.assert_allclose(table, wanted, atol=1e-4)
    assert list(table.columns) == ["z0", "z1", "z2"]


def test_effects_of_shares_are_relative(look: Look) -> None:
    view = look(VAE(6, StandardNormal(3), decoder="linear"))
    found = view.latent_effects(num_points=120).to_numpy()
    wanted = 2 * cloud(view, 120).std(0) * weights(view) / np.log(2)
    np.testing.assert_allclose(found - found.mean(0), wanted - wanted.mean(0), atol=1e-4)


def test_along_a_latent(plain: Interpretation) -> None:
    """Rates grow exponentially along a latent, at the loading's pace."""
    along = plain.traverse_latent("z1", span=1.5, steps=7, num_points=80)
    np.testing.assert_allclose(along.index, np.linspace(-1.5, 1.5, 7))
    slope = np.diff(np.log(along.to_numpy()), axis=0) / 0.5
    wanted = weights(plain)[:, 1] * cloud(plain, 80)[:, 1].std()
    np.testing.assert_allclose(slope, np.tile(wanted, (6, 1)), atol=1e-4)
    np.testing.assert_array_equal(plain.traverse_latent(1, span=1.5, steps=7, num_points=80), along)


def test_between_groups(look: Look) -> None:
    """Either end is the mean of a group's rates."""
    view = look(VAE(6, StandardNormal(3)))
    along = view.traverse_groups("group", "0", ["1", "2"], steps=3, num_points=4000)
    rates = view.denoised(num_samples=200)
    first = (view.obs["group"] == 0).to_numpy()
    np.testing.assert_allclose(along.iloc[0], rates[first].mean(), rtol=0.1)
    np.testing.assert_allclose(along.iloc[-1], rates[~first].mean(), rtol=0.1)
    np.testing.assert_allclose(along.sum(axis=1), 1e4, rtol=1e-5)
    assert along.index.name == "from 0 to 1 + 2"


def test_wrong_questions(plain: Interpretation, look: Look) -> None:
    for latent in ("z3", 3, -1, 0.5):
        with pytest.raises(DataError, match=r"no latent .*z0 to z2"):
            plain.traverse_latent(latent)
    with pytest.raises(UnknownName, match="'7'"):
        plain.traverse_groups("group", "0", "7")
    mixture = look(CountMixture(6, 2))
    for ask in (mixture.latent_table, mixture.latent_effects, lambda: mixture.traverse_latent(0)):
        with pytest.raises(NotInModelError, match="CountMixture has no latent space"):
            ask()
