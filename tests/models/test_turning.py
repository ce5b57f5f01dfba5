"""Latents in other axes: what parts declare, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.several_tables import three_modalities
from vae4counts.data import Batch
from vae4counts.data.counts.matrix import CountMatrix
from vae4counts.guides import GUIDES, Encoder, guide_for
from vae4counts.inference.fitting.start import axes_within, start_from_latents
from vae4counts.models import GMVAE, VAE, CountMixture, Covariates, Labels, Model, NotInModelError
from vae4counts.models.covariates import Factor
from vae4counts.models.networks import DECODERS
from vae4counts.models.priors import PRIORS, GaussianMixture, StandardNormal


@pytest.fixture
def axes() -> Tensor:
    """An orthogonal matrix."""
    return torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("prior", PRIORS)
def test_turned_latents_decode_as_before(
    prior: str, decoder: str, axes: Tensor, make: Callable[..., Any]
) -> None:
    told = Covariates([Factor("batch", ["a", "b"])])
    model = VAE(7, make(PRIORS[prior], n_latent=3), decoder=decoder, covariates=told)
    model.double().eval()
    assert model.turns == (prior == "standard-normal" and decoder != "topics")
    if not model.turns:
        with pytest.raises(NotInModelError, match="cannot turn its latents"):
            model.turn(axes)
        return
    z = torch.randn(5, 3, dtype=torch.float64)
    columns = {"batch": torch.tensor([0, 1, 0, 1, 1])}
    library = torch.full((5, 1), 20.0, dtype=torch.float64)
    before = model.given_latents("counts", z, library, columns).mean
    model.turn(axes)
    after = model.given_latents("counts", z @ axes, library, columns).mean
    torch.testing.assert_close(after, before)
    assert not torch.allclose(model.given_latents("counts", z, library, columns).mean, before)


def test_all_tables_turn(axes: Tensor) -> None:
    model = three_modalities(StandardNormal(3)).double().eval()
    z = torch.randn(4, 3, dtype=torch.float64)
    before = model.rates(z, 10.0)
    model.turn(axes)
    torch.testing.assert_close(model.rates(z @ axes, 10.0), before)


@pytest.mark.parametrize(
    "make_model",
    [
        lambda: VAE(7, StandardNormal(3), decoder=torch.nn.Linear(3, 7)),
        lambda: CountMixture(7, 3),
    ],
)
def test_models_that_cannot_turn_say_so(make_model: Callable[[], Model], axes: Tensor) -> None:
    model = make_model()
    assert not model.turns
    with pytest.raises(NotInModelError, match="cannot turn its latents"):
        model.turn(axes)


def test_what_is_frozen_does_not_turn() -> None:
    model = VAE(7, StandardNormal(3))
    guide = guide_for(model)
    model.decoder.layers[0].weight.requires_grad_(False)
    guide.head.linear.bias.requires_grad_(False)
    assert not model.turns
    assert not guide.turns


@pytest.mark.parametrize("kind", GUIDES)
def test_guides_turn_their_means(kind: str, axes: Tensor, batch: Batch) -> None:
    model = next(
        each
        for each in (GMVAE(7, GaussianMixture(3, 2)), three_modalities(), CountMixture(7, 2))
        if GUIDES[kind].fits(each)
    )
    guide = guide_for(model, kind).double().eval()
    assert guide.turns == (kind == "marginal")
    if not guide.turns:
        with pytest.raises(NotImplementedError, match="cannot turn its latents"):
            guide.turn(axes)
        return
    counts = batch.counts.double()
    loc, scale = guide.posterior(counts)
    guide.turn(axes)
    turned, averaged = guide.posterior(counts)
    torch.testing.assert_close(turned, loc @ axes)
    ends = scale.min(1, keepdim=True).values, scale.max(1, keepdim=True).values
    assert ((averaged > ends[0]) & (averaged < ends[1])).all()
    # axes that are those before in another order and direction leave nothing to average
    guide.turn(axes.T @ torch.eye(3, dtype=torch.float64))
    before = guide.posterior(counts)
    guide.turn(torch.tensor([[0.0, -1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64))
    signs = torch.tensor([1.0, -1, 1], dtype=torch.float64)
    order = [2, 0, 1]
    torch.testing.assert_close(guide.posterior(counts)[0], before[0][:, order] * signs)
    torch.testing.assert_close(guide.posterior(counts)[1], before[1][:, order])


def test_axes_within_groups_are_those_of_the_pooled_covariance(axes: Tensor) -> None:
    shares = torch.eye(2, dtype=torch.float64).repeat(200, 1)
    own = torch.randn(400, 3, dtype=torch.float64) * torch.tensor([0.1, 1.0, 5.0])
    own -= shares @ (shares.T @ own / 200)
    # groups lie apart along a direction of little variance: principal axes of all would differ
    z = own @ axes.T + shares @ torch.tensor([[0.0, 0, 0], [30, -20, 10]], dtype=torch.float64)
    within = own.T @ own
    found = axes.T @ axes_within(z, shares)
    torch.testing.assert_close(found.T @ found, torch.eye(3, dtype=torch.float64))
    turned = found.T @ within @ found
    torch.testing.assert_close(turned, turned.diag().diag(), atol=1e-8, rtol=0)


def started(*, labelled: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Start a small pair; return what its prior starts at, and expected counts before and after."""
    counts = CountMatrix.from_scipy(torch.poisson(torch.full((60, 7), 3.0)).numpy())
    labels = Labels("kind", ["a", "b"]) if labelled else None
    if labelled:
        counts = replace(counts, covariates={"kind": torch.arange(60) % 3 - 1})
    model = GMVAE(7, GaussianMixture(3, 2), labels=labels)
    twin, guide = model.plain_twin(), guide_for(model, encoder=Encoder((6,)))
    assert isinstance(twin, VAE)
    values = counts.batch(torch.arange(60)).counts
    model.eval()
    guide.eval()
    at: dict[str, Tensor] = {}
    monkeypatch.setattr(model.prior, "start_at", lambda z, shares: at.update(z=z, shares=shares))
    rates = [twin.rates(guide.posterior(values)[0], 10.0)]
    before = twin.decoder.layers[0].weight.clone()
    start_from_latents(model, twin, guide, counts, seed=0)
    rates.append(twin.rates(guide.posterior(values)[0], 10.0))
    return at["z"].double(), at["shares"].double(), rates, before, twin.decoder.layers[0].weight


def test_latents_of_a_class_start_uncorrelated(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the function from counts to their expectations is what it was."""
    z, shares, rates, before, after = started(labelled=True, monkeypatch=monkeypatch)
    away = [z - (shares[:, k] @ z) / shares[:, k].sum() for k in range(2)]
    within = sum(x.T @ (shares[:, [k]] * x) for k, x in enumerate(away))
    torch.testing.assert_close(within, within.diag().diag(), atol=1e-3, rtol=0)
    torch.testing.assert_close(rates[1], rates[0])
    assert not after.equal(before)


def test_latents_of_other_groups_keep_their_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, before, after = started(labelled=False, monkeypatch=monkeypatch)
    assert after.equal(before)
