"""Evaluation by streaming: chunks of draws, several batches, components and labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference import evaluate
from vae4counts.inference.posterior import draws as draws_module
from vae4counts.inference.posterior.draws import chunks, draw
from vae4counts.inference.posterior.evaluation import components_used, perplexity
from vae4counts.models import VAE

Maker = Callable[..., tuple[VAE, Guide]]


@pytest.mark.parametrize("limit", [1, 39, 40, 41, 100, 10**9])
@pytest.mark.parametrize("num_samples", [1, 2, 7, 100])
def test_chunks_hold_all_draws_and_no_more_numbers_than_allowed(
    num_samples: int, limit: int, few: Batch, a_pair: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = a_pair("mixture", "marginal")
    monkeypatch.setattr(draws_module, "CHUNK_NUMBERS", limit)
    sizes = chunks(num_samples, model, few)
    assert sum(sizes) == num_samples
    assert min(sizes) >= 1
    assert max(sizes) == 1 or max(sizes) * 20 <= limit
    assert len(sizes) == math.ceil(num_samples / max(1, min(num_samples, limit // 20)))


@pytest.mark.parametrize("kind", ["marginal", "selection"])
def test_chunked_draws_are_like_those_of_one_piece(
    kind: str, few: Batch, a_pair: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    model, guide = a_pair("mixture", kind, n_latent=1, wide=True)
    weights = draw(model.eval(), guide.eval(), few, 6000).log_weights
    error = (weights.std(0) / math.sqrt(6000)).square().sum().sqrt().item() / 5
    whole = evaluate(model, guide, [few], num_samples=6000)
    monkeypatch.setattr(draws_module, "CHUNK_NUMBERS", 20 * 70)
    assert len(chunks(6000, model, few)) == 86
    chunked = evaluate(model, guide, [few], num_samples=6000)
    assert chunked.elbo != whole.elbo
    assert abs(chunked.elbo - whole.elbo) < 4 * math.sqrt(2) * error
    assert chunked.iw_log_likelihood == pytest.approx(whole.iw_log_likelihood, abs=0.05)
    assert sum(chunked.elbo_parts.values()) == pytest.approx(chunked.elbo, rel=1e-12)
    assert chunked.component_perplexity == pytest.approx(whole.component_perplexity, rel=0.05)


def test_means_are_over_observations_not_batches(few: Batch, a_pair: Maker) -> None:
    """Batches of one and of four observations: each observation counts the same."""
    model, guide = a_pair("mixture", "marginal")
    with torch.no_grad():  # hardly any noise
        guide.head.linear.bias[2:] = -200
        guide.head.linear.weight[2:] = 0
    dense = few.counts.to_dense()
    parts = [
        Batch.of_counts(dense[rows].to_sparse_csr(), few.library[rows], few.index[rows], 5)
        for rows in (slice(0, 1), slice(1, 5))
    ]
    apart = evaluate(model, guide, parts, num_samples=3)
    together = evaluate(model, guide, [few], num_samples=3)
    assert apart.n == together.n == 5
    wanted = together.elbo_parts["counts"]
    assert apart.elbo_parts["counts"] == pytest.approx(wanted, abs=0.001)
    assert apart.component_perplexity == pytest.approx(together.component_perplexity, rel=0.01)


def test_components_used_and_perplexity() -> None:
    shares = np.array([[0.5, 0.4905, 0.0095, 0.0], [0.5, 0.4885, 0.0115, 0.0]])
    assert components_used(shares) == 3
    assert components_used(shares[:1]) == 2
    even = np.full((6, 5), 0.2)
    assert perplexity(even) == pytest.approx(5)
    assert perplexity(np.eye(4)) == pytest.approx(4)
    assert perplexity(np.array([[1.0, 0, 0]])) == pytest.approx(1)


def test_labels_are_compared_with_the_components(few: Batch, a_pair: Maker) -> None:
    model, guide = a_pair("mixture", "marginal")
    shares = draw(model.eval(), guide.eval(), few, 500).responsibilities
    assert shares is not None
    with torch.no_grad():
        model.prior.loc.copy_(torch.tensor([[-3.0, 0], [3, 0], [0, 9]]))
        guide.head.linear.weight.zero_()
        guide.head.linear.weight[0] = torch.randn(6)
        guide.head.linear.weight[0] *= 50
    found = draw(model, guide, few, 1).responsibilities
    assert found is not None
    labels = np.array(["b", "a", "c"])[found[0].argmax(-1)]
    result = evaluate(model, guide, [few], num_samples=20, labels=labels)
    assert result.ari == 1
    assert result.nmi == pytest.approx(1)
    other = np.array(["x", "y", "x", "y", "x"])
    worse: Any = evaluate(model, guide, [few], num_samples=20, labels=other).ari
    assert worse < 0.5
    assert evaluate(model, guide, [few], num_samples=2).ari is None


def test_models_without_components_have_no_say(few: Batch, a_pair: Maker) -> None:
    result = evaluate(
        *a_pair("standard-normal", "marginal"), [few], num_samples=2, labels=np.array(list("abcde"))
    )
    assert result.components_used is result.component_perplexity is None
    assert result.ari is result.nmi is None
    assert (
        result.label_note == "VAE with StandardNormal has no components to compare the labels with"
    )
    mixture = a_pair("mixture", "marginal")
    nothing = evaluate(*mixture, [few], num_samples=2, labels=np.full(5, np.nan, dtype=object))
    assert nothing.ari is None
    assert nothing.label_note == "none of the 5 evaluated observations has a label"
    assert evaluate(*mixture, [few], num_samples=2).label_note is None


@pytest.mark.parametrize("labels", [["a"] * 5, ["a", None, None, None, None], [1, 1, np.nan, 1, 1]])
def test_one_class_is_no_agreement(few: Batch, a_pair: Maker, labels: list[object]) -> None:
    one = np.array(labels, dtype=object)
    result = evaluate(*a_pair("mixture", "marginal"), [few], num_samples=2, labels=one)
    assert result.ari is result.nmi is None
    assert result.label_note == "the evaluated observations with a label are all of one class"
