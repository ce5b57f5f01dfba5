from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner, Result

from vae4counts.inference.cli import app


def made_counts(n_obs: int = 90, n_vars: int = 12, seed: int = 0) -> ad.AnnData:
    """Three groups of observations, each with four features of its own."""
    random = np.random.default_rng(seed)
    group = np.arange(n_obs) % 3
    rates = 0.5 + 8.0 * (np.arange(n_vars)[None] // 4 == group[:, None])
    return ad.AnnData(
        sp.csr_matrix(random.poisson(rates).astype(np.float32)),
        obs=pd.DataFrame(
            {"group": pd.Categorical([f"g{g}" for g in group])},
            index=[f"obs{i}" for i in range(n_obs)],
        ),
        var=pd.DataFrame(index=[f"f{j}" for j in range(n_vars)]),
    )


@pytest.fixture(scope="session")
def make_counts() -> Callable[..., ad.AnnData]:
    """The function `made_counts`."""
    return made_counts


@pytest.fixture
def counts() -> ad.AnnData:
    return made_counts()


@pytest.fixture
def counts_file(counts: ad.AnnData, tmp_path: Path) -> Path:
    path = tmp_path / "counts.h5ad"
    counts.write_h5ad(path)
    return path


@pytest.fixture
def run() -> Callable[..., Result]:
    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures of fits, a third of a command's time, where nothing is said of them."""
    monkeypatch.setattr("vae4counts.inference.cli.results.draw_figures", lambda *_, **__: True)
