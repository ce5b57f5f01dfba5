"""The guide that fits each model, and a clear error if none does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vae4counts.guides import (
    GUIDES,
    Encoder,
    ExactGuide,
    IncompatiblePairError,
    JointGuide,
    MarginalGuide,
    guide_for,
)
from vae4counts.models import GMVAE, VAE, CountMixture, GaussianMixtureModel, Latent, Model
from vae4counts.models.priors import PRIORS, GaussianMixture, StandardNormal, VampPrior


@pytest.mark.parametrize("prior", [StandardNormal, GaussianMixture, VampPrior])
def test_default_of_a_vae_is_marginal(prior: type, make: Callable[..., Any]) -> None:
    assert isinstance(guide_for(make(VAE, prior=make(prior))), MarginalGuide)


@pytest.mark.parametrize("model", [CountMixture, GaussianMixtureModel])
def test_default_of_a_mixture_without_network_is_exact(
    model: type, make: Callable[..., Any]
) -> None:
    assert isinstance(guide_for(make(model)), ExactGuide)


def test_every_model_has_a_default(model_kind: type[Model], make: Callable[..., Any]) -> None:
    model = make(model_kind)
    assert type(guide_for(model)).fits(model)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", [*GUIDES, "laplace"])
def test_guides_that_do_not_fit_are_refused(
    kind: str, prior: str, make: Callable[..., Any]
) -> None:
    model = VAE(7, make(PRIORS[prior]))
    fitting = [name for name, guide in GUIDES.items() if guide.fits(model)]
    if kind in fitting:
        assert type(guide_for(model, kind)) is GUIDES[kind]
        return
    with pytest.raises(IncompatiblePairError) as caught:
        guide_for(model, kind)
    message = str(caught.value)
    assert repr(kind) in message
    assert type(model.prior).__name__ in message
    assert message.endswith(f"these do: {', '.join(fitting)}")
    assert "\n" not in message


def test_model_that_no_guide_fits() -> None:
    class Strange(Model):
        n_features = 3
        latents = (Latent("heat"),)

        def forward(self, batch: Any) -> Any:
            raise NotImplementedError

    for kind in (None, "exact"):
        with pytest.raises(IncompatiblePairError, match=r"no guide in .*GUIDES fits Strange"):
            guide_for(Strange(), kind)


def test_a_site_called_z_is_not_enough_for_the_marginal_guide() -> None:
    class Strange(Model):
        n_features = 3
        latents = (Latent("z"),)

        def forward(self, batch: Any) -> Any:
            raise NotImplementedError

    assert not MarginalGuide.fits(Strange())


def test_guide_takes_its_sizes_from_the_model() -> None:
    guide = guide_for(GMVAE(7, GaussianMixture(3, 5), library="latent"), "joint")
    assert isinstance(guide, JointGuide)
    assert (guide.n_features, guide.n_latent, guide.n_components) == (7, 3, 5)
    assert guide.latent_library


def test_unknown_conditioning() -> None:
    with pytest.raises(ValueError, match=r"'multiply'.*selection, addition"):
        JointGuide(7, 2, 3, conditioning="multiply")


@pytest.mark.parametrize("prior", [StandardNormal(), GaussianMixture(), VampPrior()])
def test_an_encoder_belongs_to_one_guide(prior: Any) -> None:
    encoder = Encoder(hidden=(8,))
    model = VAE(7, prior)
    guide = guide_for(model, encoder=encoder)
    before = guide.encoder.layers
    with pytest.raises(ValueError, match="Encoder is part of another model or guide"):
        guide_for(model, encoder=encoder)
    assert guide.encoder.layers is before
