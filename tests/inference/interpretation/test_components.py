"""The mixture's view, against mixtures whose answers can be written down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from vae4counts.data import DataError, UnknownName
from vae4counts.inference.interpretation import Interpretation, NotInModelError, strongest_features
from vae4counts.inference.interpretation.components import by_label
from vae4counts.models import GMVAE, VAE, CountMixture, GaussianMixtureModel
from vae4counts.models.likelihoods import Poisson
from vae4counts.models.priors import GaussianMixture

Look = Callable[..., Interpretation]


@pytest.fixture
def mixture(look: Look) -> Interpretation:
    """Three Poisson components without a network."""
    return look(CountMixture(6, 3, Poisson()))


def written_down(view: Interpretation) -> tuple[np.ndarray, np.ndarray]:
    """Weights and shares of the components, ``(K,)`` and ``(K, G)``."""
    state = {name: p.detach().double().numpy() for name, p in view.model.named_parameters()}
    weight, share = np.exp(state["logits"]), np.exp(state["outputs"])
    return weight / weight.sum(), share / share.sum(1, keepdims=True)


def test_profiles_by_hand(mixture: Interpretation) -> None:
    _, share = written_down(mixture)
    table = mixture.component_profiles(library_size=100.0, num_samples=2)
    np.testing.assert_allclose(table, 100 * share.T, rtol=1e-5)
    assert list(table.index) == mixture.features
    assert list(table.columns) == ["0", "1", "2"]
    assert table.columns.name == "component"


@pytest.mark.parametrize("library", ["observed", "latent"])
def test_profiles_of_a_decoder(library: str, look: Look) -> None:
    """The mean over a component's prior, by many draws in numpy."""
    view = look(GMVAE(6, GaussianMixture(2, 3), Poisson(), "linear", library))
    loc, scale = (part.detach().double().numpy() for part in view.model.prior.components())
    weight, bias = (p.detach().double().numpy() for p in view.model.decoder.output.parameters())
    z = np.random.default_rng(0).normal(loc, scale, size=(20_000, 3, 2))
    rate = np.exp(z @ weight.T + bias)
    wanted = 50 * (rate / rate.sum(-1, keepdims=True)).mean(0).T
    table = view.component_profiles(library_size=50.0, num_samples=20_000)
    np.testing.assert_allclose(table, wanted, rtol=0.03)


def test_spreads_of_a_decoder(look: Look, mixture: Interpretation) -> None:
    """The standard deviation over a component's prior, by many draws in numpy."""
    view = look(GMVAE(6, GaussianMixture(2, 3), Poisson(), "linear"))
    loc, scale = (part.detach().double().numpy() for part in view.model.prior.components())
    weight, bias = (p.detach().double().numpy() for p in view.model.decoder.output.parameters())
    z = np.random.default_rng(0).normal(loc, scale, size=(20_000, 3, 2))
    rate = np.exp(z @ weight.T + bias)
    rate /= rate.sum(-1, keepdims=True)
    one = 3 / view.counts.library.double().numpy().sum()  # of components of equal weight
    wanted = np.log2(rate + one).std(0).T
    table = view.component_spreads(num_samples=20_000)
    np.testing.assert_allclose(table, wanted, rtol=0.03)
    np.testing.assert_allclose(mixture.component_spreads(num_samples=2), 0, atol=1e-6)


def test_components_are_named_by_their_features(mixture: Interpretation) -> None:
    contrasts = mixture.component_contrasts(num_samples=2)
    names = mixture.component_names(n=2, num_samples=2)
    for k in contrasts.columns:
        raised = contrasts[k][contrasts[k] > 0].nlargest(2)
        assert names[k] == ", ".join(raised.index)


def test_stability_is_of_components_in_a_latent_space(look: Look, mixture: Interpretation) -> None:
    assert "stability" not in mixture.component_table(num_samples=1)
    table = look(GMVAE(6, GaussianMixture(2, 3), Poisson())).component_table()
    assert table["stability"].between(0, 1).all()


def test_overlaps_are_sums_over_a_grid(look: Look) -> None:
    view = look(GMVAE(6, GaussianMixture(2, 3), Poisson()))
    loc, scale = (part.detach().double().numpy() for part in view.model.prior.components())
    line, step = np.linspace(-10, 10, 801, retstep=True)
    z = np.stack(np.meshgrid(line, line), -1)
    densities = [stats.norm.pdf(z, loc[k], scale[k]).prod(-1) for k in range(3)]
    wanted = [[np.sqrt(p * q).sum() * step**2 for q in densities] for p in densities]
    np.testing.assert_allclose(view.component_overlaps(), wanted, rtol=1e-4)


