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

# Mappings inside mappings that are followed; those below, or one that holds itself, are left out.
MAX_DEPTH = 32


def unwritable_entries(adata: AnnData, *, counts: bool = True) -> list[Entry]:
    """Return the entries that an HDF5 file cannot hold under their names, the innermost alone.

    Each column of a table, each array of a mapping and each value of ``uns`` is written to a file
    in memory by anndata and read again: of numbers a row, of all else everything.

    Args:
        adata: The data.
        counts: Whether ``X``, layers and ``raw`` are to be written too.
    """
    slots = _slots(adata, counts=counts).items()
    return [entry for slot, value in slots for entry in _unwritable(value, (slot,))]


def without_entries(adata: AnnData, entries: list[Entry], *, counts: bool) -> AnnData:
    """Return the data in a form that can be written; no array is copied.

    Names of observations and features that are not text become text, and text in tables becomes
    categories where values repeat or are missing.

    Args:
        adata: The data.
        entries: What to leave out, found by `unwritable_entries`.
        counts: Whether to keep the counts: ``X``, layers and ``raw``. Counts that stay in a file
            of their own are not kept.
    """
    from anndata import AnnData

    slots = _slots(adata, counts=counts)
    left_out = set(entries)
    parts = {
        slot: _kept(value, (slot,), left_out)
        for slot, value in slots.items()
        if (slot,) not in left_out
    }
    if ("raw", "X") in left_out:
        del parts["raw"]  # it is nothing without its counts
    return AnnData(**parts)


def entry_name(entry: Entry) -> str:
    """Return an entry as one writes it in Python: ``uns['pca']['params']``."""
    return entry[0] + "".join(f"[{key!r}]" for key in entry[1:])


def _slots(adata: AnnData, *, counts: bool) -> dict[str, Any]:
    """The arguments that make an AnnData of the same content."""
    slots: dict[str, Any] = {"obs": adata.obs, "var": adata.var}
    slots |= {name: dict(getattr(adata, name)) for name in ("obsm", "varm", "obsp", "varp")}
    slots["uns"] = adata.uns
    if counts:
        # from version 0.13 on, anndata has X among the layers too, under the name None
        slots["layers"] = {name: adata.layers[name] for name in adata.layers if name is not None}
        if adata.X is not None:
            slots["X"] = adata.X
        if (raw := adata.raw) is not None:
            slots["raw"] = {"X": raw.X, "var": raw.var, "varm": dict(raw.varm)}
    return slots


def _unwritable(value: Any, entry: Entry) -> Iterator[Entry]:
    import pandas as pd

    is_too_deep = isinstance(value, Mapping) and len(entry) > MAX_DEPTH
    if is_too_deep or not _is_kept({entry[-1]: _without_parts(value)}):
        yield entry
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _unwritable(part, (*entry, name))
    elif isinstance(value, pd.DataFrame):
        kept = _kept_columns(_with_plain_text(value).reset_index(drop=True))
        yield from ((*entry, name) for name in value.columns.unique() if name not in kept)


def _kept_columns(table: pd.DataFrame) -> list[Any]:
    """Return the columns that can be written, each by itself and then side by side."""
    alone = [name for name in table if _is_kept(table[[name]])]
    row = table.head(1)
    if _is_kept(row[alone]):
        return alone
    together: list[Any] = []  # "CD4/CD8" does not go with an array "CD4"
    for name in alone:
        if _is_kept(row[[*together, name]]):
            together.append(name)
    return together


def _kept(value: Any, entry: Entry, left_out: set[Entry]) -> Any:
    import pandas as pd

    if isinstance(value, Mapping):
        return {
            name: _kept(part, (*entry, name), left_out)
            for name, part in value.items()
            if (*entry, name) not in left_out
        }
    if isinstance(value, pd.DataFrame):
        table = _with_plain_text(value)
        table = table[[name for name in table if (*entry, name) not in left_out]]
        return table.set_axis(_row_names(table, as_text=entry[0] != "uns"), axis="index")
    return value


def _without_parts(value: Any) -> Any:
    """What is left of a value without the parts that are looked at one by one."""
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

    if isinstance(value, Mapping):
        return {}
    if isinstance(value, pd.DataFrame):
        return pd.DataFrame(index=range(len(value)))
    has_rows = isinstance(value, np.ndarray) or (
        sp.issparse(value) and value.format in ("csr", "csc")
    )
    if has_rows and value.ndim == 2 and value.dtype.kind in "biufc":
        return value[:1]  # no number is harder to write than another
    return value


def _with_plain_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with text as anndata writes it, without columns of the same name."""
    import pandas as pd
    from anndata import AnnData

    table = table.loc[:, ~table.columns.duplicated(keep=False)].copy(deep=False)
    AnnData().strings_to_categoricals(table)
    for name, dtype in table.dtypes.items():
        # pandas' own types of text, which anndata writes only if it is told to
        if _is_pandas_text(table[name]):
            table[name] = table[name].astype(object)
        elif isinstance(dtype, pd.CategoricalDtype) and _is_pandas_text(dtype.categories):
            plain = list(dtype.categories.astype(object))
            table[name] = table[name].cat.rename_categories(plain)
    return table


def _is_pandas_text(values: pd.Series | pd.Index) -> bool:
    from pandas.api.types import infer_dtype, is_object_dtype

    return not is_object_dtype(values.dtype) and infer_dtype(values) in ("string", "empty")


def _row_names(table: pd.DataFrame, *, as_text: bool) -> pd.Index:
    """Return the names of the rows as they can be written: as text, always or if need be."""
    import pandas as pd
    from pandas.api.types import infer_dtype

    names = table.index.rename(None) if table.index.name in table.columns else table.index
    is_fine = not as_text or infer_dtype(names, skipna=False) == "string"
    if is_fine and _is_kept({"names": pd.DataFrame(index=names)}):
        return names
    text = pd.Index([_plain(name) for name in names], dtype=object)
    named = text.rename(names.name)
    return named if _is_kept({"names": pd.DataFrame(index=named)}) else text


def _plain(name: object) -> str:
    return str(name).encode("utf-8", "backslashreplace").decode().replace("\0", r"\0")


def _is_kept(holder: Mapping[Any, Any] | pd.DataFrame) -> bool:
    """Whether a mapping or table comes back from a file with the same keys or columns."""
    import h5py
    from anndata.io import read_elem, write_elem

    with (
        h5py.File("unused", "w", driver="core", backing_store=False) as file,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of anndata's later versions: what they refuse is an error
        try:
            write_elem(file, "holder", holder)
            # a name such as "/x" or "" leads out of the group that it is in
            return list(file) == ["holder"] and list(read_elem(file["holder"])) == list(holder)
        except Exception:  # anndata and h5py raise nearly anything
            return False
