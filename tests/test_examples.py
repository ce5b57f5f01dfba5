"""Every example runs from start to end on data at hand, and its notebook shows that run."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import nbformat
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import torch
from anndata import AnnData
from matplotlib import pyplot as plt
from scipy import stats

from vae4counts.models import Configured
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.priors import PRIORS

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))
import example_data  # noqa: E402
import execute  # noqa: E402

pytestmark = pytest.mark.slow

MOST_BYTES = 600_000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Small data and few epochs, no real data, figures in memory, registries as they were."""
    monkeypatch.setenv("VAE4COUNTS_QUICK", "1")
    monkeypatch.setenv("VAE4COUNTS_DATA", str(tmp_path))
    for variable in execute.REAL:
        monkeypatch.delenv(variable, raising=False)
    # read again as quick
    monkeypatch.delitem(sys.modules, "example_data")
    # numba compiles UMAP for half a minute; test_annotation runs the true ones
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FirstTwo))
    monkeypatch.setattr(sc.pp, "neighbors", lambda _, **__: None)
    monkeypatch.setattr(sc.tl, "umap", lay_out_by_latents)
    registries = (LIKELIHOODS, PRIORS, Configured.registry)
    before = [dict(registry) for registry in registries]
    with mpl.rc_context({"backend": "agg"}), pd.option_context("display.max_colwidth", 50):
        yield
    plt.close("all")
    for registry, kept in zip(registries, before, strict=True):
        registry.clear()
        registry.update(kept)


class FirstTwo:
    """Stands for UMAP, and lays observations out by their first two latents."""

    def __init__(self, **_: Any) -> None: ...

    def fit_transform(self, latents: np.ndarray) -> np.ndarray:
        return latents[:, :2]


def lay_out_by_latents(adata: AnnData, **_: Any) -> None:
    adata.obsm["X_umap"] = adata.obsm["X_vae"][:, :2]


def run(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def committed(name: str) -> nbformat.NotebookNode:
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def test_all_examples_are_listed() -> None:
    here = {path.stem for path in EXAMPLES.glob("*.ipynb")}
    assert here == set(execute.NAMES)
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"({name}.ipynb)" in readme for name in here)


