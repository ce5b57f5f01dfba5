"""Every block of Python in README, CONTRIBUTING and docs runs as it stands, page by page."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts import inference
from vae4counts.data import load_pbmc68k_reduced
from vae4counts.data.readers.registry import READERS
from vae4counts.guides import Encoder, guide_for
from vae4counts.models import GMVAE
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.priors import GaussianMixture

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MAX_README_LINES = 160


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


WITH_PYTHON = {page.name: page for page in PAGES if blocks(page)}


def small_pair() -> tuple[GMVAE, Any]:
    torch.manual_seed(0)
    model = GMVAE(60, GaussianMixture(2, 2), decoder="linear")
    return model, guide_for(model, encoder=Encoder((8,)))


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """60 genes of every other of the 700 cells, CD79 among them, and a column that splits them."""
    adata = load_pbmc68k_reduced()[::2].copy()
    totals = np.asarray(adata.X.sum(0)).ravel()
    kept = set(adata.var_names[np.argsort(-totals)[:57]]) | {"CD79A", "CD79B", "CD3D"}
    adata = adata[:, [name for name in adata.var_names if name in kept]][:, :60].copy()
    parts = np.array(["train", "train", "train", "validation", "test"])
    adata.obs["part"] = parts[np.arange(adata.n_obs) % 5]
    random = np.random.default_rng(0)
    adata.obs["batch"] = random.choice(["A", "B", "C"], adata.n_obs)
    proteins = random.poisson(5.0, (adata.n_obs, 3))
    adata.obsm["protein"] = pd.DataFrame(proteins, adata.obs_names, ["CD3", "CD4", "CD8"])
    adata.obs["treatment"] = random.choice(["drug", "none"], adata.n_obs)
    return adata


FIT: Callable[..., Any] = inference.fit


def quick_fit(*pair_and_data: Any, **settings: Any) -> Any:
    return FIT(*pair_and_data, **(settings | {"epochs": 2, "progress": False}))


@pytest.fixture(scope="module")
def runs(cells: AnnData) -> list[Any]:
    """Two quick fits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit of two epochs is no good one, which is said
        return [quick_fit(*small_pair(), cells, label="celltype") for _ in range(2)]


@pytest.fixture
def names(
    cells: AnnData, runs: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[dict[str, Any]]:
    """What a page may use without making it; fits of two epochs; registries as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inference, "fit", quick_fit)
    registries: list[Any] = [LIKELIHOODS, READERS]
    before = [list(registry) for registry in registries]
    messages = logging.getLogger("vae4counts")
    level = messages.level
    model, guide = small_pair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield {
            "n": 7,
            "adata": cells.copy(),
            "model": model,
            "guide": guide,
            "fit": quick_fit,
            "guide_for": guide_for,
            "run": runs[0],
            "other": runs[1],
        }
    messages.setLevel(level)
    for registry, kept in zip(registries, before, strict=True):
        for name in set(registry) - set(kept):
            del registry[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_every_block_runs(page: str, names: dict[str, Any], tmp_path: Path) -> None:
    for block in blocks(WITH_PYTHON[page]):
        exec(compile(block, page, "exec"), names)  # noqa: S102
    if page == "README.md":
        assert (tmp_path / "runs" / "pbmc" / "model.safetensors").exists()
        assert (tmp_path / "report.html").exists()
        assert {"X_vae", "responsibilities"} <= set(names["adata"].obsm)


def test_the_parts_of_contributing_work(names: dict[str, Any], tmp_path: Path) -> None:
    """Not only their definitions: each is fitted, and the reader reads."""
    for block in blocks(ROOT / "CONTRIBUTING.md"):
        exec(compile(block, "CONTRIBUTING.md", "exec"), names)  # noqa: S102
    from vae4counts.data import load
    from vae4counts.models import VAE

    adata = names["adata"]
    model = VAE(60, names["Laplace"](2), names["Geometric"]())
    run = names["fit"](model, names["LinearGuide"].for_model(model, None), adata)
    assert np.isfinite(run.evaluate(adata, num_samples=5).elbo)
    exact = names["Independent"](60)
    assert np.isfinite(names["fit"](exact, guide_for(exact), adata).evaluate(adata).elbo)
    np.save(tmp_path / "table.npy", np.eye(3))
    assert isinstance(load(tmp_path / "table.npy"), anndata.AnnData)


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
