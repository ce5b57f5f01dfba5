"""The features that stand out in a table of loadings, latent effects or component contrasts."""

from __future__ import annotations

import pandas as pd


def strongest_features(
    table: pd.DataFrame, n: int = 10, *, both_ends: bool = False
) -> pd.DataFrame:
    """List the features with the largest values in each column.

    Args:
        table: Features x latents, or features x components.
        n: Largest number of features for each column.
        both_ends: Whether to also list the ``n`` smallest values, the smallest last.

    Returns:
        A row for each feature and column, in the table's order: the column (under the name of the
        table's columns), ``rank`` (1 for the largest, -1 for the smallest), ``feature``,
        ``value``.
    """
    what = table.columns.name or "column"
    parts = []
    for name in table.columns:
        ordered = table[name].sort_values(ascending=False, kind="stable")
        ordered = ordered[ordered.notna()]
        top = ordered.iloc[:n]
        low = ordered.iloc[max(n, len(ordered) - n) :] if both_ends else ordered.iloc[:0]
        ranks = [*range(1, len(top) + 1), *range(-len(low), 0)]
        features = [*top.index, *low.index]
        values = [*top, *low]
        parts.append(
            pd.DataFrame({what: name, "rank": ranks, "feature": features, "value": values})
        )
    return pd.concat(parts, ignore_index=True)
