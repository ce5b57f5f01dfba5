"""What of an AnnData an .h5ad file can hold: found out before training, left out after it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

# A slot and the keys below it: ("obs", "batch"), ("uns", "pca", "params").
Entry = tuple[str, ...]

TABLES = ("obs", "var")
ARRAYS = ("obsm", "varm", "obsp", "varp")


def unwritable_entries(adata: AnnData) -> list[Entry]:
    """Return the entries of all slots but the counts that an HDF5 file cannot hold.

    Each is written to a file in memory: columns of ``obs`` and ``var`` as anndata writes them,
    text as categories; of nested ``uns`` the innermost entries alone; of ``raw`` its ``var``.
    """
    found: list[Entry] = []
    for slot in TABLES:
        found += [(slot, name) for name in _unwritable_columns(adata, getattr(adata, slot))]
    for slot in ARRAYS:
        arrays = getattr(adata, slot)
        found += [(slot, name) for name in arrays if not _can_be_written(name, arrays[name])]
    found += [("uns", *keys) for keys, value in _leaves(adata.uns) if not _fits(keys, value)]
    if adata.raw is not None and any(_unwritable_columns(adata, adata.raw.var)):
        found.append(("raw",))
    return found


def without_entries(adata: AnnData, entries: list[Entry], *, counts: bool) -> AnnData:
    """Return the data without some entries; nothing that is kept is copied.

    Args:
        adata: The data.
        entries: What `unwritable_entries` has found.
        counts: Whether to keep the counts: ``X``, layers and ``raw``. Counts that stay in a file
            of their own are not kept.
    """
    from anndata import AnnData

    if counts and not entries:
        return adata
    left_out = set(entries)
    parts: dict[str, Any] = {}
    for slot in TABLES:
        table = getattr(adata, slot)
        parts[slot] = table[[name for name in table.columns if (slot, name) not in left_out]]
    for slot in ARRAYS:
        arrays = getattr(adata, slot)
        parts[slot] = {name: arrays[name] for name in arrays if (slot, name) not in left_out}
    parts["uns"] = _pruned(adata.uns, ("uns",), left_out)
    if counts:
        parts |= {"X": adata.X, "layers": dict(adata.layers)}
        parts["raw"] = None if ("raw",) in left_out else adata.raw
    return AnnData(**parts)


def entry_name(entry: Entry) -> str:
    """Return an entry as one writes it in Python: ``uns['pca']['params']``."""
    return entry[0] + "".join(f"[{key!r}]" for key in entry[1:])


def _unwritable_columns(adata: AnnData, table: pd.DataFrame) -> Iterator[Any]:
    for name in table.columns:
        column = table[[name]].copy()
        if isinstance(name, str):
            adata.strings_to_categoricals(column)
        if not _can_be_written("table", column):
            yield name


def _leaves(values: Mapping[Any, Any], above: Entry = ()) -> Iterator[tuple[Entry, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(key, str):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _pruned(values: Mapping[Any, Any], above: Entry, left_out: set[Entry]) -> dict[Any, Any]:
    return {
        key: _pruned(value, (*above, key), left_out) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if (*above, key) not in left_out
    }


def _fits(keys: Entry, value: Any) -> bool:
    return all(isinstance(key, str) and key for key in keys) and _can_be_written(keys[-1], value)


def _can_be_written(name: Any, value: Any) -> bool:
    import h5py
    from anndata.io import write_elem

    with (
        h5py.File("unused", "w", driver="core", backing_store=False) as file,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # said when the file itself is written
        try:
            write_elem(file, name, value)
        except Exception:  # anndata and h5py raise nearly anything
            return False
    return True
