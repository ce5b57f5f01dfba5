"""Where the modalities of a model are in data, and which observations have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.counts.batch import COUNTS
from vae4counts.data.counts.columns import classes_of
from vae4counts.data.counts.layers import find_layer
from vae4counts.data.counts.stored_matrix import is_on_disk
from vae4counts.data.errors import DataError, UnknownName
from vae4counts.data.modalities.multi_data import MultiData, check_names, is_multi
from vae4counts.data.warning import warn

PLACES = (
    'a place is "X", "layers/NAME" or "obsm/NAME"; in a MuData after "MODALITY/", or that alone'
)

# What the names of scanpy's embeddings begin with.
OF_SCANPY = "X_"
_TRUE, _FALSE = ("true", "1"), ("false", "0")


def modalities_of(
    data: Any,
    tables: Sequence[str] | None = None,
    modalities: Mapping[str, str] | None = None,
    layer: str | None = None,
    *,
    lacking: bool = False,
) -> MultiData:
    """Find the modalities of a model in data.

    Observations that lack a modality are left out of it: in a MuData they are not in its AnnData.
    Wherever they come from, rows of which every value is NaN are taken for absent, and so are
    observations with a false value in a column ``has_NAME`` of the table of all observations. A
    row of zeros is not: it is an observation in which nothing was counted.

    Args:
        data: An AnnData, a `MultiData`, or a MuData.
        tables: Names of the model's tables, in order; all modalities of the data if None, for which
            scanpy's arrays in ``obsm`` (``"X_umap"``) are not taken.
        modalities: Where each table is. In an AnnData ``"X"``, ``"layers/NAME"`` or
            ``"obsm/NAME"``; in others a modality's name, or ``"rna/layers/counts"`` and the like.
            If None, each is the modality of its name; in an AnnData ``"counts"`` is ``X``, and
            any other name is ``obsm/NAME``. A model of one table reads the ``X`` of an AnnData
            whatever its name.
        layer: The layer of an AnnData that takes the place of ``X``; only without ``modalities``.
        lacking: Whether the data may lack modalities, if they have one.

    Raises:
        DataError: Places are given for other tables than the model's, or a place is none, or
            holds nothing; or the data lack a modality.
        UnknownName: There is no such modality, layer or array.

    Warns:
        UserWarning: The data lack modalities or have others.
    """
    if is_multi(data):
        return _of_mudata(data, tables, modalities, layer, lacking=lacking)
    if tables is None:
        arrays = [name for name in data.obsm if not name.startswith(OF_SCANPY)]
        tables = list(modalities or (COUNTS, *arrays))
    places = _places_in(tables, modalities, layer)
    if lacking:
        places = _without_missing(places, _is_there(data, places))
    found = {name: part_of(data, place, name) for name, place in places.items()}
    return _present(found, data.obs, data)


def part_of(adata: AnnData, place: str, name: str) -> tuple[AnnData, str | None]:
    """Return what is at a place in an AnnData as an AnnData of its own, and its layer.

    Args:
        adata: The data.
        place: ``"X"``, ``"layers/NAME"`` or ``"obsm/NAME"``.
        name: The name of the table.

    Raises:
        DataError: It is no place.
        UnknownName: There is nothing at it.
    """
    where, _, key = place.partition("/")
    if place == "X":
        return adata, None
    if where == "layers" and key:
        find_layer(adata, key)
        return adata, key
    if where == "obsm" and key:
        if key not in adata.obsm:
            raise UnknownName("array in obsm", key, adata.obsm, f"Modality {name!r} is to be it.")
        return _array(adata, key), None
    raise DataError(f"Modality {name!r} is said to be at {place!r}, but {PLACES}.")


def _of_mudata(
    data: Any,
    tables: Sequence[str] | None,
    modalities: Mapping[str, str] | None,
    layer: str | None,
    *,
    lacking: bool,
) -> MultiData:
    if getattr(data, "axis", 0) == 1:
        raise DataError("The modalities of this MuData share features, not observations (axis=1).")
    if layer is not None:
        raise DataError(
            f"layer={layer!r} is of one modality: say which with modalities="
            f"{{'NAME': 'NAME/layers/{layer}', ...}}."
        )
    own = list(data.mod) if tables is None else list(tables)
    _check_tables(own, modalities)
    places = {name: name for name in own} if modalities is None else dict(modalities)
    if lacking:
        places = _without_missing(places, [p.split("/")[0] in data.mod for p in places.values()])
    found, own_layers = {}, getattr(data, "layer_of", {})
    for name in (each for each in own if each in places):
        mod, _, place = places[name].partition("/")
        if mod not in data.mod:
            advice = f"The model's table {name!r} is to be it: say where it is with modalities=..."
            raise UnknownName("modality", mod, data.mod, advice)
        if not place and own_layers.get(mod) is not None:
            place = f"layers/{own_layers[mod]}"
        found[name] = part_of(data.mod[mod], place or "X", name)
    if not lacking and (others := [each for each in data.mod if each not in _named(places)]):
        warn(f"the model has no table for these modalities, which are left out: {_listed(others)}")
    return _present(found, data.obs, getattr(data, "source", data))


def _places_in(
    tables: Sequence[str], modalities: Mapping[str, str] | None, layer: str | None
) -> dict[str, str]:
    """Return where each table is in an AnnData."""
    _check_tables(tables, modalities)
    whole = "X" if layer is None else f"layers/{layer}"
    if modalities is None:
        main = tables[0] if len(tables) == 1 else COUNTS
        return {name: whole if name == main else f"obsm/{name}" for name in tables}
    if layer is not None:
        raise DataError(
            f"layer={layer!r} and modalities= are given: say in the latter where all are."
        )
    return {name: modalities[name] for name in tables}


def _check_tables(tables: Sequence[str], modalities: Mapping[str, str] | None) -> None:
    """Make sure that places are given for the model's tables and for no others."""
    if modalities is None:
        return
    for name in modalities:
        if name not in tables:
            raise UnknownName("table of the model", name, tables, "modalities= names it.")
    if missing := [name for name in tables if name not in modalities]:
        raise DataError(f"modalities= does not say where the model's {_listed(missing)} is.")