def test_contrasts_by_hand(mixture: Interpretation) -> None:
    weight, share = written_down(mixture)
    total = mixture.counts.library.double().numpy().sum()
    table = mixture.component_contrasts(num_samples=2)
    for k in range(3):
        others = [i for i in range(3) if i != k]
        rest = weight[others] @ share[others] / weight[others].sum()
        one = 1 / (weight[k] * total)
        wanted = np.log2((share[k] + one) / (rest + one))
        np.testing.assert_allclose(table[str(k)], wanted, atol=1e-4)
    top = strongest_features(table, 1)
    assert list(top["feature"]) == [table[str(k)].idxmax() for k in range(3)]
    assert list(top["component"]) == ["0", "1", "2"]


def test_sizes(mixture: Interpretation) -> None:
    weight, share = written_down(mixture)
    x = mixture.counts.batch(torch.arange(60)).counts.to_dense().numpy()
    library = x.sum(1)[:, None, None]
    log_p = np.log(weight) + stats.poisson.logpmf(x[:, None], library * share).sum(-1)
    wanted = np.exp(log_p - np.logaddexp.reduce(log_p, axis=1)[:, None])
    table = mixture.component_table(num_samples=1)
    np.testing.assert_allclose(table["weight"], weight, rtol=1e-5)
    np.testing.assert_allclose(table["share"], wanted.mean(0), rtol=1e-3)
    which = wanted.argmax(1)
    np.testing.assert_array_equal(table["observations"], np.bincount(which, minlength=3))
    for k in np.unique(which):
        doubt = stats.entropy(wanted[which == k], axis=1).mean()
        assert table["entropy"].iloc[k] == pytest.approx(doubt, rel=1e-3)
    assert table["entropy"].isna().sum() == 3 - len(np.unique(which))


def test_labels(mixture: Interpretation) -> None:
    table = mixture.component_labels("group")
    assert table.to_numpy().sum() == 60
    assert sorted(table.index) == ["0", "1", "2"]
    names = np.array(["a", "b"])[np.arange(60) % 2]
    assert mixture.component_labels(names).sum(axis=1).to_dict() == {"a": 30, "b": 30}
    with pytest.raises(UnknownName, match=r"no column 'type'.*'group'"):
        mixture.component_labels("type")
    with pytest.raises(DataError, match=r"labels has shape \(59,\) but there are 60 observations"):
        mixture.component_labels(names[:59])
    named = pd.Series(names, mixture.obs.index)[::-1]  # aligned by name
    pd.testing.assert_frame_equal(
        mixture.component_labels(named), mixture.component_labels(names), check_names=False
    )
    with pytest.raises(DataError, match="59 labels for 60 observations"):
        by_label(pd.Series(names[:59]), pd.Categorical(["0"] * 60))


def test_labels_stand_by_their_main_component() -> None:
    labels = pd.Series(["x", "y", "y", "x", "z"], name="kind")
    table = by_label(labels, pd.Categorical(["10", "2", "2", "10", "10"]))
    assert list(table.columns) == ["2", "10"]
    assert list(table.index) == ["y", "x", "z"]
    assert table.to_numpy().tolist() == [[2, 0], [0, 2], [0, 1]]


def test_cooccurrence_by_hand(mixture: Interpretation) -> None:
    """Within a component of independent counts, P(i, j) = E[P(i) P(j)] over library sizes."""
    weight, share = written_down(mixture)
    library = mixture.counts.library.double().numpy()
    there = 1 - np.exp(-library[:, None, None] * share)  # observation, component, feature
    anywhere = np.einsum("nkg,k->g", there, weight) / 60
    joint = np.einsum("ng,nh->gh", there[:, 1], there[:, 1]) / 60
    wanted = joint / np.outer(anywhere, anywhere)
    np.fill_diagonal(wanted, np.nan)
    table = mixture.cooccurrence(1, mixture.features, num_samples=100_000)
    np.testing.assert_allclose(table, wanted, rtol=0.02)
    raised = np.argsort(-(there[:, 1].mean(0) - anywhere))[:2]
    chosen = mixture.cooccurrence("1", n=2, num_samples=100_000)
    assert list(chosen.index) == [f"gene{j}" for j in raised]


def test_wrong_questions(mixture: Interpretation, look: Look) -> None:
    with pytest.raises(DataError, match="no component 3: they are 0 to 2"):
        mixture.cooccurrence(3)
    with pytest.raises(DataError, match="no feature 'fork'"):
        mixture.cooccurrence(0, ["fork"])
    plain = look(VAE(6))
    for ask in (
        plain.component_table,
        plain.component_profiles,
        plain.component_contrasts,
        plain.component_overlaps,
    ):
        with pytest.raises(NotInModelError, match="no components"):
            ask()
    with pytest.raises(NotInModelError, match="this needs a JointDistribution"):
        look(GaussianMixtureModel(6, 2)).component_profiles()
    with pytest.raises(NotInModelError, match="nothing to be compared with"):
        look(CountMixture(6, 1)).component_contrasts()
