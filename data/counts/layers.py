"""Where the counts of an AnnData are: in ``X``, in a layer, or in ``raw``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vae4counts.data.errors import DataError, UnknownName

if TYPE_CHECKING:
    from anndata import AnnData

RAW = "raw"


def layer_names(adata: AnnData) -> list[str]:
    """Return the names of the layers; ``raw`` is one of them."""
    has_raw = adata.raw is not None and RAW not in adata.layers
    named = [name for name in adata.layers if name is not None]  # which is X, from anndata 0.13 on
    return [*named, *([RAW] if has_raw else [])]


def matrix_name(layer: str | None) -> str:
    """Return what errors call ``X``, or a layer."""
    return "X" if layer is None else f"Layer {layer!r}"


def find_layer(adata: AnnData, layer: str | None) -> tuple[Any, np.ndarray | None]:
    """Find the counts of an AnnData, which are not read.

    Args:
        adata: Observations x features.
        layer: The layer; None for ``X``. Without a layer of that name, ``"raw"`` is ``adata.raw``.

    Returns:
        The matrix, and which of its columns the features are; None for all of them in order.
        ``raw`` may hold more features, of which those of ``X`` are taken.

    Raises:
        DataError: ``raw`` lacks a feature, or names one twice.
        UnknownName: There is no such layer.
    """
    if layer is None:
        return adata.X, None
    if layer in adata.layers:
        return adata.layers[layer], None
    if layer not in layer_names(adata):
        raise UnknownName("layer", layer, layer_names(adata))
    names = adata.raw.var_names
    if names.equals(adata.var_names):
        return adata.raw.X, None
    if not names.is_unique:
        raise DataError(f"raw names the feature {names[names.duplicated()][0]!r} twice.")
    columns = names.get_indexer(adata.var_names)
    if (columns < 0).any():
        lost = adata.var_names[columns < 0][0]
        raise DataError(f"raw has no feature {lost!r}, which X has: rename it, or drop it from X.")
    return adata.raw.X, columns
