"""Groups of observations: named by a column of ``obs``, or by masks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from vae4counts.data import DataError, UnknownName, class_name, classes_of, find_column

# A value of the column, or several values that make one group.
Values: TypeAlias = str | float | Sequence[str | float]
Mask: TypeAlias = np.ndarray | pd.Series | Sequence[bool]


def group_mask(obs: pd.DataFrame, column: str, values: Values) -> np.ndarray:
    """Return a mask of the observations with one of some values in a column, shape ``(N,)``.

    Raises:
        DataError: No group is named.
        UnknownName: No such column, or no observation with such a value; the message lists those
            that exist.
    """
    found = classes_of(find_column(obs, column))
    known = list(found.dropna().unique())
    wanted = [_meant(name, known) for name in names_of(values)]
    if not wanted:
        raise DataError(f"no group of obs[{column!r}] is named: name one of {', '.join(known)}")
    for value in wanted:
        if value not in known:
            raise UnknownName(f"group in obs[{column!r}]", value, known)
    return found.isin(wanted).to_numpy()


def aligned(obs: pd.DataFrame, values: Any, name: str) -> pd.Series:
    """Bring values of the observations into their order; a pandas Series is aligned by its index.

    Raises:
        DataError: There is not one for each observation, or the index is not theirs.
    """
    if isinstance(values, pd.Series) and not values.index.equals(obs.index):
        if set(values.index) != set(obs.index) or not values.index.is_unique:
            raise DataError(
                f"{name} is a Series whose index is not that of the observations: give its values"
            )
        values = values.reindex(obs.index)
    if np.shape(values) != (len(obs),):
        raise DataError(
            f"{name} has shape {np.shape(values)} but there are {len(obs)} observations: it must "
            "have one value for each"
        )
    return values if isinstance(values, pd.Series) else pd.Series(values, obs.index)


def as_mask(obs: pd.DataFrame, mask: Mask | None, name: str) -> np.ndarray:
    """Check a mask of observations; a pandas Series is aligned by its index.

    Raises:
        DataError: It is not boolean, has another length, or selects no observation.
    """
    chosen = aligned(obs, mask, name)
    if not pd.api.types.is_bool_dtype(chosen):
        raise DataError(f"{name} holds {chosen.dtype}: it must be a boolean mask")
    if missing := int(chosen.isna().sum()):
        raise DataError(f"{name} is missing for {missing} observations: it must be True or False")
    values = chosen.to_numpy(dtype=bool)
    if not values.any():
        raise DataError(f"{name} selects no observation")
    return values


def two_groups(
    obs: pd.DataFrame,
    groupby: str | None,
    group1: Values | None,
    group2: Values | None,
    idx1: Mask | None,
    idx2: Mask | None,
) -> tuple[np.ndarray, np.ndarray, str, str]:
    """Return two groups that do not overlap, and names for them.

    Args:
        obs: The table of the observations.
        groupby: A column of it.
        group1: A value of the column, or several.
        group2: The same; None for all other observations that have a value.
        idx1: A mask, instead of a column and values.
        idx2: The same; None for all other observations.

    Returns:
        Two masks, each of shape ``(N,)``, and two names.

    Raises:
        DataError: The groups are given by both a column and a mask, or by neither; or one is
            empty, or they overlap.
        UnknownName: No such column or value.
    """
    if (groupby is None) == (idx1 is None):
        raise DataError("give the groups either by groupby and group1, or by a mask idx1")
    if groupby is not None:
        if group1 is None:
            raise DataError("groupby needs group1, a value of the column")
        first = group_mask(obs, groupby, group1)
        rest = classes_of(obs[groupby]).notna().to_numpy() & ~first
        second = rest if group2 is None else group_mask(obs, groupby, group2)
        names = (group_name(group1), "rest" if group2 is None else group_name(group2))
    else:
        first = as_mask(obs, idx1, "idx1")
        second = ~first if idx2 is None else as_mask(obs, idx2, "idx2")
        names = ("idx1", "rest" if idx2 is None else "idx2")
    if not second.any():
        raise DataError(
            f"{names[0]!r} is all observations that are known: none are left to compare it with"
        )
    if (first & second).any():
        both = int((first & second).sum())
        raise DataError(f"{both} observations are in both groups: the groups must not overlap")
    return first, second, *names


def _meant(name: str, known: Sequence[str]) -> str:
    """Return the group that a text means: itself, or the same number without a point."""
    with suppress(ValueError):
        number = class_name(float(name))
        if name not in known and number in known:
            return number
    return name


def group_name(values: Values) -> str:
    """Return a value, or several joined."""
    return " + ".join(names_of(values))


def names_of(values: Values) -> list[str]:
    """Return the texts of a value, or of several."""
    several = [values] if isinstance(values, str) or np.isscalar(values) else values
    return [class_name(value) for value in np.asarray(several, dtype=object).tolist()]
