"""The features that stand out in a table: of loadings, latent effects or component contrasts."""

from __future__ import annotations

import pandas as pd


def strongest_features(
    table: pd.DataFrame, n: int = 10, *, both_ends: bool = False
) -> pd.DataFrame:
    """Lists the features with the largest values in each column.

    Args:
        table: Features x latents, or features x components.
        n: How many for each column, at most.
        both_ends: Whether to list the ``n`` smallest values too, the smallest last.

    Returns:
        A row a feature and column of the table, in its order: the column (named as the table
        names them), ``rank`` (1 for the largest; from the other end -1 for the smallest),
        ``feature``, ``value``.
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
