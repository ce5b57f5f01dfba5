from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

from vae4counts.data import DataError, counts_of, load, round_counts

EXPECTED = np.array([[12.0, 0.4, 220.62], [3.5, 7.0, 0.0]])
ROUNDED = [[12, 0, 221], [4, 7, 0]]


@pytest.mark.parametrize("layer", [None, "expected", "raw"])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_expected_counts_are_named_and_rounded(layer: str | None, form: type) -> None:
    adata = anndata.AnnData(form(EXPECTED), layers={"expected": form(EXPECTED)})
    adata.raw = adata.copy()
    with pytest.raises(DataError, match=r"look like expected counts of RSEM.*--round"):
        counts_of(adata, layer)
    with pytest.warns(UserWarning, match=r"3 of 5 values .* have been rounded .*220\.62"):
        rounded = round_counts(adata, layer)
    matrix = rounded.X if layer is None else rounded.layers[layer]
    assert matrix.toarray().tolist() == ROUNDED
    assert counts_of(rounded, layer).library.tolist() == [233, 11]
    assert adata.X.sum() == EXPECTED.sum()  # as it was


def test_whole_counts_stay_as_they_are() -> None:
    adata = anndata.AnnData(np.array([[1.0, 2.0]]))
    assert round_counts(adata).X.toarray().tolist() == [[1, 2]]  # without a warning


@pytest.mark.parametrize(
    "values",
    [
        np.log1p(np.array([[1, 5, 0], [2, 0, 7]])),
        np.array([[400_000.5, 599_999.5], [999_999.5, 0.5]]),  # per million
    ],
)
def test_normalised_values_are_not_called_expected_counts(values: np.ndarray) -> None:
    with pytest.raises(DataError, match="These look log-normalised"):
        counts_of(anndata.AnnData(values))


def test_counts_on_disk_are_not_rounded(tmp_path: Path) -> None:
    anndata.AnnData(sp.csr_matrix(EXPECTED)).write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(DataError, match="on disk cannot be rounded"):
        round_counts(load(tmp_path / "a.h5ad", out_of_core=True))


@pytest.mark.parametrize("n_measured", [1, 2])
@pytest.mark.parametrize("value", [0.5, 51.477, 1e3 + 0.25])
def test_fractions_in_few_features_are_not_called_expected_counts(
    n_measured: int, value: float
) -> None:
    values = np.random.default_rng(0).poisson(2.0, (6, 10)).astype(float)
    values[:, :n_measured] = value
    message = f"{value}.*Only {n_measured} of 10 features have such values .* belongs into obs"
    with pytest.raises(DataError, match=message) as caught:
        counts_of(anndata.AnnData(values))
    assert "--round" not in str(caught.value)
