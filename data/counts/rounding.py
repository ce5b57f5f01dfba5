"""Expected counts, which are fractional, as whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vae4counts.data.counts.layers import RAW, find_layer, matrix_name
from vae4counts.data.counts.sparse import canonical_csr
from vae4counts.data.counts.stored_matrix import is_on_disk
from vae4counts.data.errors import DataError
from vae4counts.data.warning import warn

if TYPE_CHECKING:
    from anndata import AnnData


def round_counts(adata: AnnData, layer: str | None = None) -> AnnData:
    """Round expected counts to whole numbers.

    RSEM, salmon and kallisto share reads that fit several transcripts between them, so that their
    counts are expected values. Normalised values must not be rounded.

    Args:
        adata: Observations x features, in memory; it is not changed.
        layer: The layer that holds the counts; None for ``X``. What is in ``raw`` becomes the
            layer ``"raw"``.

    Returns:
        A copy with whole numbers there.

    Raises:
        DataError: The counts are on disk, or there are none.
        UnknownName: There is no such layer.

    Warns:
        UserWarning: Values have been rounded; says how many.
    """
    if is_on_disk(adata, layer):
        raise DataError("counts on disk cannot be rounded: load them into memory.")
    matrix, columns = find_layer(adata, layer)
    name = matrix_name(layer)
    if matrix is None:
        raise DataError(f"{name} holds nothing to round.")
    counts = canonical_csr(matrix if columns is None else matrix[:, columns], name)
    whole = np.rint(counts.data)
    n_rounded = int((whole != counts.data).sum())
    if n_rounded:
        warn(
            f"{name}: {n_rounded:,} of {counts.nnz:,} values above or below 0 were fractional and "
            f"have been rounded (the largest is {counts.data.max():g})."
        )
    counts.data = whole
    counts.eliminate_zeros()
    rounded = adata.copy()
    if layer is None:
        rounded.X = counts
    else:
        rounded.layers[layer if layer in adata.layers else RAW] = counts
    return rounded
