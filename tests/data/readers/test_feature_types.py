from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest

from vae4counts.data import UnknownName, load

TYPES = ["Gene Expression"] * 3 + ["Antibody Capture"] * 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    adata = anndata.AnnData(np.arange(10, dtype=np.float32).reshape(2, 5))
    adata.var["feature_types"] = TYPES
    adata.write_h5ad(tmp_path / "a.h5ad")
    return tmp_path / "a.h5ad"


def test_several_types_are_said_with_their_numbers(path: Path) -> None:
    message = "3 'Gene Expression', 2 'Antibody Capture'.*--feature-type"
    with pytest.warns(UserWarning, match=message):
        assert load(path).n_vars == 5


@pytest.mark.parametrize(("kind", "first"), [("Gene Expression", 0), ("Antibody Capture", 3)])
@pytest.mark.parametrize("out_of_core", [False, True])
def test_one_type_is_kept(path: Path, kind: str, first: int, out_of_core: bool) -> None:
    adata = load(path, feature_type=kind, out_of_core=out_of_core)
    assert list(adata.var_names) == [str(j) for j in range(5) if TYPES[j] == kind]
    assert adata.var_names[0] == str(first)


@pytest.mark.parametrize("kind", ["Gene expression", "Peaks"])
def test_an_unknown_type_is_named(path: Path, kind: str) -> None:
    with pytest.raises(UnknownName, match=f"no feature type '{kind}'.*'Antibody Capture'"):
        load(path, feature_type=kind)


def test_data_without_types(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(UnknownName, match=r"no feature type 'Peaks'\. Known: none"):
        load(tmp_path / "a.csv", feature_type="Peaks")