@pytest.mark.parametrize(
    "name", ["pbmc68k", "scene_understanding", "tcga_pancancer", "captions", "cite_seq"]
)
@pytest.mark.filterwarnings("ignore:the mixture:UserWarning")
# of a fit of few epochs
@pytest.mark.filterwarnings("ignore:log p\\(:UserWarning")
def test_an_example_runs_and_says_what_it_runs_on(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run(name)
    assert "a substitute" in capsys.readouterr().out.splitlines()[0]
    assert np.isfinite(names["found"].elbo)


def test_all_models_of_the_zoo_are_compared_and_asked(capsys: pytest.CaptureFixture[str]) -> None:
    names = run("zoo_of_scenes")
    assert "a substitute" in capsys.readouterr().out.splitlines()[0]
    assert set(names["compared"].index) == set(names["MODELS"]) < set(names["answers"])
    assert np.isfinite(names["compared"]["difference_se"]).all()


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("VAE4COUNTS_PBMC68K", "cells"),
        ("VAE4COUNTS_COCO", "pictures"),
        ("VAE4COUNTS_TCGA", "tumours"),
    ],
)
def test_the_data_at_hand_are_taken(
    variable: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    adata, what = getattr(example_data, name)()
    assert "a substitute" in what
    adata[:50].write_h5ad(tmp_path / "mine.h5ad")
    monkeypatch.setenv(variable, str(tmp_path / "mine.h5ad"))
    mine, what = getattr(example_data, name)()
    assert mine.n_obs == 50
    assert f"the data that {variable} names" in what


def test_an_example_runs_on_data_without_the_truth(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only the substitutes have what they were drawn from."""
    scenes = example_data.made_scenes(600)
    scenes.obs = scenes.obs.drop(columns="scene")
    scenes.write_h5ad(tmp_path / "mine.h5ad")
    monkeypatch.setenv("VAE4COUNTS_COCO", str(tmp_path / "mine.h5ad"))
    assert np.isfinite(run("scene_understanding")["found"].elbo)


def test_swapping_goes_by_the_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    class Another(PRIORS["standard-normal"]):  # type: ignore[misc]
        """One that was not there when the example was written."""

    for name in set(LIKELIHOODS) - {"poisson", "categorical"}:
        monkeypatch.delitem(LIKELIHOODS, name)
    for name in set(PRIORS) - {"gaussian-mixture"}:
        monkeypatch.delitem(PRIORS, name)
    monkeypatch.setitem(PRIORS, "another", Another)
    ranked = run("swap_priors_and_likelihoods")["ranked"]
    assert set(ranked.index) == {f"{p} / {k}" for p in PRIORS for k in LIKELIHOODS}
    assert "another / poisson" in ranked.index


def test_posterior_inspection_runs() -> None:
    names = run("posterior_inspection")
    assert names["shares"].sum("component").to_numpy() == pytest.approx(1, abs=1e-5)  # in float32
    assert (names["effective"] >= 1).all()
    assert (names["effective"] <= 500).all()


def test_a_likelihood_and_a_prior_of_ones_own() -> None:
    names = run("write_your_own")
    assert {"geometric"} <= set(LIKELIHOODS)
    assert {"laplace"} <= set(PRIORS)
    likelihood = names["Geometric"]()
    likelihood.build(3)
    outputs = torch.tensor([[0.2, -1.0, 1.5]], dtype=torch.float64, requires_grad=True)
    counts = torch.tensor([[0.0, 2.0, 7.0]], dtype=torch.float64)
    mean = outputs.detach().exp().numpy()
    expected = stats.geom.logpmf(counts.numpy() + 1, 1 / (1 + mean)).sum()
    found = likelihood(outputs, None).log_prob(counts.to_sparse_csr())
    assert found.item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(
        lambda x: likelihood(x, None).log_prob(counts.to_sparse_csr()), [outputs]
    )
    z = torch.tensor([[0.3, -2.0]])
    expected = stats.laplace.logpdf(z.numpy(), scale=0.5**0.5).sum()
    assert names["Laplace"](2).log_prob(z).item() == pytest.approx(expected, rel=1e-5)


def test_a_source_runs_in_a_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(
        "# %% [markdown]\n# # A title\n\n# %%\nfrom vae4counts.models import VAE\n\nVAE(3)\n"
    )
    monkeypatch.setattr(execute, "EXAMPLES", tmp_path)
    notebook = execute.execute("small")
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code"]
    assert "VAE" in outputs(notebook)[0]["data"]["text/plain"]
    assert not faults(notebook)


@pytest.mark.parametrize("name", execute.NAMES)
def test_a_notebook_is_its_source_run(name: str) -> None:
    notebook, source = committed(name), execute.from_source(name)
    assert [(c.cell_type, c.source, c.metadata) for c in notebook.cells] == [
        (c.cell_type, c.source, c.metadata) for c in source.cells
    ], f"run: python examples/execute.py {name}"
    assert outputs(notebook)
    assert not faults(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


@pytest.mark.parametrize("name", execute.NAMES)
def test_a_figure_has_words_for_who_cannot_see_it(name: str) -> None:
    for cell in committed(name).cells:
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            assert cell.metadata["mystnb"]["image"]["alt"], cell.source


@pytest.mark.parametrize("name", execute.NAMES)
def test_a_notebook_is_small_and_of_no_machine(name: str) -> None:
    text = (EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    assert not re.search(r"/home/|/root/|/tmp/|/Users/|site-packages|[A-Z]:\\\\", text)


def test_only_a_notebook_of_real_data_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="zoo_of_scenes shows real data: set VAE4COUNTS_COCO"):
        execute.environment("zoo_of_scenes")
    monkeypatch.setenv("VAE4COUNTS_COCO", "counts.csv")
    assert execute.environment("zoo_of_scenes")["VAE4COUNTS_COCO"] == "counts.csv"
    assert "VAE4COUNTS_COCO" not in execute.environment("captions")


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [out for cell in notebook.cells for out in cell.get("outputs", [])]


def faults(notebook: nbformat.NotebookNode) -> list[str]:
    """Errors, and what was written to standard error: warnings, above all."""
    return [
        out.get("ename") or out.get("text", "")
        for out in outputs(notebook)
        if out.output_type == "error" or out.get("name") == "stderr"
    ]


def test_made_scenes_are_what_they_are_said_to_be() -> None:
    pictures = example_data.made_scenes(20_000, seed=3)
    meals = pictures[pictures.obs["scene"] == "meal", ["fork", "toilet"]].to_df()
    assert meals["fork"].mean() == pytest.approx(0.91, abs=0.05)  # and a stray one in a hundred
    # busy-ness is Gamma(4, 1/4): variance m + m^2 / 4
    assert meals["fork"].var() == pytest.approx(0.91 + 0.9**2 / 4, rel=0.1)
    assert meals["toilet"].mean() == pytest.approx(0.01, abs=0.006)


def test_made_tumours_are_what_they_are_said_to_be() -> None:
    samples = example_data.made_tumours(400, 300)
    reads = np.log1p(samples.to_df())
    kind = samples.obs["primary_disease"].astype(str)
    marker = reads["A_marker_1"]
    fold = marker[kind == "tumour type A"].mean() - marker[kind != "tumour type A"].mean()
    assert 3 - 0.4 <= fold / np.log(2) <= 6 + 0.4
    # depth goes out in the ratio to the genes that nothing moves
    ratio = reads.filter(like="cycle_").mean(axis=1) - reads.filter(like="gene_").mean(axis=1)
    assert np.polyfit(samples.obs["proliferation"], ratio, 1)[0] == pytest.approx(0.6, abs=0.03)
    assert np.corrcoef(samples.obs["proliferation"], ratio)[0, 1] > 0.97
    depth = np.asarray(samples.X.sum(axis=1)).ravel()
    assert np.median(depth) == pytest.approx(5e6, rel=0.1)


def test_made_captions_are_about_their_pictures() -> None:
    pictures = example_data.made_captions(5_000, seed=3)
    words = pd.DataFrame(
        pictures.obsm["captions"].toarray(), columns=pictures.uns["captions_features"]
    )
    # the word of an object is never there without it; half of 20 words are about objects
    forks = pictures[:, "fork"].X.toarray().ravel()
    assert words["fork"][forks == 0].sum() == 0
    some = np.asarray(pictures.X.sum(1)).ravel() > 0
    about = words[list(pictures.var_names)].sum(axis=1)[some]
    assert about.mean() == pytest.approx(9, abs=0.15)
    meals = (pictures.obs["scene"] == "meal").to_numpy()
    assert words["meal photo"][meals].mean() == pytest.approx(2.5, abs=0.15)
    assert words["meal photo"][~meals].sum() == 0


def test_made_cells_carry_the_proteins_of_their_types() -> None:
    cells = example_data.made_cells_with_proteins(4_000, seed=3)
    proteins, kind = cells.obsm["protein"], cells.obs["celltype"]
    means = proteins.groupby(kind, observed=True).mean()
    assert means.loc["B", "CD19"] / means.loc["NK", "CD19"] == pytest.approx(20, rel=0.1)
    t_cells = kind == "CD4 T"
    state = cells.obs["state"][t_cells]
    assert np.corrcoef(state, np.log1p(proteins["CD45RO"][t_cells]))[0, 1] > 0.7
    assert np.corrcoef(state, np.log1p(proteins["CD45RA"][t_cells]))[0, 1] < -0.7
