"""Write modalities as MuData's files are, without the package mudata."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import write_elem

from vae4counts.data.modalities.multi_data import MultiData

# What a file begins with before its HDF5 part, by which mudata knows its own.
USER_BLOCK = 512
HEADER = b"MuData (format-version=0.1.0;creator=vae4counts)"


def write_h5mu(data: MultiData, path: str | Path) -> None:
    """Write several modalities to an ``.h5mu`` file, which `load` and mudata read.

    Args:
        data: The modalities, with the tables of all observations. Text in their tables becomes
            categorical.
        path: The file, which is replaced if it exists.
    """
    mod = {name: adata.copy() if adata.is_view else adata for name, adata in data.mod.items()}
    for adata in mod.values():
        adata.strings_to_categoricals()  # as AnnData does when it is written
    data = MultiData(mod, data.obs, obsm=data.obsm, uns=data.uns)
    with h5py.File(path, "w", userblock_size=USER_BLOCK) as file:
        write_parts(data, file)
    with Path(path).open("r+b") as plain:
        plain.write(HEADER)


def write_parts(data: MultiData, file: h5py.File) -> None:
    """Write several modalities into an open HDF5 file in MuData's format 0.1.0."""
    kwargs = {"compression": "gzip"}
    file.attrs.update({"encoding-type": "MuData", "encoding-version": "0.1.0", "axis": 0})
    var = pd.concat([pd.DataFrame(index=adata.var_names) for adata in data.mod.values()])
    whole = AnnData(obs=data.obs)
    whole.strings_to_categoricals()
    parts = {"obs": whole.obs, "var": var, "obsm": dict(data.obsm), "uns": dict(data.uns)}
    stop, varmap, obsmap = 0, {}, {}
    modalities = file.create_group("mod")
    for name, adata in data.mod.items():
        write_elem(modalities, name, adata, dataset_kwargs=kwargs)
        start, stop = stop, stop + adata.n_vars
        # positions from 1; 0 where a modality lacks an observation or a feature
        varmap[name] = np.zeros(len(var), dtype=np.uint32)
        varmap[name][start:stop] = np.arange(1, adata.n_vars + 1)
        obsmap[name] = (data.rows(name) + 1).astype(np.uint32)
    for part, value in {**parts, "obsmap": obsmap, "varmap": varmap}.items():
        write_elem(file, part, value, dataset_kwargs=kwargs)
    modalities.attrs["mod-order"] = list(data.mod)
