"""What HDF5 files and zarr folders hold, told by their content, whatever their names."""

from __future__ import annotations

import json
from pathlib import Path

import h5py

ANNDATA = "an AnnData store"
LOOM = "a loom file"
MUDATA = "a MuData file"
TENX = "a 10x HDF5 file"
# What marks a folder as a zarr group, of version 2 and 3.
_ZARR_MARKS = (".zgroup", ".zattrs", ".zmetadata", "zarr.json")


def is_anndata(path: Path) -> bool:
    """Tell whether a file or folder is an AnnData store."""
    return _is(ANNDATA, path, (".h5ad", ".zarr"))


def is_10x_hdf5(path: Path) -> bool:
    """Tell whether a file is Cell Ranger's HDF5, or HDF5 that its reader has to refuse."""
    return _is(TENX, path, (".h5", ".hdf5"))


def is_loom(path: Path) -> bool:
    """Tell whether a file is of loom's schema."""
    return _is(LOOM, path, (".loom",))


def is_mudata(path: Path) -> bool:
    """Tell whether a file is a MuData."""
    return _is(MUDATA, path, (".h5mu",))


def _is(wanted: str, path: Path, suffixes: tuple[str, ...]) -> bool:
    kind = store_kind(path)
    # what cannot be told, such as a broken file, goes to the reader of its name, which says so
    return kind == wanted if kind else path.name.lower().endswith(suffixes)


def store_kind(path: Path) -> str | None:
    """Return what an HDF5 file or zarr folder holds; None if it is neither, or of another kind.

    Only names of parts and attributes are looked at, so that links to other files stay unread.
    """
    return _zarr_kind(path) if path.is_dir() else _hdf5_kind(path)


def _zarr_kind(folder: Path) -> str | None:
    if not any((folder / mark).is_file() for mark in _ZARR_MARKS):
        return None
    parts = {part.name for part in folder.iterdir()}
    is_marked = _zarr_attributes(folder).get("encoding-type") == "anndata"
    return ANNDATA if is_marked or {"obs", "var"} <= parts else None


def _zarr_attributes(folder: Path) -> dict[str, object]:
    for name, inside in ((".zattrs", None), ("zarr.json", "attributes")):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            found = found.get(inside) if inside else found
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def _hdf5_kind(path: Path) -> str | None:
    if not h5py.is_hdf5(path):
        return None
    try:
        with h5py.File(path, "r") as file:
            parts, encoding = set(file), str(file.attrs.get("encoding-type"))
            has_genome = any(is_genome(file, part) for part in parts)
    except (OSError, RuntimeError, KeyError, TypeError):
        return None  # broken: its reader says how
    if encoding == "anndata" or ({"obs", "var"} <= parts and "mod" not in parts):
        return ANNDATA
    if encoding.lower() == "mudata" or "mod" in parts:
        return MUDATA
    if {"matrix", "row_attrs", "col_attrs"} <= parts:
        return LOOM
    return TENX if has_genome else None


def is_genome(file: h5py.File, part: str) -> bool:
    """Tell whether a part of a file is a sparse matrix of 10x: ``matrix``, or a genome's."""
    if not isinstance(file.get(part, getlink=True), h5py.HardLink):
        return False
    group = file[part]
    return isinstance(group, h5py.Group) and {"barcodes", "indptr", "shape"} <= set(group)


def describe_hdf5(path: Path) -> str:
    """Say what an HDF5 file that no reader takes holds, and what to do."""
    with h5py.File(path, "r") as file:
        parts = sorted(map(str, file))
    if {"barcodes", "umi"} <= set(parts) or "barcode_idx" in parts:
        return (
            "it is Cell Ranger's list of molecules (molecule_info.h5), not counts: name the file "
            "filtered_feature_bc_matrix.h5 of the same run"
        )
    shown = ", ".join(map(repr, parts[:5])) or "nothing"
    return f"it is neither a 10x matrix nor an AnnData, MuData or loom file, but holds {shown}"
