"""What else is there: against sums over components and integrals over a latent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from vae4counts.data import DataError
from vae4counts.inference.interpretation import Interpretation
from vae4counts.inference.interpretation.prior_draws import prior_draws
from vae4counts.models import VAE, CountMixture
from vae4counts.models.likelihoods import LIKELIHOODS, Categorical, Multinomial, Poisson
from vae4counts.models.priors import GaussianMixture

Look = Callable[..., Interpretation]
GIVEN = {"gene1": 2, "gene4": 0}


def compare(table: Any, wanted: dict[str, np.ndarray], features: list[str]) -> None:
    for column, values in wanted.items():
        np.testing.assert_allclose(table.loc[features, column], values, rtol=0.03)


def likelihood_of(x: np.ndarray | None, mean: np.ndarray) -> np.ndarray:
    """p(given | mean) of Poisson counts, or p(one or more)."""
    if x is None:
        return (1 - np.exp(-mean)).prod(-1)
    return stats.poisson.pmf(x, mean).prod(-1)


@pytest.mark.parametrize("chunk", [4096, 999])
@pytest.mark.parametrize("counts", [GIVEN, None], ids=["counts", "one-or-more"])
def test_by_a_sum_over_components(
    counts: dict[str, int] | None, chunk: int, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vae4counts.inference.interpretation.prior_draws.CHUNK_ROWS", chunk)
    view = look(CountMixture(6, 3, Poisson()))
    state = {name: p.detach().double().numpy() for name, p in view.model.named_parameters()}
    weight, share = np.exp(state["logits"]), np.exp(state["outputs"])
    weight, share = weight / weight.sum(), share / share.sum(1, keepdims=True)
    # every component with every library size of the data
    mean = view.counts.library.double().numpy()[:, None, None] * share
    prior = np.tile(weight, (60, 1)) / 60
    x = None if counts is None else np.array(list(counts.values()))
    posterior = prior * likelihood_of(x, mean[..., [1, 4]])
    posterior /= posterior.sum()
    rest = [0, 2, 3, 5]
    there = 1 - np.exp(-mean[..., rest])
    base = np.einsum("nk,nkg->g", prior, there)
    probability = np.einsum("nk,nkg->g", posterior, there)
    table = view.expected_given(counts or list(GIVEN), num_samples=100_000)
    wanted = {
        "expected": np.einsum("nk,nkg->g", posterior, mean[..., rest]),
        "probability": probability,
        "base": base,
        "lift": probability / base,
    }
    compare(table, wanted, [f"gene{j}" for j in rest])
    assert (table["probability"] - table["base"]).is_monotonic_decreasing
    assert set(table.index) == {f"gene{j}" for j in rest}


def test_by_an_integral_over_a_latent(look: Look) -> None:
    view = look(VAE(6, GaussianMixture(1, 3), Poisson(), "linear", library=None))
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        model = view.model.double()
        prior = model.prior.log_prob(z).exp().numpy()
        mean = model.decoder(z).exp().numpy()
        model.float()
    posterior = prior * likelihood_of(np.array([2, 0]), mean[:, [1, 4]])
    posterior /= posterior.sum()
    rest = [0, 2, 3, 5]
    wanted = {
        "expected": posterior @ mean[:, rest],
        "probability": posterior @ (1 - np.exp(-mean[:, rest])),
        "base": prior @ (1 - np.exp(-mean[:, rest])) / prior.sum(),
    }
    table = view.expected_given(GIVEN, num_samples=200_000)
    compare(table, wanted, [f"gene{j}" for j in rest])
    assert table.attrs["effective_samples"] > 1000


@pytest.mark.parametrize(
    "name",
    [n for n, kind in LIKELIHOODS.items() if kind.support.counts and not kind.library_is_total],
)
def test_probabilities_of_all_likelihoods(name: str, look: Look) -> None:
    """Feature by feature they add up to the distribution's own log-probability."""
    view = look(VAE(6, GaussianMixture(2, 3), LIKELIHOODS[name]()))
    x = torch.tensor([0.0, 2, 1, 0, 3, 1])
    counts, _ = next(prior_draws(view, torch.full((5, 1), 20.0)))
    parts = counts.log_prob_at(torch.arange(6), x)
    assert parts.shape == (5, 6)
    torch.testing.assert_close(parts.sum(-1), counts.log_prob(x.expand(5, 6)))
    few = counts.log_prob_at(torch.tensor([4, 0]), x[[4, 0]])
    torch.testing.assert_close(few, parts[:, [4, 0]])


def test_unobserved_is_not_zero(look: Look) -> None:
    view = look(CountMixture(6, 3))
    silent = view.expected_given({"gene1": 1, "gene2": 0})
    assert "gene2" in view.expected_given({"gene1": 1}).index
    assert "gene2" not in silent.index


def test_few_draws_are_said_to_be_few(look: Look) -> None:
    view = look(VAE(6, GaussianMixture(2, 3), Poisson(), "linear", library=None))
    with pytest.warns(UserWarning, match=r"only \d+ of 60 draws"):
        view.expected_given({"gene0": 3, "gene1": 0, "gene2": 4}, num_samples=60)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "nothing is given"),
        ([], "nothing is given"),
        (["gene0", "fork"], "no feature 'fork'"),
        ({"gene0": 0.5}, "'gene0' is given as 0.5"),
        ({"gene0": -1}, "'gene0' is given as -1"),
        ({"gene0": float("nan")}, "'gene0' is given as nan"),
        ("gene0", "give a list of names"),
    ],
)
def test_wrong_questions(given: Any, what: str, look: Look) -> None:
    with pytest.raises(DataError, match=what):
        look(CountMixture(6, 3)).expected_given(given)


def test_counts_given_their_total(look: Look) -> None:
    """The others share what is left of the total."""
    view = look(CountMixture(6, 1, Multinomial()))
    q = view.model.outputs.detach().softmax(-1)[0].numpy()
    total = view.counts.library.numpy()
    weights = stats.binom.pmf(1, total, q[0])
    left = weights @ (total - 1) / weights.sum()
    table = view.expected_given({"gene0": 1}).sort_index()
    np.testing.assert_allclose(table["expected"], left * q[1:] / (1 - q[0]), rtol=0.02)


def test_more_than_the_largest_class(look: Look) -> None:
    """A categorical likelihood's last class stands for all larger counts."""
    view = look(VAE(6, likelihood=Categorical(3), library=None))
    three = view.expected_given({"gene0": 3}, num_samples=500)
    two = view.expected_given({"gene0": 2}, num_samples=500)
    np.testing.assert_array_equal(three, two)


def test_first_what_is_raised_most(look: Look) -> None:
    """A feature that is everywhere is likely, but says nothing."""
    view = look(CountMixture(6, 2, Poisson()))
    with torch.no_grad():
        share = torch.tensor(
            [[0.02, 0.02, 0.9, 1e-4, 1e-4, 0.06], [1e-4, 1e-4, 0.9, 0.05, 0.05, 0]]
        )
        view.model.outputs.copy_((share + 1e-6).log())
        view.model.logits.zero_()
    table = view.expected_given(["gene0"])
    assert table.index[0] in {"gene1", "gene5"}
    assert table["probability"].idxmax() == "gene2"
    rise = (table["probability"] - table["base"]).to_numpy()
    assert (np.diff(rise) <= 1e-12).all()
