from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from vae4counts.data import load


@pytest.mark.skipif(find_spec("loompy") is None, reason="needs loompy")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_loom(tmp_path: Path) -> None:
    import loompy

    dense = np.arange(12).reshape(4, 3)
    names = {"Gene": np.array(list("aab"))}, {"CellID": np.array([f"c{i}" for i in range(4)])}
    loompy.create(str(tmp_path / "a.loom"), dense.T, *names)
    adata = load(tmp_path / "a.loom")
    np.testing.assert_array_equal(adata.X.toarray(), dense)
    assert list(adata.obs_names) == ["c0", "c1", "c2", "c3"]
    assert list(adata.var_names) == ["a", "a-1", "b"]