def _is_there(adata: AnnData, places: Mapping[str, str]) -> list[bool]:
    arrays = [place.partition("/") for place in places.values()]
    return [where != "obsm" or key in adata.obsm for where, _, key in arrays]


def _without_missing(places: dict[str, str], is_there: Sequence[bool]) -> dict[str, str]:
    """Leave out the places that the data lack, if they have another."""
    missing = [name for name, there in zip(places, is_there, strict=True) if not there]
    if not missing or len(missing) == len(places):
        return places
    warn(f"the data lack the modality {_listed(missing)}: all observations are taken to lack it")
    return {name: place for name, place in places.items() if name not in missing}


def _present(
    found: Mapping[str, tuple[AnnData, str | None]], obs: pd.DataFrame, source: Any
) -> MultiData:
    """Leave absent observations out of each modality."""
    mod = {}
    check_names(obs.index, "The table of all observations")
    for name, (adata, layer) in found.items():
        check_names(adata.obs_names, f"Modality {name!r}")
        present = ~_is_nan(adata, layer)
        if (column := f"has_{name}") in obs:
            names = adata.obs_names
            known = _is_true(obs[column])
            present &= known.reindex(names).fillna(True).to_numpy(dtype=bool)
        mod[name] = adata if present.all() else adata[present]
    layers = {name: layer for name, (_, layer) in found.items()}
    return MultiData(mod, obs, layers=layers, source=source)


def _is_nan(adata: AnnData, layer: str | None) -> np.ndarray:
    """Tell of which observations every value is NaN; of those on disk, none."""
    nowhere = np.zeros(adata.n_obs, dtype=bool)
    if is_on_disk(adata, layer) or not adata.n_vars:
        return nowhere
    matrix, _ = find_layer(adata, layer)
    if matrix is None or matrix.dtype.kind != "f":
        return nowhere
    if not sp.issparse(matrix):
        return np.isnan(np.asarray(matrix)).all(axis=1)
    csr = sp.csr_matrix(matrix)
    rows = np.repeat(np.arange(adata.n_obs), np.diff(csr.indptr))
    numbers = np.bincount(rows[np.isnan(csr.data)], minlength=adata.n_obs)
    return numbers == adata.n_vars


def _is_true(column: pd.Series) -> pd.Series:
    """Read a column that says which observations have a modality; a missing value says no.

    Raises:
        DataError: A value is neither true nor false.
    """
    words = classes_of(column).str.lower()
    if (wrong := (words.notna() & ~words.isin(_TRUE + _FALSE)).to_numpy()).any():
        row = int(wrong.argmax())
        raise DataError(
            f"Column {column.name!r} has {column.iloc[row]!r} at row {row} "
            f"({column.index[row]!r}): it says which observations have the modality, with true "
            "and false."
        )
    return words.isin(_TRUE)


def _array(adata: AnnData, key: str) -> AnnData:
    """Return an array in ``obsm`` as an AnnData.

    A data frame names its columns. The features of another array are named by
    ``uns["NAME_features"]``, or else by the array's name and numbers.
    """
    values = adata.obsm[key]
    if isinstance(values, pd.DataFrame):
        names, values = list(values.columns), values.to_numpy()
    elif values.ndim != 2:
        raise DataError(f"obsm[{key!r}] is not a matrix, but {values.ndim}-dimensional.")
    else:
        given = adata.uns.get(f"{key}_features")
        n = values.shape[1]
        names = [f"{key}{j}" for j in range(n)] if given is None else list(given)
        if len(names) != n:
            raise DataError(
                f"uns['{key}_features'] has {len(names)} names, but obsm[{key!r}] has {n} columns."
            )
    var = pd.DataFrame(index=pd.Index([str(name) for name in names], dtype=object))
    return AnnData(values, pd.DataFrame(index=adata.obs_names), var)


def _named(places: Mapping[str, str]) -> set[str]:
    return {place.split("/")[0] for place in places.values()}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
