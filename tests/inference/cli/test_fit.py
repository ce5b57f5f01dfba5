import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from unittest.mock import patch

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner, Result

from vae4counts.data import FEATURE_SCORES, CountMatrix
from vae4counts.guides import GUIDES
from vae4counts.inference import Run
from vae4counts.inference.cli import app
from vae4counts.inference.fitting.options import BasicOptions, Compute, Schedule, SplitOptions
from vae4counts.models import GMVAE, VAE, CountMixture
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.networks import DECODERS
from vae4counts.models.priors import PRIORS, GaussianMixture

pytestmark = pytest.mark.slow

FILES = {
    "annotated.h5ad",
    "components.png",
    "config.json",
    "diagnosis.png",
    "history.csv",
    "history.png",
    "latent.png",
    "metrics.json",
    "model.safetensors",
}
METRICS = {
    "n_train",
    "n_test",
    "n_features",
    "elbo",
    "iw_log_likelihood",
    "iw_samples",
    "components_used",
    "component_perplexity",
    "ari",
    "nmi",
    "epochs",
    "seconds",
    "observations_per_second",
}
QUICK = ("--epochs", 3, "--latents", 2)
THREE = (*QUICK, "--components", 3)


@pytest.fixture(scope="module")
def fitted(
    make_counts: Callable[..., ad.AnnData], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run, alone in its directory; tests read it."""
    place = tmp_path_factory.mktemp("fitted")
    make_counts().write_h5ad(place / "counts.h5ad")
    out = place / "runs" / "first"
    words = ("fit", place / "counts.h5ad", "--out", out, "--label", "group", *THREE)
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 0, result.output
    return out


def test_it_leaves_every_file(fitted: Path) -> None:
    assert {path.name for path in fitted.iterdir()} == FILES
    assert [path.name for path in fitted.parent.iterdir()] == ["first"]


def test_its_metrics_say_what_was_measured(fitted: Path) -> None:
    metrics = json.loads((fitted / "metrics.json").read_text())
    assert set(metrics) >= METRICS
    assert (metrics["n_train"], metrics["n_test"], metrics["n_features"]) == (72, 9, 12)
    assert metrics["elbo"] < metrics["iw_log_likelihood"] < 0
    assert metrics["elbo"] == pytest.approx(sum(metrics["elbo_parts"].values()), abs=1e-3)
    assert 1 <= metrics["components_used"] <= 3
    history = pd.read_csv(fitted / "history.csv")
    assert len(history) == metrics["epochs"]


def test_the_data_are_annotated_and_their_counts_kept(fitted: Path, counts: ad.AnnData) -> None:
    annotated = ad.read_h5ad(fitted / "annotated.h5ad")
    np.testing.assert_array_equal(annotated.X.toarray(), counts.X.toarray())
    assert annotated.obsm["X_vae"].shape == (90, 2)
    assert np.allclose(annotated.obsm["responsibilities"].sum(1), 1, atol=1e-5)
    assert set(annotated.obs["component"].cat.categories) <= {"0", "1", "2"}
    assert (annotated.obs["component_entropy"] >= 0).all()


def test_its_run_evaluates_to_the_same_numbers(fitted: Path, counts: ad.AnnData) -> None:
    stored = Run.load(fitted)
    assert isinstance(stored.model, GMVAE)
    again = stored.evaluate(counts).to_dict()
    before = json.loads((fitted / "metrics.json").read_text())
    assert again == {key: before[key] for key in again}


def test_evaluate_takes_the_fitted_data_or_other(
    fitted: Path, run: Callable[..., Result], counts_file: Path
) -> None:
    own = run("evaluate", fitted, "--samples", 5)
    assert own.exit_code == 0, own.output
    assert "│ 9 " in own.output
    counts = ad.read_h5ad(counts_file)
    counts.obs_names = [f"new{i}" for i in range(counts.n_obs)]
    counts.write_h5ad(counts_file)
    other = run("evaluate", fitted, "--data", counts_file, "--samples", 5)
    assert other.exit_code == 0, other.output
    assert "│ 90 " in other.output


@pytest.mark.parametrize(
    "options",
    [
        ("--model", "vae"),
        ("--components", 3),
        ("--model", "vae", "--decoder", "linear", "--likelihood", "poisson"),
        ("--model", "vae", "--prior", "flow", "--latents", 3),
        ("--model", "vae", "--prior", "topics", "--latents", 4),
        ("--decoder", "topics", "--guide", "full-covariance"),
        ("--prior", "vamp", "--likelihood", "zero-inflated-poisson"),
        ("--guide", "joint", "--likelihood", "categorical"),
        ("--top-features", 7, "--likelihood", "multinomial", "--batch-size", 7, "--seed", 3),
    ],
)
def test_options_choose_the_parts(
    options: tuple[object, ...], run: Callable[..., Result], counts_file: Path, tmp_path: Path
) -> None:
    result = run("fit", counts_file, "--out", tmp_path / "out", *QUICK, *options)
    assert result.exit_code == 0, result.output
    stored = Run.load(tmp_path / "out")
    assert isinstance(stored.model, VAE)
    assert len(stored.features) == (7 if "--top-features" in options else 12)
    assert (stored.loadings() is not None) == ("linear" in options)
    assert (stored.model.pure_topics() is not None) == ("topics" in options)
    assert (tmp_path / "out" / "topics.png").exists() == ("topics" in options)
    assert stored.metrics["ari"] is None


def test_a_sparse_prior(run: Callable[..., Result], counts_file: Path, tmp_path: Path) -> None:
    options = ("--components", 6, "--concentration", 0.1)
    result = run("fit", counts_file, "--out", tmp_path / "out", *QUICK, *options)
    assert result.exit_code == 0, result.output
    stored = Run.load(tmp_path / "out").model
    assert isinstance(stored, VAE)
    assert isinstance(stored.prior, GaussianMixture)
    assert stored.prior.concentration == 0.1


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # of the format of zarr that is written
def test_counts_can_stay_on_disk(
    suffix: str, run: Callable[..., Result], counts: ad.AnnData, tmp_path: Path
) -> None:
    source, out = tmp_path / f"counts{suffix}", tmp_path / "out"
    (counts.write_h5ad if suffix == ".h5ad" else counts.write_zarr)(source)
    options = ("--out-of-core", "--label", "group", "--top-features", 7, "--decoder", "linear")
    result = run("fit", source, "--out", out, *QUICK, *options)
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == FILES | {"loadings.png"}
    annotated = ad.read_h5ad(out / "annotated.h5ad")
    assert annotated.X is None
    assert annotated.obsm["X_vae"].shape == (90, 2)
    assert np.isfinite(annotated.varm["loadings"]).all(1).sum() == 7
    assert list(annotated.obs_names) == list(counts.obs_names)
    before = json.loads((out / "metrics.json").read_text())
    with patch.object(CountMatrix, "from_anndata", side_effect=AssertionError):
        again = run("evaluate", out)
    assert again.exit_code == 0, again.output
    assert f"{before['elbo']:,.3f}" in again.output
    assert Run.load(out).evaluate(counts).elbo == pytest.approx(before["elbo"], rel=1e-6)


def test_observations_and_features_are_filtered(
    run: Callable[..., Result], counts: ad.AnnData, tmp_path: Path
) -> None:
    dense = counts.X.toarray()
    dense[:10] = 0
    dense[:10, 2] = 1
    dense[15:, 5] = 0
    counts.X = sp.csr_matrix(dense)
    counts.write_h5ad(tmp_path / "counts.h5ad")
    options = ("--min-counts", 2, "--min-observations", 20, "--top-features", 11)
    result = run("fit", tmp_path / "counts.h5ad", "--out", tmp_path / "out", *QUICK, *options)
    assert result.exit_code == 0, result.output
    stored = Run.load(tmp_path / "out")
    assert "f5" not in stored.features
    assert len(stored.features) == 11
    used = np.concatenate([stored.split.train, stored.split.validation, stored.split.test])
    np.testing.assert_array_equal(np.sort(used), np.arange(10, 90))
    assert stored.metrics["n_train"] == 64
    assert ad.read_h5ad(tmp_path / "out" / "annotated.h5ad").shape == (90, 12)
    assert run("evaluate", tmp_path / "out").exit_code == 0


def test_splits_by_columns(run: Callable[..., Result], counts: ad.AnnData, tmp_path: Path) -> None:
    counts.obs["donor"] = [f"d{i % 10}" for i in range(90)]
    counts.write_h5ad(tmp_path / "counts.h5ad")
    for option, column in (("--stratify", "group"), ("--group", "donor")):
        out = tmp_path / column
        result = run("fit", tmp_path / "counts.h5ad", "--out", out, *QUICK, option, column)
        assert result.exit_code == 0, result.output
        split = Run.load(out).split
        tested = counts.obs[column].iloc[split.test].value_counts()
        assert sorted(tested[tested > 0]) == ([3, 3, 3] if column == "group" else [9])


def test_a_split_by_a_column(
    run: Callable[..., Result], counts: ad.AnnData, tmp_path: Path
) -> None:
    parts = np.array(["train"] * 5 + ["validation"] * 2 + ["test"] * 2 + [""])[np.arange(90) % 10]
    counts.obs["part"] = parts
    counts.write_h5ad(tmp_path / "counts.h5ad")
    out = tmp_path / "out"
    result = run("fit", tmp_path / "counts.h5ad", "--out", out, *QUICK, "--split", "part")
    assert result.exit_code == 0, result.output
    stored = Run.load(out)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(stored.split, name), np.flatnonzero(parts == name))
    assert "--split part" in stored.settings["command"]
    assert stored.settings["split"]["column"] == "part"


def test_a_mixture_without_a_network(
    run: Callable[..., Result], counts_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ("--model", "count-mixture", "--components", 3, "--label", "group", "--epochs", 20)
    result = run("fit", counts_file, "--out", out, *options)
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == FILES - {"latent.png", "diagnosis.png"}
    stored = Run.load(out)
    assert isinstance(stored.model, CountMixture)
    assert stored.model.n_components == 3
    assert run("report", out).exit_code == 0


def test_datasets_lists_what_is_known(run: Callable[..., Result]) -> None:
    result = run("datasets")
    assert result.exit_code == 0
    assert "pbmc68k-reduced" in result.output
    assert "1,797 x 64" in result.output


def test_help_teaches(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    result = run("fit", "--help")
    assert result.exit_code == 0
    words = (*LIKELIHOODS, *PRIORS, *GUIDES, *DECODERS, *FEATURE_SCORES, "counts are raw")
    assert all(word in result.output for word in words)


def test_every_option_of_a_fit_is_an_option_of_the_command(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    shown = " ".join(run("fit", "--help").output.split())
    for kind in (BasicOptions, SplitOptions, Schedule, Compute):
        for option in (each for each in fields(kind) if each.metadata):
            flag = "split" if option.name == "column" else option.name.replace("_", "-")
            help_text = option.metadata["help"]
            assert f"--{flag} " in shown
            assert help_text in shown, flag
