"""Which observations are for training, for validation and for the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vae4counts.data.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Positions of the observations of each part, as sorted int64 arrays.

    Attributes:
        train: What parameters are fitted to.
        validation: What early stopping looks at.
        test: What results are measured on.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def to_dict(self) -> dict[str, list[int]]:
        """Gives lists of whole numbers, ready for JSON."""
        return {
            "train": self.train.tolist(),
            "validation": self.validation.tolist(),
            "test": self.test.tolist(),
        }

    def among(self, rows: np.ndarray) -> Split:
        """The same split of ``rows[0], rows[1], ...`` instead of 0, 1 ..."""
        parts = (np.sort(rows[part]) for part in (self.train, self.validation, self.test))
        return Split(*parts)

    @classmethod
    def from_dict(cls, parts: Mapping[str, Sequence[int]]) -> Split:
        """Takes what `to_dict` gave.

        Raises:
            DataError: If a part is missing.
        """
        names = ("train", "validation", "test")
        if missing := [name for name in names if name not in parts]:
            raise DataError(f"A split must have the parts {names}; missing: {missing}.")
        return cls(*(np.asarray(parts[name], dtype=np.int64) for name in names))


def random_split(
    n: int,
    *,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    classes: np.ndarray | None = None,
) -> Split:
    """Splits ``n`` observations at random into three parts that share none.

    Args:
        n: Number of observations.
        validation: Share of the validation part, above 0.
        test: Share of the test part, above 0; both together are below 1.
        seed: The same seed gives the same split; 0 or more.
        classes: Class of each observation, shape ``(n,)``: each part then has of each class its
            share, to within two observations (stratification).

    Returns:
        The split. Shares are rounded to whole observations, at least one in each part.

    Raises:
        DataError: If there are fewer than three observations.
        ValueError: If the shares are out of range, or ``seed`` is negative.
    """
    if n < 3:
        raise DataError(
            f"{n} observations cannot be split into train, validation and test: 3 are needed."
        )
    if validation <= 0 or test <= 0 or validation + test >= 1:
        raise ValueError(
            "validation and test must be above 0 and together below 1, "
            f"not {validation} and {test}."
        )
    n_validation = min(max(round(n * validation), 1), n - 2)
    n_test = min(max(round(n * test), 1), n - n_validation - 1)
    random = np.random.default_rng(seed)
    order = random.permutation(n)
    if classes is not None:
        order = _spread(order, classes, random)
    parts = np.split(order, [n_validation, n_validation + n_test])
    held_out, tested, trained = (np.sort(part) for part in parts)
    return Split(train=trained, validation=held_out, test=tested)


def grouped_split(
    groups: np.ndarray, *, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> Split:
    """Splits whole groups (donors, plates, slides) at random: no two parts share one.

    Args:
        groups: Group of each observation, shape ``(n,)``.
        validation: Share of the groups, not of the observations; see `random_split`.
        test: As ``validation``.
        seed: See `random_split`.

    Raises:
        DataError: If there are fewer than three groups.
        ValueError: See `random_split`.
    """
    kinds, group = np.unique(groups, return_inverse=True)
    if len(kinds) < 3:
        raise DataError(
            f"{len(kinds)} groups cannot be split into train, validation and test: 3 are needed."
        )
    split = random_split(len(kinds), validation=validation, test=test, seed=seed)
    parts = (split.train, split.validation, split.test)
    return Split(*(np.flatnonzero(np.isin(group, part)) for part in parts))


def split_from_column(column: pd.Series) -> Split:
    """Take the split that a column names."""
    parts = {name: np.flatnonzero(column == name) for name in ("train", "validation", "test")}
    return Split(**parts)


def _spread(order: np.ndarray, classes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Reorders so that the members of each class lie evenly, from a random start of their own."""
    _, kind, sizes = np.unique(classes[order], return_inverse=True, return_counts=True)
    by_class = np.argsort(kind, kind="stable")
    rank = np.empty(len(order))
    rank[by_class] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[np.argsort((rank + random.random(len(sizes))[kind]) / sizes[kind], kind="stable")]
