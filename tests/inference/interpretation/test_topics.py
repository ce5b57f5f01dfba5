"""Topics: recovered from simulated data, in tables, against definitions by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy.optimize import linear_sum_assignment

from vae4counts.data import CountLoader, CountMatrix
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import Run, fit
from vae4counts.inference.interpretation import Interpretation, NotInModelError
from vae4counts.inference.interpretation.topics import coherence
from vae4counts.models import VAE, Covariates
from vae4counts.models.likelihoods import Poisson
from vae4counts.models.priors import StandardNormal, TopicPrior

N_TOPICS = 4


@dataclass(frozen=True)
class Made:
    """Counts made of topics: ``shares @ topics`` times a library size."""

    adata: AnnData
    topics: np.ndarray
    shares: np.ndarray


@pytest.fixture(scope="module")
def made() -> Made:
    """600 observations of 40 features in 4 topics, most of them of one or two."""
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(40, 0.15), size=N_TOPICS)
    shares = rng.dirichlet(np.full(N_TOPICS, 0.3), size=600)
    counts = rng.poisson(rng.lognormal(4, 0.3, size=(600, 1)) * (shares @ topics))
    return Made(AnnData(counts.astype(np.float32)), topics, shares)


@pytest.fixture(scope="module")
def run(made: Made) -> Run:
    """A topic model fitted to them."""
    torch.manual_seed(0)
    model = VAE(40, TopicPrior(N_TOPICS), Poisson())
    guide = guide_for(model, encoder=Encoder((32,)))
    return fit(model, guide, made.adata, epochs=40, progress=False, device="cpu")


@pytest.fixture(scope="module")
def view(run: Run, made: Made) -> Interpretation:
    return run.interpret(made.adata)


def matched(found: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match topics, rows of both, by the largest cosines: the order, and the cosines."""
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (found, wanted)]
    cosines = unit[1] @ unit[0].T
    _, order = linear_sum_assignment(-cosines)
    return order, cosines[np.arange(len(order)), order]


def test_the_topics_that_made_the_counts_are_found(view: Interpretation, made: Made) -> None:
    features = view.topic_features()
    assert features.shape == (40, N_TOPICS)
    assert (features.to_numpy() >= 0).all()
    np.testing.assert_allclose(features.sum(), 1)
    order, cosines = matched(features.to_numpy().T, made.topics)
    assert (cosines > 0.95).all()
    weights = view.topic_weights()
    assert list(weights.index) == list(made.adata.obs_names)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    for topic, share in zip(order, made.shares.T, strict=True):
        assert np.corrcoef(weights.iloc[:, topic], share)[0, 1] > 0.9
    table = view.topic_table()
    np.testing.assert_allclose(table["share"].to_numpy()[order], made.shares.mean(0), atol=0.05)
    assert table["observations"].sum() == 600


def test_the_table_of_topics_is_tidy(view: Interpretation) -> None:
    features, shares = view.topic_features(), view.topic_weights().mean()
    for relevance in (0.0, 0.6, 1.0):
        table = view.topics(5, relevance=relevance)
        assert list(table.columns) == ["topic", "rank", "feature", "weight", "lift"]
        assert len(table) == 5 * N_TOPICS
        for topic, rows in table.groupby("topic"):
            assert list(rows["rank"]) == [1, 2, 3, 4, 5]
            np.testing.assert_allclose(rows["weight"], features.loc[rows["feature"], topic])
            lift = np.log2(features[topic] / (features @ shares))
            np.testing.assert_allclose(rows["lift"], lift[rows["feature"]], atol=1e-6)
            score = relevance * np.log2(features[topic]) + (1 - relevance) * lift
            assert set(rows["feature"]) == set(score.nlargest(5).index)
    names = view.topic_table()["name"]
    assert names["0"] == ", ".join(view.topics(3).query("topic == '0'")["feature"])
    with pytest.raises(ValueError, match=r"relevance is 1.5: it must be from 0 to 1"):
        view.topics(relevance=1.5)


