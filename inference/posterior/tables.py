"""The tables of a model, as questions about one of them or about its counts need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.distributions import constraints

from vae4counts.data import Batch, UnknownName
from vae4counts.models import Model, NotInModelError
from vae4counts.models.joint import JointDistribution, SideBySide


def count_tables(model: Model) -> list[str]:
    """Return the names of the tables whose sites hold counts."""
    return [name for name in model.tables if model.observed(name).holds_counts]


def count_table(model: Model, table: str | None) -> str:
    """Return the name of the table of counts that a question is about.

    Args:
        model: The model.
        table: The table; None for the only one.

    Raises:
        NotInModelError: None is named of several, or it does not hold counts.
        UnknownName: The model has no such table.
    """
    known = count_tables(model)
    if table is None and len(model.tables) > 1:
        listed = ", ".join(map(repr, known)) or "none"
        raise NotInModelError(
            f"{model.title} has {len(model.tables)} tables ({', '.join(model.tables)}): name one "
            f"with table=...; those of counts are {listed}"
        )
    name = model.tables[0] if table is None else table
    if name not in model.tables:
        raise UnknownName("table", name, list(model.tables))
    if name not in known:
        what = type(model).__name__ if len(model.tables) == 1 else f"table {name!r}"
        raise NotInModelError(f"{what} is not a distribution of counts: it predicts none")
    return name


def require_likelihoods(model: Model, tables: Sequence[str]) -> None:
    """Check that the log-probabilities of tables are those of their values.

    Raises:
        NotInModelError: A table is read as counts, but the model describes something else of them,
            such as their logarithms.
    """
    for name in tables:
        is_count = model.supports[name] is constraints.nonnegative_integer
        if is_count and not model.observed(name).holds_counts:
            raise NotInModelError(
                f"{type(model).__name__} is not a distribution of counts: it predicts none, and "
                "its likelihood cannot be compared with that of counts"
            )


def feature_columns(model: Model, table: str) -> slice:
    """Return where the features of a table are among those of the model.

    Raises:
        UnknownName: The model has no such table.
    """
    sizes = model.table_sizes
    if table not in sizes:
        raise UnknownName("table", table, list(sizes))
    start = sum(sizes[other] for other in list(sizes)[: list(sizes).index(table)])
    return slice(start, start + sizes[table])


def presence(batch: Batch) -> Mapping[str, np.ndarray]:
    """Return which observations of a batch have each table, shape ``(B,)`` of truth values."""
    return {name: table.present(len(batch)).cpu().numpy() for name, table in batch.tables.items()}


def joint_distribution(model: Model, nodes: Any) -> JointDistribution:
    """Return the distribution of the values given the latents, from a trace of the model.

    Those of several tables are side by side.

    Raises:
        NotInModelError: The model does not describe its tables by joint distributions given its
            latents.
    """
    if model.reads_counts:
        raise NotInModelError(f"{model.title} has no distribution of counts given its latents")
    parts = [nodes[table]["fn"] for table in model.tables]
    for part in parts:
        if not isinstance(part, JointDistribution):
            raise NotInModelError(
                f"{model.title} observes its values by a {type(part).__name__}: this needs a "
                "JointDistribution"
            )
    return parts[0] if len(parts) == 1 else SideBySide(parts)
