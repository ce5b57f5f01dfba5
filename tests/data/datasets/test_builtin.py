from __future__ import annotations

import anndata
import numpy as np
import pytest
import scanpy
import scipy.sparse as sp
from sklearn import datasets

from vae4counts.data import (
    DATASETS,
    CountMatrix,
    DataError,
    load,
    load_digits,
    load_pbmc68k_reduced,
)
from vae4counts.data.datasets.builtin import recover_counts


def test_pbmc68k_reduced() -> None:
    adata = load_pbmc68k_reduced()
    shipped = scanpy.datasets.pbmc68k_reduced()
    assert (adata.X.format, adata.X.dtype) == ("csr", np.int32)
    assert list(adata.var_names) == list(shipped.var_names)
    assert list(adata.obs_names) == list(shipped.obs_names)
    assert adata.obs["celltype"].nunique() == 10
    assert adata.obs["celltype"].tolist() == shipped.obs["bulk_labels"].tolist()
    np.testing.assert_array_equal(adata.obsm["X_umap"], shipped.obsm["X_umap"])
    counts = CountMatrix.from_anndata(adata)  # no zero rows or columns: no warning
    assert counts.values.min() == 1
    assert counts.values.max() == 259
    # each cell's counts are proportional to the exponentials of the shipped logarithms
    if shipped.raw is not None:
        scaled = np.expm1(shipped.raw.X.toarray().astype(np.float64))
        share = scaled / scaled.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(
            adata.X.toarray() / counts.library.numpy()[:, None], share, rtol=0.01
        )


def test_pbmc68k_reduced_prefers_the_layer_of_newer_scanpy(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = scanpy.datasets.pbmc68k_reduced()
    shipped.layers["counts"] = sp.csr_matrix(np.full(shipped.shape, 3.0, dtype=np.float32))
    monkeypatch.setattr(scanpy.datasets, "pbmc68k_reduced", lambda: shipped)
    assert (load_pbmc68k_reduced().X.toarray() == 3).all()


def test_recover_counts_inverts_log_normalisation(rng: np.random.Generator) -> None:
    counts = rng.poisson(1.5, size=(30, 20))
    counts[:, 0] = 1
    counts[[0, 13, 29]] = 0  # rows without counts, at both ends and between
    scale = rng.uniform(0.1, 9, size=(30, 1))
    recovered = recover_counts(sp.csr_matrix(np.log1p(counts * scale)))
    np.testing.assert_array_equal(recovered.toarray(), counts)


def test_recover_counts_refuses_rows_without_a_count_of_one() -> None:
    with pytest.raises(DataError, match=r"a value is 0\.50 off a whole number"):
        recover_counts(sp.csr_matrix(np.log1p([[2.0, 3.0]])))


def test_digits() -> None:
    adata = load_digits()
    bunch = datasets.load_digits()
    np.testing.assert_array_equal(adata.X.toarray(), bunch.data)
    assert adata.X.dtype == np.int32
    assert adata.obs["digit"].tolist() == [str(digit) for digit in bunch.target]
    assert adata.obs["digit"].dtype == "category"
    assert adata[:, "pixel_2_3"].X.toarray().ravel().tolist() == bunch.images[:, 2, 3].tolist()
    with pytest.warns(UserWarning, match="3 of 64 features have no counts at all"):
        CountMatrix.from_anndata(adata)


@pytest.mark.parametrize("name", [name for name, known in DATASETS.items() if not known.files])
def test_every_installed_data_set_loads_by_name(name: str) -> None:
    adata = load(name)
    assert isinstance(adata, anndata.AnnData)
    assert adata.shape == DATASETS[name].shape
    assert adata.X.format == "csr"
    assert adata.obs_names.is_unique
