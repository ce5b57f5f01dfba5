"""Figures of the checks: what they show, and on whose axes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt

from vae4counts.data import CountLoader, CountMatrix
from vae4counts.guides import guide_for
from vae4counts.inference import Run
from vae4counts.inference.plots import checks as check_plots
from vae4counts.inference.posterior.predictive_checks import PredictiveChecks, check
from vae4counts.models import VAE
from vae4counts.models.priors import StandardNormal

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def checks(run: Run, adata: AnnData) -> PredictiveChecks:
    return run.check(adata, 20)


@pytest.mark.parametrize("name", check_plots.FIGURES)
def test_a_figure_tells_its_check(name: str, checks: PredictiveChecks) -> None:
    ax = check_plots.FIGURES[name](checks)
    row = checks.table.loc[name]
    title = ax.get_title()
    assert f"discrepancy {row['discrepancy']:.1f}" in title
    assert f"p = {row['p_value']:.2g}" in title
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    ax.figure.canvas.draw()


@pytest.mark.parametrize("name", check_plots.FIGURES)
def test_a_figure_is_drawn_where_it_is_wanted(name: str, checks: PredictiveChecks) -> None:
    _, (_, wanted) = plt.subplots(1, 2)
    assert check_plots.FIGURES[name](checks, ax=wanted) is wanted
    assert len(plt.get_fignums()) == 1


def test_features_outside_of_their_interval_stand_out(checks: PredictiveChecks) -> None:
    checks.observed["zeros"][:] = np.median(checks.replicated["zeros"], axis=0)
    checks.observed["zeros"][:2] = 1.5
    ax = check_plots.zeros(checks)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "features inside: 71%" in labels
    assert "features outside: 29%" in labels
    assert any("replicates from the model" in label for label in labels)
    outside = ax.collections[-1].get_offsets()
    np.testing.assert_allclose(outside[:, 0], 1.5)


def test_replicates_and_given_libraries_are_named(run: Run, adata: AnnData) -> None:
    posterior = run.check(adata, 5, replicates="posterior")
    posterior.table.loc["library size", "p_value"] = np.nan
    ax = check_plots.library_size(posterior)
    assert "given, not modelled" in ax.get_title()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert any("given each observation" in label for label in labels)


DEGENERATE = {
    "all zero": np.zeros((6, 3)),
    "constant": np.ones((6, 3)),
    "one observation": np.array([[0.0, 2, 1]]),
    "one feature": np.arange(6.0)[:, None],
    "a feature without counts": np.array([[0.0, 2, 1], [0, 3, 1]]),
}


@pytest.mark.parametrize("name", check_plots.FIGURES)
@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.filterwarnings("ignore:.* have no counts at all")
def test_data_in_which_hardly_anything_varies(kind: str, name: str) -> None:
    counts = DEGENERATE[kind]
    model = VAE(counts.shape[1], StandardNormal(1)).eval()
    matrix = CountMatrix.from_anndata(AnnData(counts.astype(np.float32)))
    features = [f"f{j}" for j in range(counts.shape[1])]
    found = check(model, guide_for(model).eval(), CountLoader(matrix), features, 5)
    ax = check_plots.FIGURES[name](found)
    ax.figure.canvas.draw()
