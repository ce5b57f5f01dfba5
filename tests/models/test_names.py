"""Arguments that cannot be: the error says what is known, or what is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from vae4counts.guides import INPUTS, Encoder
from vae4counts.models import (
    GMVAE,
    VAE,
    CountGMVAE,
    CountMixture,
    CountVAE,
    MLPDecoder,
    from_config,
)
from vae4counts.models.likelihoods import LIKELIHOODS, NegativeBinomial
from vae4counts.models.networks import ACTIVATIONS, DECODERS, NORMS
from vae4counts.models.priors import PRIORS, GaussianMixture, StandardNormal, VampPrior

UNKNOWN: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "decoder": (lambda: VAE(7, decoder="nope"), list(DECODERS)),
    "library": (lambda: VAE(7, library="nope"), ["observed", "latent", "None"]),
    "decoder norm": (lambda: MLPDecoder(norm="nope"), list(NORMS)),
    "decoder activation": (lambda: MLPDecoder(activation="nope"), list(ACTIVATIONS)),
    "encoder norm": (lambda: Encoder(norm="nope"), list(NORMS)),
    "encoder activation": (lambda: Encoder(activation="nope"), list(ACTIVATIONS)),
    "inputs": (lambda: Encoder(inputs="nope"), list(INPUTS)),
    "weights": (lambda: GaussianMixture(weights="nope"), ["learnt", "uniform"]),
    "dispersion": (lambda: NegativeBinomial("nope"), ["shared", "feature", "observation"]),
}


@pytest.mark.parametrize(("build", "known"), UNKNOWN.values(), ids=list(UNKNOWN))
def test_unknown_name(build: Callable[[], Any], known: list[str]) -> None:
    with pytest.raises(ValueError, match="'nope'") as caught:
        build()
    for name in known:
        assert name in str(caught.value)


@pytest.mark.parametrize("kind", [MLPDecoder, Encoder])
def test_no_hidden_layer(kind: type) -> None:
    with pytest.raises(ValueError, match="hidden is empty"):
        kind(hidden=())


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_components": 0},
        {"concentration": 0.0},
        {"concentration": -1.0},
        {"weights": "uniform", "concentration": 1.0},
    ],
)
def test_impossible_mixtures(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"n_components|concentration"):
        GaussianMixture(**arguments)


def test_gmvae_needs_a_mixture() -> None:
    with pytest.raises(ValueError, match="not StandardNormal"):
        GMVAE(7, StandardNormal())


@pytest.mark.parametrize("name", [n for n, kind in LIKELIHOODS.items() if kind.library_is_total])
@pytest.mark.parametrize(
    "build",
    [
        lambda likelihood: VAE(7, likelihood=likelihood, library="latent"),
        lambda likelihood: VAE(7, likelihood=likelihood, library=None),
        lambda likelihood: CountVAE(7, likelihood=likelihood),
        lambda likelihood: CountGMVAE(7, likelihood=likelihood),
    ],
)
def test_counts_given_their_total_need_it_observed(name: str, build: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="needs library='observed'"):
        build(LIKELIHOODS[name]())


@pytest.mark.parametrize("name", [n for n, kind in LIKELIHOODS.items() if not kind.support.counts])
@pytest.mark.parametrize("library", ["observed", "latent"])
def test_values_that_are_not_counts_have_no_library_size(name: str, library: str) -> None:
    with pytest.raises(ValueError, match="are not counts and have no total: it needs library=None"):
        VAE(7, likelihood=LIKELIHOODS[name](), library=library)
    for kind in (VAE, CountVAE):  # whatever their defaults
        model = kind(7, likelihood=LIKELIHOODS[name]())
        assert not any((model.scales_with_library, model.given_library, model.holds_counts))
    with pytest.raises(ValueError, match="VampPrior is made of inputs like counts"):
        VAE(7, VampPrior(2, 3), LIKELIHOODS[name]())
    with pytest.raises(ValueError, match="is no likelihood of counts"):
        CountMixture(7, likelihood=LIKELIHOODS[name]())


def test_decoder_of_the_wrong_size() -> None:
    with pytest.raises(ValueError, match="gives 7 outputs: NegativeBinomial needs 2 for each of 7"):
        VAE(7, StandardNormal(2), NegativeBinomial("observation"), nn.Linear(2, 7))


def test_any_module_can_be_a_decoder_but_not_be_written_down() -> None:
    model = VAE(7, StandardNormal(2), decoder=nn.Linear(2, 7))
    with pytest.raises(TypeError, match="holds a Linear"):
        model.config()


def test_a_decoder_belongs_to_one_model() -> None:
    decoder = MLPDecoder(hidden=(4,))
    VAE(7, decoder=decoder)
    with pytest.raises(ValueError, match="MLPDecoder is part of another model"):
        VAE(9, decoder=decoder)


@pytest.mark.parametrize(
    "config",
    [
        {"type": "os.system", "command": "true"},
        {"type": None},
        {"type": "VAE", "n_features": 7},
    ],
)
def test_only_known_classes_are_built(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="unknown class"):
        from_config(config)


def test_a_description_without_a_class_is_a_mapping_of_descriptions() -> None:
    prior = GaussianMixture(2, 3)
    assert from_config({"n": 7}) == {"n": 7}
    assert from_config({"prior": prior.config()})["prior"].config() == prior.config()


@pytest.mark.parametrize("arguments", [{"n_features": 7, "colour": "red"}, {}])
def test_arguments_must_fit_the_constructor(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="VAE cannot be built from its description"):
        from_config({"type": "vae4counts.models.vae.VAE", **arguments})


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_likelihood_belongs_to_one_model(name: str) -> None:
    likelihood = LIKELIHOODS[name]()
    VAE(5, likelihood=likelihood)
    with pytest.raises(ValueError, match="part of another model"):
        VAE(5, likelihood=likelihood)


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_belongs_to_one_model(name: str) -> None:
    prior = PRIORS[name]()
    VAE(5, prior)
    with pytest.raises(ValueError, match="part of another model"):
        VAE(5, prior)


@pytest.mark.parametrize("name", PRIORS)
def test_priors_of_no_size_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="n_latent is 0"):
        VAE(5, PRIORS[name](n_latent=0))


def test_parts_are_objects() -> None:
    with pytest.raises(ValueError, match=r"likelihood is 'poisson': give an object"):
        VAE(5, likelihood="poisson")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"prior is <class .*: give an object"):
        VAE(5, PRIORS["standard-normal"])  # type: ignore[arg-type]
