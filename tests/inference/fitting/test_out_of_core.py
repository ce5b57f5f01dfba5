"""A run on counts that stay on disk is a run like any other."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from anndata import AnnData
from torch import Tensor

from vae4counts.data import Batch, CountMatrix, DataError, load
from vae4counts.guides import guide_for
from vae4counts.inference import Run, fit
from vae4counts.inference.fitting.start import start_from_latents
from vae4counts.inference.fitting.step import Steps
from vae4counts.models import GMVAE, VAE
from vae4counts.models.priors import GaussianMixture

pytestmark = pytest.mark.slow

SETTINGS = {"epochs": 3, "batch_size": 16, "progress": False, "device": "cpu"}


def fitted(adata: AnnData, n_features: int = 7) -> Run:
    torch.manual_seed(0)
    model = GMVAE(n_features, GaussianMixture(2, 3), decoder="linear", library="latent")
    return fit(model, guide_for(model), adata, label="group", layer="raw", **SETTINGS)


@pytest.fixture
def path(adata: AnnData, tmp_path: Path) -> Path:
    adata.write_h5ad(tmp_path / "counts.h5ad")
    return tmp_path / "counts.h5ad"


@pytest.fixture
def on_disk(path: Path) -> AnnData:
    return load(path, out_of_core=True)


def test_nothing_is_read_whole(on_disk: AnnData) -> None:
    with patch.object(CountMatrix, "from_anndata", side_effect=AssertionError):
        run = fitted(on_disk)
        run.evaluate(on_disk, num_samples=3)
        run.annotate(on_disk)
    assert type(on_disk.layers["raw"]).__name__ == "_CSRDataset"


def test_it_is_known_in_memory_and_on_disk(on_disk: AnnData, adata: AnnData) -> None:
    run, other = fitted(on_disk), fitted(adata)
    np.testing.assert_array_equal(run.split.train, other.split.train)
    assert run.fingerprint == other.fingerprint
    assert run.knows(adata)
    assert other.knows(on_disk)
    assert run.evaluate(on_disk, num_samples=3) == run.evaluate(adata, num_samples=3)
    run.annotate(on_disk)
    run.annotate(adata)
    for name in ("X_vae", "responsibilities"):
        np.testing.assert_array_equal(on_disk.obsm[name], adata.obsm[name])
    assert on_disk.obs["component"].equals(adata.obs["component"])


def test_a_small_buffer_learns_as_much(on_disk: AnnData, adata: AnnData) -> None:
    longer = {"epochs": 60, "batch_size": 10}
    with patch.dict(SETTINGS, longer), patch("vae4counts.data.counts.file.BUFFER", 100):
        small = fitted(on_disk)
        whole = fitted(adata)
    start = fitted(adata).evaluate(adata).elbo
    assert small.evaluate(adata).elbo == pytest.approx(whole.evaluate(adata).elbo, abs=0.3)
    assert small.evaluate(adata).elbo > start + 0.5


@pytest.mark.filterwarnings("ignore:the features of the data are not in")  # as they are meant to be
def test_features_are_found_by_name(on_disk: AnnData, adata: AnnData) -> None:
    run = fitted(adata[:, 1:][:, ::-1].copy(), n_features=6)
    assert run.evaluate(on_disk, num_samples=2) == run.evaluate(adata, num_samples=2)
    run.annotate(on_disk)
    assert np.isnan(on_disk.varm["loadings"][0]).all()
    assert np.isfinite(on_disk.varm["loadings"][1:]).all()


def test_a_view_on_disk_cannot_be_annotated(on_disk: AnnData) -> None:
    run = fitted(on_disk)
    with pytest.raises(DataError, match="view of data on disk"):
        run.annotate(on_disk[:50])


def test_components_start_from_enough_points(adata: AnnData) -> None:
    """Draws of few observations, a sample of many."""
    pair = VAE(7, GaussianMixture(2, 3))
    guide = guide_for(pair)
    guide.attach(pair)
    counts = CountMatrix.from_anndata(adata)
    assert len(counts) == 100
    starts = []
    for enough in (1000, 250, 30):
        with (
            patch("vae4counts.inference.fitting.start.MAX_GROUPED_POINTS", enough),
            patch.object(pair.prior, "start_at") as start_at,
        ):
            start_from_latents(pair, pair, guide, counts, seed=0)
        starts.append(start_at.call_args.args)
    for (z, shares), n in zip(starts, (300, 200, 30), strict=True):
        assert (z.shape, shares.shape) == ((n, 2), (n, 3))


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # of the format of zarr that is written
def test_a_file_that_vanishes_while_it_is_read(
    suffix: str, adata: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open stays readable; what is gone is an error, and not zeros."""
    path = tmp_path / f"gone{suffix}"
    (adata.write_h5ad if suffix == ".h5ad" else adata.write_zarr)(path)
    stored = load(path, out_of_core=True)
    take = Steps.take

    def vanish(steps: Steps, batch: Batch) -> Tensor | None:
        if path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return take(steps, batch)

    monkeypatch.setattr(Steps, "take", vanish)
    if suffix == ".h5ad":
        assert np.isfinite(fitted(stored).history.train_elbo).all()
    else:
        with pytest.raises(DataError, match="has changed since it was opened"):
            fitted(stored)
