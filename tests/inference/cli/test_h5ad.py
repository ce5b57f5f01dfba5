"""An .h5ad file is written as AnnData writes it; a disk that is full is an error, not a crash."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

from vae4counts.inference.cli.h5ad import write_h5ad


@pytest.fixture
def annotated(counts: ad.AnnData) -> ad.AnnData:
    counts.raw = counts.copy()
    counts.layers["raw"] = counts.X.copy()
    counts.obsm["X_vae"] = np.random.default_rng(0).normal(size=(counts.n_obs, 2))
    counts.obs["text"] = ["one", "two", "two"] * 30
    counts.uns["nested"] = {"number": 3, "names": np.array(["a", "b"])}
    return counts


def test_it_is_what_anndata_writes(annotated: ad.AnnData, tmp_path: Path) -> None:
    write_h5ad(annotated, tmp_path / "ours.h5ad")
    annotated.write_h5ad(tmp_path / "theirs.h5ad", compression="gzip")
    ours, theirs = (ad.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("ours", "theirs"))
    for one, other in ((ours, theirs), (ours.raw, theirs.raw)):
        assert (one.X != other.X).nnz == 0
        assert one.var.equals(other.var)
    assert ours.obs.equals(theirs.obs)
    assert (ours.layers["raw"] != theirs.layers["raw"]).nnz == 0
    np.testing.assert_array_equal(ours.obsm["X_vae"], theirs.obsm["X_vae"])
    assert ours.uns["nested"]["number"] == theirs.uns["nested"]["number"] == 3
    assert list(ours.uns["nested"]["names"]) == ["a", "b"]


@pytest.mark.parametrize("room", [0, 1_000, 10_000])
def test_a_full_disk_is_an_error(
    room: int, annotated: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Disk(io.FileIO):
        """A file on a disk with little room."""

        left = room

        def write(self, data: Any) -> int:
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = super().write(data[: self.left])
            self.left -= written
            return written

    kind = "vae4counts.inference.cli.h5ad._UncomplainingFile"
    from vae4counts.inference.cli.h5ad import _UncomplainingFile

    monkeypatch.setattr(kind, type("OnDisk", (_UncomplainingFile, Disk), {}))
    with pytest.raises(OSError, match="No space left on device"):
        write_h5ad(annotated, tmp_path / "full.h5ad")
