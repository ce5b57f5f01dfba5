"""Scores of integration: against scib-metrics' figures, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from scipy.special import entr

from vae4counts.data import DataError, UnknownName
from vae4counts.guides import guide_for
from vae4counts.inference import Run, fit
from vae4counts.inference.posterior.integration import (
    _weights,
    batch_silhouette,
    clisi,
    graph_connectivity,
    ilisi,
    integration_scores,
)
from vae4counts.models import CountMixture, NotInModelError

Points = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def simulated() -> Points:
    """Four classes in three batches, shifted against each other: points, batches, classes."""
    random = np.random.default_rng(0)
    classes, batches = random.integers(4, size=1000), random.integers(3, size=1000)
    centres = 1.3 * random.normal(size=(4, 5))
    shifts = random.normal(size=(3, 5))
    return centres[classes] + shifts[batches] + random.normal(size=(1000, 5)), batches, classes


def test_scores_are_those_of_scib_metrics(simulated: Points) -> None:
    """Of scib-metrics 0.5.10, on the same points with as many neighbours."""
    points, batches, classes = simulated
    assert ilisi(points, batches) == pytest.approx(0.4840196, abs=1e-5)
    assert clisi(points, classes) == pytest.approx(0.9420977, abs=1e-5)
    assert batch_silhouette(points, batches, classes) == pytest.approx(0.8544496, abs=1e-5)
    assert graph_connectivity(points, classes) == pytest.approx(0.9800294, abs=1e-5)


def test_mixed_batches_score_1_and_separate_ones_0() -> None:
    random = np.random.default_rng(0)
    points, batches = random.normal(size=(600, 3)), np.arange(600) % 2
    assert ilisi(points, batches) > 0.85
    apart = points + 100 * batches[:, None]
    assert ilisi(apart, batches) == pytest.approx(0, abs=1e-6)
    assert clisi(apart, batches) == pytest.approx(1, abs=1e-6)
    classes = np.zeros(600)
    assert batch_silhouette(points, batches, classes) > 0.95
    assert batch_silhouette(apart, batches, classes) < 0.1
    assert graph_connectivity(apart, classes) == pytest.approx(0.5)
    assert graph_connectivity(apart, batches) == pytest.approx(1)


def test_weights_of_a_neighbourhood_have_the_perplexity(simulated: Points) -> None:
    distances = np.sort(np.abs(simulated[0]), axis=1)
    weights = _weights(distances, 3.0)
    np.testing.assert_allclose(np.exp(entr(weights).sum(1)), 3.0, rtol=1e-6)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert np.all(np.diff(weights, axis=1) <= 0)  # the nearer, the more


def test_scores_that_are_not_defined_are_left_out() -> None:
    random = np.random.default_rng(0)
    points = random.normal(size=(40, 2))
    batches = np.array(["a", "b"])[np.arange(40) % 2]
    assert set(integration_scores(points, batches, None)) == {"ilisi"}
    one = np.array(["t"] * 40, dtype=object)
    assert set(integration_scores(points, batches, one)) == {
        "ilisi",
        "batch_silhouette",
        "graph_connectivity",
    }
    # a class in each batch: nothing to tell apart within it
    assert "batch_silhouette" not in integration_scores(points, batches, batches.astype(object))


def test_observations_without_a_class_count_in_the_mixing_alone(simulated: Points) -> None:
    points, batches, classes = simulated
    labels = classes.astype(str).astype(object)
    labels[::3] = np.nan
    known = np.arange(1000) % 3 > 0
    scores = integration_scores(points, batches, labels)
    assert scores["ilisi"] == ilisi(points, batches)
    assert scores["clisi"] == clisi(points[known], classes[known])


@pytest.mark.parametrize("n", [3, 20])
def test_few_and_equal_points(n: int) -> None:
    points, batches = np.zeros((n, 2)), np.arange(n) % 2
    scores = integration_scores(points, batches, np.array(["t"] * n, dtype=object))
    assert all(0 <= score <= 1 for score in scores.values())


@pytest.mark.slow
def test_a_run_measures_the_mixing_of_a_column(run: Run, adata: AnnData) -> None:
    result = run.evaluate(adata, batch="site")
    assert result.ilisi is not None
    assert 0 <= result.ilisi <= 1.2
    assert result.clisi is not None
    assert {"ilisi", "clisi", "graph_connectivity"} <= set(run.metrics)
    assert run.evaluate(adata).ilisi is None
    refined = run.evaluate(adata, batch="site", refine=True)
    assert refined.ilisi == run.metrics["refined_ilisi"]


@pytest.mark.slow
def test_faulty_columns_are_one_clear_error(run: Run, adata: AnnData) -> None:
    with pytest.raises(UnknownName, match="no column 'batch'"):
        run.evaluate(adata, batch="batch")
    adata.obs["site"] = ["x", None] * 50
    with pytest.raises(DataError, match=r"50 observations have no batch in column 'site'.*'cell1'"):
        run.evaluate(adata, batch="site")
    adata.obs["site"] = "x"
    with pytest.raises(DataError, match="have one batch in column 'site'"):
        run.evaluate(adata, batch="site")
    model = CountMixture(7, 2)
    mixture = fit(model, guide_for(model), adata, epochs=1, progress=False)
    with pytest.raises(NotInModelError, match="no latent space in which batches could mix"):
        mixture.evaluate(adata, batch="group")
