"""Which observations are for training, for validation and for testing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vae4counts.data.errors import DataError

_PART_OF_WORD = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}


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

    def among(self, rows: np.ndarray) -> Split:
        """Return the same split of ``rows[0], rows[1], ...`` instead of 0, 1, ..."""
        parts = (np.sort(rows[part]) for part in (self.train, self.validation, self.test))
        return Split(*parts)


def random_split(
    n: int,
    *,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    classes: np.ndarray | None = None,
) -> Split:
    """Split ``n`` observations at random into three disjoint parts.

    Args:
        n: Number of observations.
        validation: Fraction in the validation part, above 0.
        test: Fraction in the test part, above 0; both together are below 1.
        seed: The same seed gives the same split; 0 or more.
        classes: Class of each observation, shape ``(n,)``: each part then has its fraction of
            every class, to within two observations (stratification).

    Returns:
        The split. Fractions are rounded to whole observations, at least one in each part.

    Raises:
        DataError: There are fewer than three observations.
        ValueError: The fractions are out of range, or ``seed`` is negative.
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
    """Split whole groups (donors, plates, slides) at random, so that no two parts share one.

    Args:
        groups: Group of each observation, shape ``(n,)``.
        validation: Fraction of the groups, not of the observations; see `random_split`.
        test: As ``validation``.
        seed: See `random_split`.

    Raises:
        DataError: There are fewer than three groups.
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
    """Read a split from a column that names the part of each observation.

    Args:
        column: ``"train"``, ``"validation"`` (or ``"valid"``, ``"val"``) or ``"test"`` for each
            of ``N`` observations, in upper or lower case. An observation whose value is missing
            or empty is in no part.

    Raises:
        DataError: A value is none of these (names the first row and its value), or a part is
            empty.
    """
    values = column.astype(object)  # plain Python values, to be shown in errors
    words = values.where(column.notna(), "").astype(str).str.strip().str.lower()
    parts = words.map(_PART_OF_WORD)
    unknown = ((words != "") & parts.isna()).to_numpy()
    if unknown.any():
        row = int(unknown.argmax())
        raise DataError(
            f"Column {column.name!r} has {values.iloc[row]!r} at row {row} "
            f"({column.index[row]!r}): it must say train, validation or test, or nothing for an "
            "observation that is in no part."
        )
    rows = {name: np.flatnonzero(parts == name) for name in ("train", "validation", "test")}
    if empty := [name for name, part in rows.items() if not part.size]:
        counted = ", ".join(f"{len(part)} {name}" for name, part in rows.items())
        raise DataError(
            f"Column {column.name!r} has no row that says {empty[0]!r} ({counted}, "
            f"{int((words == '').sum())} without a value): each part needs an observation."
        )
    return Split(**rows)


def _spread(order: np.ndarray, classes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Reorder so that the members of each class are evenly spread, from a random start."""
    _, kind, sizes = np.unique(classes[order], return_inverse=True, return_counts=True)
    by_class = np.argsort(kind, kind="stable")
    rank = np.empty(len(order))
    rank[by_class] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[np.argsort((rank + random.random(len(sizes))[kind]) / sizes[kind], kind="stable")]
