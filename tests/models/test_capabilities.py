"""What models can be asked: replicates, signs, loadings, a simpler model to train first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pyro import poutine
from scipy import stats
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import GUIDES, Encoder, Guide, guide_for
from vae4counts.models import (
    GMVAE,
    VAE,
    CountMixture,
    GaussianMixtureModel,
    Model,
    NotInModelError,
    plate_sites,
)
from vae4counts.models.likelihoods import Categorical, Poisson
from vae4counts.models.priors import PRIORS, GaussianMixture, StandardNormal, VampPrior

SIGNS = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)


def wide(batch: Batch) -> Batch:
    """Return the batch in float64."""
    return Batch.of_counts(
        batch.counts.double(), batch.library.double(), batch.index, batch.n_observations
    )


def log_probs(program: Model | Guide, batch: Batch, values: dict[str, Tensor]) -> Tensor:
    """Return the log-density of a model or guide at given values, shape ``(B,)``."""
    trace: Any = poutine.trace(poutine.condition(program, values)).get_trace(batch)
    trace.compute_log_prob()
    return torch.stack([trace.nodes[n]["unscaled_log_prob"] for n in plate_sites(trace)]).sum(0)


def flippable(prior: str, kind: str, make: Callable[..., Any]) -> tuple[VAE, Guide] | None:
    model = VAE(7, make(PRIORS[prior], n_latent=3), decoder="linear", library="latent")
    if not GUIDES[kind].fits(model):
        return None
    guide = guide_for(model, kind, Encoder((8,)))
    for module in (model, guide):
        module.double().eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return model, guide


@pytest.mark.parametrize("kind", GUIDES)
@pytest.mark.parametrize("prior", PRIORS)
def test_flipped_signs_leave_every_density_as_it_was(
    prior: str, kind: str, make: Callable[..., Any], batch: Batch
) -> None:
    """At mirrored latents, so that bounds and log-likelihoods are the same draw by draw."""
    pair = flippable(prior, kind, make)
    if pair is None:
        pytest.skip("does not fit")
    model, guide = pair
    assert model.flips
    assert guide.flips
    batch = wide(batch)
    with torch.no_grad():
        latents = {name: x.squeeze(0) for name, x in model.draw(batch, 1).items()}
        latents.pop("counts")
        before = [log_probs(part, batch, latents) for part in pair]
        rates, loadings = model.rates(latents["z"], 10.0), model.loadings()
        for part in pair:
            part.flip(SIGNS)
        mirrored = {**latents, "z": latents["z"] * SIGNS}
        for log_p, part in zip(before, pair, strict=True):
            torch.testing.assert_close(log_probs(part, batch, mirrored), log_p)
            # the check would notice signs that are flipped in one part only
            assert (log_probs(part, batch, latents) - log_p).abs().max() > 0.1
        torch.testing.assert_close(model.rates(mirrored["z"], 10.0), rates)
        assert loadings is not None
        torch.testing.assert_close(model.loadings(), loadings * SIGNS)
        for part in pair:
            part.flip(SIGNS)
        for log_p, part in zip(before, pair, strict=True):
            assert log_probs(part, batch, latents).equal(log_p)


@pytest.mark.parametrize(
    "model",
    [
        lambda: VAE(7, StandardNormal(3)),
        lambda: VAE(7, StandardNormal(3), Categorical(), decoder="linear"),
        lambda: VAE(7, StandardNormal(3), Poisson(), torch.nn.Linear(3, 7)),
        lambda: CountMixture(7, 3),
    ],
)
def test_models_that_cannot_flip_say_so(model: Callable[[], Model]) -> None:
    made = model()
    assert not made.flips
    assert made.loadings() is None
    with pytest.raises(NotInModelError, match="cannot change the signs of its latents"):
        made.flip(SIGNS)


def test_guides_that_cannot_flip_say_so() -> None:
    guide = guide_for(CountMixture(7, 3))
    assert not guide.flips
    with pytest.raises(NotImplementedError, match="ExactGuide cannot change the signs"):
        guide.flip(SIGNS)


@pytest.mark.parametrize("model", [CountMixture(7, 3), GaussianMixtureModel(7, 3)])
def test_models_without_a_latent_space_say_so(model: Model) -> None:
    assert model.n_latent is None
    assert model.mixture_prior is None
    assert model.plain_twin() is None
    with pytest.raises(NotInModelError, match=f"{type(model).__name__} has no latent space"):
        model.rates(torch.zeros(1, 2), None)


@pytest.mark.parametrize(
    "library", [None, 20.0, torch.tensor([[20.0]]).expand(4, 1)], ids=["none", "one", "each"]
)
def test_rates_are_the_means_at_given_latents(library: Any) -> None:
    z = torch.randn(4, 3)
    model = VAE(7, StandardNormal(3), Poisson(), library=None if library is None else "observed")
    model.eval()
    outputs = model.decoder(z)
    wanted = outputs.exp() if library is None else 20 * outputs.softmax(-1)
    torch.testing.assert_close(model.rates(z, library), wanted)


def test_new_observations_are_drawn_from_the_prior(batch: Batch) -> None:
    model = GMVAE(7, GaussianMixture(2, 3), Poisson(), library="latent").eval()
    drawn = model.draw(batch, 500)
    assert set(drawn) == {"library", "component", "z", "counts"}
    assert all(value.shape[:2] == (500, 12) for value in drawn.values())
    assert drawn["counts"].shape == (500, 12, 7)
    assert not any(value.requires_grad for value in drawn.values())
    weights = model.prior.log_weights().exp().detach().numpy()
    found = np.bincount(drawn["component"].flatten().numpy(), minlength=3)
    assert stats.chisquare(found, 6000 * weights / weights.sum()).pvalue > 1e-4
    loc, scale = (part.detach() for part in model.prior.components())
    noise = (drawn["z"] - loc[drawn["component"]]) / scale[drawn["component"]]
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-4


def test_what_is_given_is_kept_and_the_rest_is_drawn_given_it(batch: Batch) -> None:
    model = GMVAE(7, GaussianMixture(2, 3), Poisson(), library="latent").eval()
    component = torch.arange(3).repeat(2000 // 3 + 1)[:2000].unsqueeze(1).expand(-1, 12)
    drawn = model.draw(batch, 2000, given={"component": component})
    assert drawn["component"].equal(component)
    loc, scale = (part.detach() for part in model.prior.components())
    noise = (drawn["z"] - loc[component]) / scale[component]
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-4

    latents = {name: drawn[name] for name in ("library", "component", "z")}
    again = model.draw(batch, 2000, given=latents)
    for name, value in latents.items():
        assert again[name].equal(value)
    means = model.rates(latents["z"], latents["library"].unsqueeze(-1)).detach()
    standard_errors = means.mean(0).sqrt() / 2000**0.5
    assert ((again["counts"] - means).mean(0).abs() < 5 * standard_errors).all()


def test_replicates_depend_on_the_library_and_not_on_the_counts(
    batch_of: Callable[..., Batch],
) -> None:
    model = VAE(3, StandardNormal(2)).eval()
    drawn = []
    for counts in ([[5, 0, 1], [0, 0, 9]], [[0, 6, 0], [3, 3, 3]], [[0, 60, 0], [3, 3, 3]]):
        torch.manual_seed(3)
        drawn.append(model.draw(batch_of(counts), 200)["counts"])
    assert drawn[0].equal(drawn[1])
    assert drawn[2][:, 0].sum() > 5 * drawn[1][:, 0].sum()
    torch.testing.assert_close(drawn[0].sum(-1).mean(0), torch.tensor([6.0, 9]), rtol=0.2, atol=0)


@pytest.mark.parametrize(
    ("prior", "simpler"),
    [(StandardNormal(2), False), (VampPrior(2, 3), False), (GaussianMixture(2, 3), True)],
)
def test_plain_twin_shares_all_but_the_prior(prior: Any, simpler: bool) -> None:
    model = VAE(7, prior)
    twin = model.plain_twin()
    if not simpler:
        assert twin is None
        return
    assert isinstance(twin, VAE)
    assert isinstance(twin.prior, StandardNormal)
    assert twin.prior.n_latent == 2
    assert model.prior is prior
    shared = {id(parameter) for parameter in model.parameters()}
    own = {id(parameter) for parameter in prior.parameters()}
    assert {id(parameter) for parameter in twin.parameters()} == shared - own
    with torch.no_grad():
        twin.decoder.output.bias.fill_(3.0)
    assert (model.decoder.output.bias == 3).all()


def test_a_mixture_starts_at_groups_of_the_latents(
    separated: tuple[GaussianMixture, Tensor, Tensor],
) -> None:
    prior, z, centres = separated
    model = GMVAE(7, prior)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shares = model.groups(z, seed=0)
    assert shares is not None
    model.start_at(z, shares)
    assert adjusted_rand_score(torch.arange(400) % 4, prior.responsibilities(z).argmax(1)) > 0.99
    assert (torch.cdist(centres, prior.loc).min(1).values < 0.5).all()
    changed = {n for n, value in model.state_dict().items() if not value.equal(before[n])}
    assert changed <= {"prior.loc", "prior.log_scale", "prior.logits"}
    assert model.groups(z, seed=0).equal(shares)


def test_other_priors_start_at_no_groups() -> None:
    assert VAE(7, StandardNormal(2)).groups(torch.randn(50, 2), seed=0) is None
    assert CountMixture(7, 3).groups(torch.randn(50, 2), seed=0) is None
