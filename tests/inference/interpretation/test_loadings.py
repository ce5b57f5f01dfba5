"""Loadings: what they are, their signs, and their rotation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ortho_group

from vae4counts.guides import Encoder, guide_for
from vae4counts.inference.interpretation import (
    Interpretation,
    loadings,
    orient_signs,
    strongest_features,
    varimax,
)
from vae4counts.models import VAE, LinearDecoder
from vae4counts.models.likelihoods import Categorical, Poisson
from vae4counts.models.priors import GaussianMixture, Prior, StandardNormal, VampPrior

Look = Callable[..., Interpretation]
NAMES = [f"gene{j}" for j in range(6)]


def linear(prior: Prior | None = None, library: str | None = "observed") -> VAE:
    return VAE(6, prior or StandardNormal(3), Poisson(), LinearDecoder(), library)


def test_loadings_are_relative_where_a_constant_means_nothing() -> None:
    scaled, plain = linear(), linear(library=None)
    weight = scaled.decoder.output.weight.detach().numpy()
    table = loadings(scaled, NAMES)
    assert table is not None
    np.testing.assert_allclose(table, weight - weight.mean(0), atol=1e-7)
    assert list(table.columns) == ["z0", "z1", "z2"]
    assert list(table.index) == NAMES
    table = loadings(plain, NAMES)
    assert table is not None
    np.testing.assert_array_equal(table, plain.decoder.output.weight.detach().numpy())


def test_decoders_without_loadings() -> None:
    assert loadings(VAE(6), NAMES) is None
    assert loadings(VAE(6, likelihood=Categorical(), decoder="linear"), NAMES) is None


@pytest.mark.parametrize("library", ["observed", None])
@pytest.mark.parametrize(
    ("prior", "kind"),
    [
        (StandardNormal(3), "marginal"),
        (GaussianMixture(3, 4), "marginal"),
        (GaussianMixture(3, 4), "joint"),
        (VampPrior(3, 4), "marginal"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
@torch.no_grad()
def test_turning_latents_changes_nothing_else(prior: Prior, kind: str, library: str | None) -> None:
    prior = type(prior)(**{k: v for k, v in prior.config().items() if k != "type"})
    model = linear(prior, library)
    guide = guide_for(model, kind, Encoder((8,), dropout=0.0)).eval()
    if isinstance(prior, VampPrior):
        prior.pseudo_inputs.add_(torch.rand_like(prior.pseudo_inputs))
    model.eval()
    z, counts = torch.randn(5, 3), torch.poisson(torch.full((5, 6), 2.0))
    before = loadings(model, NAMES)
    rates, density = model.decoder(z), prior.log_prob(z)
    posterior = guide.posteriors if kind == "joint" else guide.head
    loc, scale = posterior(guide.encoder(counts))
    orient_signs(model, guide)
    after = loadings(model, NAMES)
    assert before is not None
    assert after is not None
    largest = before.to_numpy()[np.abs(before.to_numpy()).argmax(0), range(3)]
    signs = np.sign(largest)
    np.testing.assert_allclose(after, before * signs, atol=1e-6)
    assert (after.max() >= after.min().abs() - 1e-6).all()
    turned = z * torch.as_tensor(signs).float()
    torch.testing.assert_close(model.decoder(turned), rates)
    torch.testing.assert_close(prior.log_prob(turned), density)
    new_loc, new_scale = posterior(guide.encoder(counts))
    torch.testing.assert_close(new_loc, loc * torch.as_tensor(signs).float())
    torch.testing.assert_close(new_scale, scale)


def test_spread_of_the_log_rates(look: Look) -> None:
    """Loadings times the latents' scales are the standard deviations of the log-rates' parts."""
    view = look(linear(library=None))
    table = loadings(view.model, view.features)
    assert table is not None
    z = view.cloud(np.ones(60, dtype=bool), 200_000).numpy()
    wanted = (z[:, None] * table.to_numpy()).std(0)
    np.testing.assert_allclose((table * view.latent_table()["sd"]).abs(), wanted, rtol=0.05)


def test_varimax_finds_a_simple_structure() -> None:
    rng = np.random.default_rng(0)
    simple = np.zeros((30, 3))
    for k, strength in enumerate((1.0, 2.0, 3.0)):  # the strongest factor shall come first
        simple[10 * k : 10 * (k + 1), k] = strength * rng.uniform(0.5, 1, size=10)
    mixed = simple @ ortho_group.rvs(3, random_state=1)
    table = pd.DataFrame(mixed, [f"gene{j}" for j in range(30)], ["z0", "z1", "z2"])
    rotated, rotation = varimax(table)
    np.testing.assert_allclose(rotated, simple[:, ::-1], atol=1e-3)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(table.to_numpy() @ rotation, rotated, atol=1e-10)
    z = rng.normal(size=(5, 3))
    np.testing.assert_allclose((z @ rotation) @ rotated.to_numpy().T, z @ mixed.T, atol=1e-10)
    assert list(rotated.columns) == ["varimax0", "varimax1", "varimax2"]


def test_varimax_is_the_best_of_all_rotations_of_the_plane() -> None:
    weight = np.random.default_rng(0).normal(size=(12, 2))
    turn = np.linspace(0, np.pi / 2, 2001)  # further ones only exchange the factors or their signs
    turns = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    variances = ((np.einsum("jk,kla->jla", weight, turns)) ** 2).var(axis=0).sum(0)
    rotated, _ = varimax(pd.DataFrame(weight))
    assert (rotated**2).var(ddof=0).sum() == pytest.approx(variances.max(), rel=1e-5)
    assert variances.max() > 1.2 * variances.min()


def test_varimax_of_one_factor() -> None:
    table = pd.DataFrame({"z0": [-2.0, 1.0]})
    rotated, rotation = varimax(table)
    np.testing.assert_array_equal(rotated, -table)
    np.testing.assert_array_equal(rotation, [[-1]])


def test_strongest_features() -> None:
    table = pd.DataFrame({"z0": [1.0, -3, 2, np.nan], "z1": [0.0, 0, 5, 1]}, list("abcd"))
    table.columns.name = "latent"
    top = strongest_features(table, 2)
    assert list(top.columns) == ["latent", "rank", "feature", "value"]
    assert list(top["feature"]) == ["c", "a", "c", "d"]
    assert list(top["rank"]) == [1, 2, 1, 2]
    both = strongest_features(table[["z0"]], 2, both_ends=True)
    assert list(both["feature"]) == ["c", "a", "b"]  # none twice, and none that is missing
    assert list(both["rank"]) == [1, 2, -1]
