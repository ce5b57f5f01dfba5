"""Data of several types of features, such as genes and antibodies counted in the same cells."""

from __future__ import annotations

from anndata import AnnData

from vae4counts.data.errors import UnknownName
from vae4counts.data.warning import warn

# The column of `var` that Cell Ranger's files have, and scanpy's readers give.
COLUMN = "feature_types"


def choose_feature_type(adata: AnnData, chosen: str | None, source: object) -> AnnData:
    """Return the features of one type.

    Args:
        adata: The data.
        chosen: The type; None for all.
        source: Where they were read from.

    Raises:
        UnknownName: There are no features of that type.

    Warns:
        UserWarning: All are kept, of several types.
    """
    types = adata.var[COLUMN].astype(str) if COLUMN in adata.var else None
    numbers = {} if types is None else types.value_counts(sort=False).to_dict()
    if chosen is not None:
        if types is None or chosen not in numbers:
            raise UnknownName("feature type", chosen, numbers)
        return adata[:, (types == chosen).to_numpy()]
    if len(numbers) > 1:
        listed = ", ".join(f"{number:,} {kind!r}" for kind, number in numbers.items())
        warn(
            f"{source} holds features of several types, and all are kept: {listed}. To keep one, "
            f"name it with --feature-type (feature_type={next(iter(numbers))!r})."
        )
    return adata
