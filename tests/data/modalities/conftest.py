"""RNA of five cells, proteins of four of which one is a sixth, and methylation with gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data import MultiData


@pytest.fixture
def rna() -> AnnData:
    counts = np.arange(15).reshape(5, 3) % 4 + 1
    return AnnData(
        sp.csr_matrix(counts.astype(np.float32)),
        pd.DataFrame({"batch": list("xxyyy")}, index=[f"c{i}" for i in range(5)]),
        pd.DataFrame(index=["A", "B", "CD4"]),
    )


@pytest.fixture
def protein() -> AnnData:
    return AnnData(
        np.array([[5, 1], [4, 2], [3, 3], [2, 4]], dtype=np.float32),
        pd.DataFrame(
            {"batch": list("yxxz"), "plate": [1, 2, 3, 4]}, index=["c3", "c1", "c0", "new"]
        ),
        pd.DataFrame(index=["CD4", "CD8"]),
    )


@pytest.fixture
def multi(rna: AnnData, protein: AnnData) -> MultiData:
    return MultiData({"rna": rna, "protein": protein})


@pytest.fixture
def with_arrays(rna: AnnData) -> AnnData:
    """One AnnData with further tables in ``obsm``."""
    beta = np.linspace(0, 1, 10, dtype=np.float32).reshape(5, 2)
    beta[1], beta[3, 0] = np.nan, np.nan
    rna.obsm["beta"] = pd.DataFrame(beta, rna.obs_names, ["p1", "p2"])
    rna.obsm["words"] = sp.csr_matrix(np.eye(5, 4, dtype=np.int64))
    rna.uns["words_features"] = np.array(["cat", "dog", "A", "hat"])
    rna.obs["has_words"] = [True, True, True, False, True]
    rna.obsm["sites"] = np.eye(5, 2)
    return rna