def test_topics_of_features_follow_bayes_rule(view: Interpretation) -> None:
    joint = view.topic_features() * view.topic_weights().mean()
    wanted = joint.to_numpy() / joint.to_numpy().sum(1, keepdims=True)
    np.testing.assert_allclose(view.feature_topics(), wanted, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:the features of the data are not in the model's order")
@pytest.mark.filterwarnings("ignore:.* features .* not know")
def test_shares_are_written_and_survive_saving(run: Run, made: Made, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    loaded = Run.load(tmp_path / "run")
    adata = made.adata[:, ::-1].copy()
    adata = AnnData(
        np.hstack([adata.X, np.ones((600, 1), np.float32)]),
        adata.obs,
        pd.DataFrame(index=[*adata.var_names, "unknown"]),
    )
    loaded.annotate(adata)
    view = loaded.interpret(made.adata)
    np.testing.assert_allclose(adata.obsm["topics"].sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(adata.obsm["topics"], view.topic_weights(), atol=1e-6)
    np.testing.assert_allclose(adata.varm["topics"][-2::-1], view.topic_features(), rtol=1e-6)
    assert np.isnan(adata.varm["topics"][-1]).all()
    pd.testing.assert_frame_equal(view.topics(), run.interpret(made.adata).topics())


def npmi(one: np.ndarray, other: np.ndarray) -> float:
    """The normalised pointwise mutual information of two masks, from their table."""
    both, first, second = (one & other).mean(), one.mean(), other.mean()
    if both == 0:
        return -1.0
    return 0.0 if both == 1 else np.log(both / (first * second)) / -np.log(both)


@pytest.mark.filterwarnings("ignore:.* have no counts at all")
def test_coherence_follows_its_definition() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.5, 1, size=(50, 8)))
    counts[:, 0] = 1  # everywhere
    counts[:, 1] = 2
    counts[:, 2] = counts[:, 3]  # together
    counts[:, 4] = 0  # nowhere
    present = counts > 0
    tops = np.array([[0, 1, 5], [2, 3, 6], [4, 2, 7]])
    found = coherence(tops, CountLoader(CountMatrix.from_scipy(counts), batch_size=16))
    for top, value in zip(tops, found, strict=True):
        pairs = [npmi(present[:, i], present[:, j]) for i, j in itertools.combinations(top, 2)]
        assert value == pytest.approx(np.mean(pairs))
    (same,) = coherence(np.array([[2, 3]]), CountLoader(CountMatrix.from_scipy(counts)))
    assert same == pytest.approx(1)
    assert np.isnan(
        coherence(np.array([[2], [3]]), CountLoader(CountMatrix.from_scipy(counts)))
    ).all()


def test_topics_hold_covariates(made: Made) -> None:
    adata = made.adata.copy()
    adata.obs["batch"] = np.where(np.arange(600) % 2, "a", "b")
    adata.X[adata.obs["batch"] == "a", 0] += 20
    model = VAE(40, TopicPrior(2), Poisson(), covariates=Covariates.of(adata, ["batch"]))
    run = fit(model, guide_for(model), adata, epochs=15, progress=False, device="cpu")
    view = run.interpret(adata)
    held = {name: view.holding({"batch": name}).topic_features() for name in ("a", "b")}
    assert (held["a"].iloc[0] > 1.5 * held["b"].iloc[0]).all()
    for features in (view.topic_features(), *held.values()):
        np.testing.assert_allclose(features.sum(), 1)


def test_models_without_topics_say_so(look: Callable[..., Interpretation]) -> None:
    view: Any = look(VAE(6, StandardNormal(2)))
    for question in ("topics", "topic_table", "topic_features", "topic_weights", "feature_topics"):
        with pytest.raises(NotInModelError, match="VAE with StandardNormal has no topics"):
            getattr(view, question)()
