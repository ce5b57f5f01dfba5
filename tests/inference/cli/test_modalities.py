"""Several tables on the command line: fit, evaluate, annotate, report, compare and predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from typer.testing import Result

from vae4counts import inference
from vae4counts.data import DATASETS, MultiData, features_of, load
from vae4counts.data.counts.layers import layer_names
from vae4counts.data.modalities.h5mu import write_h5mu
from vae4counts.inference import Run
from vae4counts.inference.report.reproduce import python_lines
from vae4counts.models.likelihoods import Gaussian, NegativeBinomial, NegativeBinomialBackground

pytestmark = pytest.mark.slow

QUICK = ("--epochs", 2, "--latents", 2, "--components", 2, "--device", "cpu")
BOTH = ("--modality", "rna=negative-binomial", "--modality", "protein=gaussian")


def with_protein(counts: AnnData) -> AnnData:
    """Give the observations of `made_counts` a table of three numbers, of which ten lack it."""
    group = counts.obs["group"].cat.codes.to_numpy()
    values = np.random.default_rng(1).normal(np.eye(3)[group] * 3, 0.5)
    values[:10] = np.nan
    counts.obsm["protein"] = pd.DataFrame(values, counts.obs_names, ["p0", "p1", "p2"])
    return counts


@pytest.fixture
def h5ad(counts: AnnData, tmp_path: Path) -> Path:
    with_protein(counts).write_h5ad(tmp_path / "both.h5ad")
    return tmp_path / "both.h5ad"


@pytest.fixture
def h5mu(counts: AnnData, tmp_path: Path) -> Path:
    protein = AnnData(np.arange(60.0).reshape(20, 3) % 7, counts.obs[70:][[]])
    protein.var_names = ["p0", "p1", "p2"]
    write_h5mu(MultiData({"rna": counts, "protein": protein}), tmp_path / "both.h5mu")
    return tmp_path / "both.h5mu"


def ok(done: Result) -> Result:
    assert done.exit_code == 0, done.output
    return done


def test_arrays_of_an_h5ad_file(
    run: Callable[..., Result],
    h5ad: Path,
    tmp_path: Path,
    without_figures: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    ok(run("fit", h5ad, "--out", out, *BOTH, "--top-features", 8, "--label", "group", *QUICK))
    fitted = Run.load(out)
    assert fitted.modalities == {"rna": "X", "protein": "obsm/protein"}
    assert fitted.widths == {"rna": 8, "protein": 3}
    assert fitted.model.title == "MultiVAE with GaussianMixture"
    assert isinstance(fitted.model.modalities["protein"].likelihood, Gaussian)
    asked: dict[str, Any] = {}
    note = lambda model, _, data, **options: asked.update(options, model=model, data=data)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(inference, "fit", note)
        exec(python_lines(fitted), {})  # noqa: S102
    assert asked["model"].config() == fitted.model.config()
    assert features_of(asked["data"]) == fitted.features
    assert "modalities" not in asked  # they were found before their features were chosen
    annotated = ad.read_h5ad(out / "annotated.h5ad")
    assert annotated.obsm["X_vae"].shape == (90, 2)
    done = ok(run("evaluate", out, "--of", "protein"))
    assert "log p(protein | rna), nats per observation" in done.output
    assert "given those of another observation" in done.output
    ok(run("annotate", out, "--data", h5ad, "--out", tmp_path / "again.h5ad"))
    other = tmp_path / "other"
    ok(run("fit", h5ad, "--out", other, *BOTH, "--top-features", 8, "--decoder", "linear", *QUICK))
    done = ok(run("compare", out, other, "--samples", 100))
    assert "Log-likelihood of held-out observations" in done.output


def test_an_h5mu_file(
    run: Callable[..., Result], h5mu: Path, tmp_path: Path, without_figures: None
) -> None:
    out = tmp_path / "run"
    protein = "protein=negative-binomial-background"
    done = run(
        "fit", h5mu, "--out", out, "--modality", "rna", "--modality", protein, "--model", "vae",
        "--library", "latent", "--epochs", 2, "--latents", 2,
    )  # fmt: skip
    ok(done)
    fitted = Run.load(out)
    assert fitted.guide.sites == ("rna_library", "protein_library", "z")
    kinds = {name: type(each.likelihood) for name, each in fitted.model.modalities.items()}
    assert kinds == {"rna": NegativeBinomial, "protein": NegativeBinomialBackground}
    assert fitted.model.mixture_prior is None
    annotated = load(out / "annotated.h5mu")
    assert annotated.obsm["X_vae"].shape == (90, 2)
    page = tmp_path / "page.html"
    ok(run("report", out, "--out", page))
    assert "could not be made" not in page.read_text()


def test_predict(
    run: Callable[..., Result], h5ad: Path, tmp_path: Path, without_figures: None
) -> None:
    out = tmp_path / "run"
    ok(run("fit", h5ad, "--out", out, *BOTH, *QUICK))
    table, file = tmp_path / "protein.csv", tmp_path / "protein.h5ad"
    ok(run("predict", out, "--of", "protein", "--given", "rna", "--out", table))
    means = pd.read_csv(table, index_col=0)
    assert means.shape == (90, 3)
    assert list(means.columns) == ["p0", "p1", "p2"]
    ok(run("predict", out, h5ad, "--of", "protein", "--out", file, "--quantile", 0.5))
    found = ad.read_h5ad(file)
    np.testing.assert_allclose(found.X, means.to_numpy(), rtol=1e-5)
    assert layer_names(found) == ["q0.5"]
    assert found.obs["effective_draws"].between(0, 1).all()
    without = ad.read_h5ad(h5ad)
    del without.obsm["protein"]
    without.write_h5ad(tmp_path / "new.h5ad")
    new = tmp_path / "new.csv"
    ok(run("predict", out, tmp_path / "new.h5ad", "--of", "protein", "--out", new))
    pd.testing.assert_frame_equal(pd.read_csv(new, index_col=0), means, rtol=1e-5)
    for words, said in (
        (("--of", "dna", "--out", "x.csv"), "no table 'dna'"),
        (("--of", "rna", "--given", "rna", "--out", "x.csv"), "give other tables"),
        (("--of", "rna", "--out", "x.txt"), "neither a .csv nor a .h5ad file"),
        (("--of", "rna", "--out", "x.csv", "--quantile", 0.5), "quantiles are layers of an .h5ad"),
        (("--of", "rna", "--out", "x.h5ad", "--quantile", 2), "between 0 and 1"),
        (("--of", "rna", "--out", table), "exists already"),
    ):
        refused(run("predict", out, *words), said)


def test_further_tables_of_a_data_set(
    run: Callable[..., Result],
    counts: AnnData,
    tmp_path: Path,
    without_figures: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = counts[:, :5].copy()
    words.var_names = [f"word{j}" for j in range(5)]
    known = replace(
        DATASETS["digits"],
        loader=lambda _: counts.copy(),
        modalities={"captions": lambda _: words.copy()},
    )
    monkeypatch.setitem(DATASETS, "both", known)
    out = tmp_path / "run"
    options = ("--modality", "objects", "--modality", "captions=multinomial")
    ok(run("fit", "both", "--out", out, *options, *QUICK))
    fitted = Run.load(out)
    assert fitted.modalities == {"objects": "X", "captions": "obsm/captions"}
    assert "load('both', modalities=['captions'])" in python_lines(fitted)
    ok(run("evaluate", out, "--of", "captions", "--given", "objects"))


def refused(done: Result, said: str) -> None:
    assert done.exit_code == 2, done.output
    assert said in done.output.replace("\n", " ")
    assert done.output.count("vae4counts: error") == 1
    assert len(done.output.strip().splitlines()) == 1 or "warning" in done.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--modality", "rna=nb"], "no likelihood 'nb'"),
        (["--modality", "=gaussian"], "it must be of the form protein=gaussian"),
        (["--modality", "rna="], "it must be of the form protein=gaussian"),
        (["--modality", "rna=gaussian@"], "it must be of the form protein=gaussian"),
        (["--modality", "rna", "--modality", "rna"], "names 'rna' twice"),
        (["--modality", "a", "--modality", "b"], "'a' and 'b' are both X: say where they are"),
        (["--modality", "rna=poisson@obsm/adt"], "no array in obsm 'adt'"),
        (["--modality", "rna=poisson@here"], "is said to be at 'here', but a place is"),
        (["--modality", "protein=poisson"], "'protein' has a negative value"),
        (["--modality", "rna", "--round"], "--round is for one table"),
        (["--modality", "rna", "--model", "count-mixture"], "--modality is for gmvae and vae"),
    ],
)
def test_bad_modalities(
    run: Callable[..., Result], h5ad: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    refused(run("fit", h5ad, "--out", tmp_path / "run", *options), said)
    assert not (tmp_path / "run").exists()


def test_a_file_of_modalities_asks_for_their_names(
    run: Callable[..., Result], h5mu: Path, tmp_path: Path
) -> None:
    said = "name those to fit with --modality rna=negative-binomial, once for each"
    refused(run("fit", h5mu, "--out", tmp_path / "run"), said)


def test_tables_are_named_where_there_are_several(
    run: Callable[..., Result], counts_file: Path, tmp_path: Path, without_figures: None
) -> None:
    out = tmp_path / "run"
    ok(run("fit", counts_file, "--out", out, *QUICK))
    refused(run("evaluate", out, "--given", "rna"), "name it with --of")
    refused(run("evaluate", out, "--of", "counts"), "give other tables, which are none")
