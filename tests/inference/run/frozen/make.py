"""Make the run directory of a release that later releases must still open.

Run once a release: ``python tests/inference/run/frozen/make.py``. A directory that exists is never
made again: newer code has to read what older code wrote.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from anndata import AnnData

from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import Run, fit
from vae4counts.models import GMVAE
from vae4counts.models.priors import GaussianMixture

HERE = Path(__file__).parent


def data() -> AnnData:
    """The data of all frozen runs: two kinds of rows, by a formula and no random numbers."""
    rows, columns = np.indices((40, 6))
    counts = (rows * 7 + columns * 5) % 4 * ((rows + columns) % 2)
    names = [f"cell {row}" for row in range(40)]
    obs = pd.DataFrame({"kind": ["ab"[row % 2] for row in range(40)]}, index=names)
    var = pd.DataFrame(index=[f"gene {column}" for column in range(6)])
    return AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=var)


def numbers(run: Run) -> dict[str, object]:
    """Return what a run says about the data, by means that draw no random numbers or very many."""
    adata = data()
    run.annotate(adata)
    result = run.evaluate(adata, num_samples=1000)
    return {
        "X_vae": adata.obsm["X_vae"].tolist(),
        "loadings": adata.varm["loadings"].tolist(),
        "elbo": result.elbo,
        "iw_log_likelihood": result.iw_log_likelihood,
        "n": result.n,
    }


def make(directory: Path) -> None:
    """Fit a small mixture, save it, and write what it says beside it."""
    torch.manual_seed(0)
    model = GMVAE(6, GaussianMixture(2, 3), decoder="linear", library="latent")
    guide = guide_for(model, encoder=Encoder((4,), "log1p"))
    run = fit(model, guide, data(), label="kind", epochs=3, device="cpu", progress=False)
    said = numbers(run)  # evaluation also goes into what is saved
    run.save(directory / "run")
    (directory / "numbers.json").write_text(json.dumps(said, indent=2) + "\n")


if __name__ == "__main__":
    directory = HERE / version("vae4counts")
    if directory.exists():
        raise SystemExit(f"{directory} exists: frozen runs are never made again")
    make(directory)
