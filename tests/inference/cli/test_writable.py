"""What an .h5ad file cannot hold is found, named and left out; all else is written."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vae4counts.inference.cli.writable import entry_name, unwritable_entries, without_entries


@pytest.fixture
def odd(counts: ad.AnnData) -> ad.AnnData:
    """Counts with an entry that HDF5 cannot hold in several slots, beside some that it can."""
    counts.obs["mixed"] = [i if i % 2 else "odd" for i in range(counts.n_obs)]
    counts.obs["text"] = [None, *["some"] * (counts.n_obs - 1)]
    counts.raw = counts.copy()
    counts.var["when"] = pd.Timestamp("2026-01-01")
    counts.obsm["pca"] = np.ones((counts.n_obs, 2))
    counts.obsm["frame"] = pd.DataFrame({"_index": 1.0}, index=counts.obs_names)
    counts.uns["one"] = object()
    counts.uns["pca"] = {"variance": np.ones(2), "params": {"solver": len, "n": 2}}
    counts.layers["raw"] = counts.X.copy()
    return counts


FOUND = {
    "obs['mixed']",
    "var['when']",
    "obsm['frame']",
    "uns['one']",
    "uns['pca']['params']['solver']",
}


def test_what_cannot_be_written_is_found_by_name(odd: ad.AnnData, counts: ad.AnnData) -> None:
    assert {entry_name(entry) for entry in unwritable_entries(odd)} == FOUND
    assert odd.uns["pca"]["params"]["solver"] is len


def test_data_that_can_be_written_are_left_as_they_are(counts: ad.AnnData) -> None:
    assert unwritable_entries(counts) == []
    assert without_entries(counts, [], counts=True) is counts


def test_raw_goes_as_a_whole(odd: ad.AnnData) -> None:
    odd.raw = odd.copy()
    entries = unwritable_entries(odd)
    assert {entry_name(entry) for entry in entries} == FOUND | {"raw"}
    assert without_entries(odd, entries, counts=True).raw is None


@pytest.mark.parametrize("with_counts", [True, False])
def test_the_rest_is_written(odd: ad.AnnData, with_counts: bool, tmp_path: Path) -> None:
    kept = without_entries(odd, unwritable_entries(odd), counts=with_counts)
    kept.write_h5ad(tmp_path / "kept.h5ad")
    again = ad.read_h5ad(tmp_path / "kept.h5ad")
    assert list(again.obs) == ["group", "text"]
    assert again.obs["text"].isna().sum() == 1
    assert list(again.var) == []
    assert set(again.obsm) == {"pca"}
    assert set(again.uns["pca"]) == {"variance", "params"}
    assert set(again.uns["pca"]["params"]) == {"n"}
    assert "one" not in again.uns
    assert (again.X is not None) == with_counts
    if with_counts:
        assert (again.X != odd.X).nnz == 0
        assert (again.layers["raw"] != odd.X).nnz == 0
        assert again.raw.shape == odd.raw.shape
    assert set(odd.obs) == {"group", "mixed", "text"}, "the data themselves keep all"
