"""The decoder of topics: rates against sums by hand, shares, starts, covariates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special

from vae4counts.data import Batch
from vae4counts.models import VAE, CountMixture, NotInModelError, TopicDecoder, start_from_data
from vae4counts.models.likelihoods import LIKELIHOODS, Poisson
from vae4counts.models.networks.parts import nonnegative_parts
from vae4counts.models.priors import FlowPrior, StandardNormal, TopicPrior


def built(n_covariates: int = 0) -> TopicDecoder:
    decoder = TopicDecoder()
    decoder.build(3, 5, n_covariates)
    decoder.double()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter)
    return decoder


def by_hand(decoder: TopicDecoder, inputs: np.ndarray) -> np.ndarray:
    weight, bias = (part.detach().numpy() for part in (decoder.output.weight, decoder.output.bias))
    shares = special.softmax(inputs[..., :3], axis=-1)
    mixed = shares @ np.exp(weight[:, :3].T + bias)
    return np.log(mixed * np.exp(inputs[..., 3:] @ weight[:, 3:].T))


@pytest.mark.parametrize("n_covariates", [0, 2])
def test_outputs_are_logarithms_of_mixtures(n_covariates: int) -> None:
    decoder = built(n_covariates)
    inputs = torch.randn(4, 6, 3 + n_covariates).double()
    found = decoder(inputs).detach()
    np.testing.assert_allclose(found, by_hand(decoder, inputs.numpy()), rtol=1e-10)


def test_gradients_are_those_of_finite_differences() -> None:
    decoder = built(1)
    inputs = torch.randn(3, 4).double().requires_grad_()

    def outputs(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        values = {"output.weight": weight, "output.bias": bias}
        return torch.func.functional_call(decoder, values, (inputs,))

    assert torch.autograd.gradcheck(outputs, (inputs, decoder.output.weight, decoder.output.bias))


def test_outputs_of_impossible_features_are_finite() -> None:
    decoder = built().float()
    with torch.no_grad():
        decoder.output.weight[0] = -1e3
    z = torch.randn(4, 3, requires_grad=True)
    decoder(z).sum().backward()
    assert decoder(z).isfinite().all()
    assert z.grad is not None
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("library", ["observed", None])
def test_shares_say_from_which_topic_the_expected_counts_come(library: str | None) -> None:
    model = VAE(5, TopicPrior(3), Poisson(), library=library).double()
    torch.nn.init.normal_(model.decoder.output.weight)
    pure = model.pure_topics()
    assert pure is not None
    topics = model.rates(pure, 1.0)
    if library is None:  # each topic has a size of its own
        assert topics.sum(-1).std() > 0.1
    topics = topics / topics.sum(-1, keepdim=True)
    z = 2 * torch.randn(8, 3).double()
    shares = model.topic_shares(z)
    torch.testing.assert_close(shares.sum(-1), torch.ones(8).double())
    rates = model.rates(z, 10.0)
    wanted = rates.sum(-1, keepdim=True) * (shares @ topics)
    torch.testing.assert_close(rates, wanted)


def test_topics_start_at_parts_that_made_the_counts(batch_of: Callable[..., Batch]) -> None:
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(20, 0.1), size=3)
    counts = rng.poisson(100 * rng.dirichlet(np.full(3, 0.2), size=300) @ topics)
    batch = batch_of(counts)
    parts = nonnegative_parts(batch.counts, 3)
    assert (parts >= 0).all()
    np.testing.assert_allclose(parts.sum(-1), counts.sum(1).mean())
    found = parts / parts.norm(dim=-1, keepdim=True)
    cosines = found.numpy() @ (topics / np.linalg.norm(topics, axis=-1, keepdims=True)).T
    assert sorted(cosines.argmax(0)) == [0, 1, 2]
    assert (cosines.max(0) > 0.95).all()
    model = VAE(20, TopicPrior(3), Poisson())
    start_from_data(model, batch)
    pure = model.pure_topics()
    assert pure is not None
    torch.testing.assert_close(
        model.rates(pure, 1.0), (parts / parts.sum(-1, keepdim=True)).float(), atol=5e-3, rtol=0
    )


@pytest.mark.parametrize(
    "likelihood", [n for n, kind in LIKELIHOODS.items() if kind.support.counts]
)
@pytest.mark.parametrize("counts", [np.zeros((4, 6)), np.ones((1, 6)), np.eye(6), np.ones((9, 1))])
def test_starts_on_the_smallest_data(
    likelihood: str, counts: np.ndarray, batch_of: Callable[..., Batch]
) -> None:
    model = VAE(counts.shape[1], TopicPrior(3), LIKELIHOODS[likelihood]())
    start_from_data(model, batch_of(counts))
    assert all(parameter.isfinite().all() for parameter in model.decoder.parameters())


def test_other_priors_go_with_it() -> None:
    for prior in (StandardNormal(3), FlowPrior(3)):
        assert VAE(5, prior, decoder="topics").pure_topics().shape == (3, 3)


def test_models_without_topics_say_so() -> None:
    for model in (VAE(5), VAE(5, decoder=torch.nn.Linear(10, 5)), CountMixture(5, 2)):
        assert model.pure_topics() is None
        with pytest.raises(NotInModelError, match="has no topics"):
            model.topic_shares(torch.zeros(1, 10))
