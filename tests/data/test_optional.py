"""Packages that only some uses need: without one, a line says what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from vae4counts.data import DataError, load, load_pbmc68k_reduced, top_features
from vae4counts.data.optional import optional_package


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """As if a module were not installed."""
    monkeypatch.setitem(sys.modules, request.param, None)


@pytest.mark.parametrize("without", ["scanpy"], indirect=True)
@pytest.mark.usefixtures("without")
def test_the_cells_of_scanpy() -> None:
    with pytest.raises(DataError, match=r"needs the package scanpy: pip install scanpy, or"):
        load_pbmc68k_reduced()


@pytest.mark.parametrize("without", ["scanpy", "skmisc.loess"], indirect=True)
@pytest.mark.usefixtures("without")
def test_seurats_scores() -> None:
    with pytest.raises(DataError, match=r"seurat-v3 needs the package (scanpy|scikit-misc): pip"):
        top_features(AnnData(np.eye(3)), 2, method="seurat-v3")


@pytest.mark.parametrize("without", ["loompy"], indirect=True)
@pytest.mark.usefixtures("without")
def test_loom(tmp_path: Path) -> None:
    (tmp_path / "a.loom").touch()
    with pytest.raises(DataError, match=r"a\.loom needs the package loompy: pip install loompy"):
        load(tmp_path / "a.loom")


def test_other_errors_pass() -> None:
    with pytest.raises(OSError, match="disk"), optional_package("a", use="b", instead="c"):
        raise OSError("disk")
