"""Groups of observations: named by a column of ``obs``, or by masks.

An observation whose value is missing is in no group, nor in the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from vae4counts.data import DataError, UnknownName, find_column

# A value of the column, or several values that make one group.
Value: TypeAlias = str | float | bool
Values: TypeAlias = Value | Sequence[Value]
Mask: TypeAlias = np.ndarray | pd.Series | Sequence[bool]


def class_names(column: pd.Series) -> pd.Series:
    """Return the class of each observation as text, None where it is missing.

    Whole numbers have no decimals, since missing values turn a column of them into floats.
    """
    names = column.astype(object).map(_as_text, na_action="ignore")
    return names.where(names.notna(), None)


def known_classes(column: pd.Series) -> pd.Series:
    """Return `class_names` of which some are known.

    Raises:
        DataError: All are missing.
    """
    names = class_names(column)
    if len(names) and names.isna().all():
        raise DataError(f"all values of {column.name!r} are missing: name another column, or none")
    return names


def groups_of(obs: pd.DataFrame, column: str) -> list[str]:
    """Return the names of the groups in a column, sorted.

    Raises:
        DataError: All values are missing.
        UnknownName: No such column.
    """
    return sorted(known_classes(find_column(obs, column)).dropna().unique())


def group_mask(obs: pd.DataFrame, column: str, values: Values) -> np.ndarray:
    """Return a mask of the observations with one of some values in a column, shape ``(N,)``.

    Raises:
        DataError: All values of the column are missing, or none is asked for.
        UnknownName: No such column, or no observation with such a value; the message lists those
            that exist.
    """
    known = groups_of(obs, column)
    wanted = [_known_name(value, known, column) for value in _each(values)]
    if not wanted:
        raise DataError(f"no group of obs[{column!r}] is named: they are {', '.join(known)}")
    return class_names(obs[column]).isin(wanted).to_numpy()


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
    if chosen.isna().any():
        raise DataError(
            f"{name} is missing for {int(chosen.isna().sum())} observations: it must be True or "
            "False for each"
        )
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
        known = obs[groupby].notna().to_numpy()
        second = known & ~first if group2 is None else group_mask(obs, groupby, group2)
        names = (group_name(group1), "rest" if group2 is None else group_name(group2))
    else:
        first = as_mask(obs, idx1, "idx1")
        second = ~first if idx2 is None else as_mask(obs, idx2, "idx2")
        names = ("idx1", "rest" if idx2 is None else "idx2")
    if not second.any():
        raise DataError(
            f"{names[0]!r} is all observations that have a value: none are left to compare it with"
        )
    if (first & second).any():
        both = int((first & second).sum())
        raise DataError(f"{both} observations are in both groups: the groups must not overlap")
    return first, second, *names


def group_name(values: Values) -> str:
    """Return a value as text, or several joined."""
    return " + ".join(map(_as_text, _each(values)))


def _each(values: Values) -> Iterable[Value]:
    return values if pd.api.types.is_list_like(values) else [values]  # type: ignore[return-value,list-item]


def _as_text(value: Any) -> str:
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def _known_name(value: Value, known: Sequence[str], column: str) -> str:
    """Return the name of a group that a value means: the same text, or else the same number."""
    name = _as_text(value)
    if name in known:
        return name
    number = _number(name)
    same = [each for each in known if number is not None and _number(each) == number]
    if len(same) != 1:
        raise UnknownName(f"group in obs[{column!r}]", name, known)
    return same[0]


def _number(name: str) -> float | None:
    with suppress(ValueError):
        return float(name)
    return None
