"""One list of names for the features of several tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from anndata import AnnData

from vae4counts.data.modalities.multi_data import MultiData


def feature_names(by_table: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of the features of all tables, tables in order.

    A name that several tables have is told apart as ``"table:name"``; the others are as they are.

    Args:
        by_table: The names of each table's features.
    """
    tables_with = Counter(name for names in by_table.values() for name in set(names))
    return [
        f"{table}:{name}" if tables_with[name] > 1 else name
        for table, names in by_table.items()
        for name in names
    ]


def own_names(features: Sequence[str], table: str, known: Collection[str]) -> list[str]:
    """Return the names that features of a table have in data, the inverse of `feature_names`.

    Args:
        features: The names of the table's features among those of all tables.
        table: The table.
        known: The names of the features of the data.
    """
    there = set(known)
    return [name if name in there else name.removeprefix(f"{table}:") for name in features]


def features_of(data: AnnData | MultiData) -> list[str]:
    """Return the names of the features of data, of all modalities as `feature_names` does."""
    if isinstance(data, MultiData):
        return feature_names({name: list(map(str, a.var_names)) for name, a in data.mod.items()})
    return [str(name) for name in data.var_names]
