"""Covariates that go together, so that their effects cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import chi2_contingency
from torch import Tensor

from vae4counts.data.warning import warn

# Cramér's V, the correlation ratio and the absolute correlation all go from 0 to 1. From here on
# two covariates tell so much of each other that what is left (1 - 0.9^2, a fifth of the variance of
# numbers) hardly separates their effects.
HIGH_ASSOCIATION = 0.9
# Eigenvalues of the correlation matrix of the design that are rounding errors.
SMALLEST_EIGENVALUE = 1e-9
NO_EFFECTS = "their effects cannot be told apart; leave one of them out"


def warn_of_untrained(
    levels: Mapping[str, list[str] | None], columns: Mapping[str, Tensor]
) -> None:
    """Warn of levels that no training observation has.

    Args:
        levels: The levels of the categorical covariates, None for a continuous one.
        columns: Values of the covariates of the training observations, ``(N,)`` each.
    """
    for name, own in levels.items():
        if own is not None:
            seen = set(columns[name].unique().tolist())
            missing = [level for code, level in enumerate(own) if code not in seen]
            if missing:
                which = ", ".join(map(repr, missing))
                warn(
                    f"no training observation has {name!r} of {which}: what the model says of it "
                    f"is not learnt; split by SplitOptions(stratify={name!r}) (--stratify), or "
                    "leave it out and adapt the run to it"
                )


def warn_of_confounding(
    columns: Mapping[str, Tensor],
    levels: Mapping[str, list[str] | None],
    label: str | None = None,
    classes: np.ndarray | None = None,
) -> None:
    """Warn of covariates that go together, once for each pair.

    Two categorical covariates go together if the bias-corrected `cramers_v` is 0.9 or more; two
    continuous ones if their absolute correlation is; one of each if the `correlation_ratio` is. A
    factor whose levels lie within those of another one, as donors in batches, is told apart from
    them, whatever its V. What more than two covariates have together is found by the rank of the
    design.

    Args:
        columns: Values of the covariates of the training observations, ``(N,)`` each: codes of
            levels or numbers.
        levels: The levels of the categorical ones, None for a continuous one.
        label: The name of a column of known classes; None for none.
        classes: The classes as text, ``(N,)``, NaN where none is known.
    """
    values = {name: columns[name].cpu().numpy() for name in levels}
    numbers = {name for name, own in levels.items() if own is None}
    told: set[str] = set()
    for name in levels:
        if len(np.unique(values[name])) == 1:
            warn(
                f"covariate {name!r} has the same value in all training observations: leave it out"
            )
            told.add(name)
    for first, second in combinations([name for name in levels if name not in told], 2):
        said = _said_of_pair(first, second, values, numbers)
        if said is not None:
            warn(said)
            told.add(second)
    remaining = {name: values[name] for name in levels if name not in told}
    if together := confounded(remaining, numbers):
        names = ", ".join(map(repr, together))
        warn(f"the covariates {names} determine one another taken together: {NO_EFFECTS}")
    if label is not None and classes is not None:
        known = pd.notna(classes)
        codes = pd.factorize(classes[known])[0]
        if len(np.unique(codes)) > 1:
            for name in levels:
                said = _said_of_label(name, label, values[name][known], codes, name in numbers)
                if said is not None:
                    warn(said)


def cramers_v(first: np.ndarray, second: np.ndarray) -> float:
    r"""Return the bias-corrected Cramér's V of two categorical columns, from 0 to 1.

    .. math:: \tilde V = \sqrt{\tilde\varphi^2 / \min(\tilde r - 1, \tilde c - 1)}, \quad
              \tilde\varphi^2 = \max(0, \chi^2 / n - (r - 1)(c - 1) / (n - 1)), \quad
              \tilde r = r - (r - 1)^2 / (n - 1)

    (Bergsma 2013). 0 where one of them is constant, or different in each observation.

    Args:
        first: ``N`` values.
        second: As many.
    """
    table = pd.crosstab(first, second).to_numpy()
    n, (r, c) = table.sum(), table.shape
    if min(r, c) < 2:
        return 0.0
    chi2 = chi2_contingency(table, correction=False).statistic
    phi2 = max(0.0, chi2 / n - (r - 1) * (c - 1) / (n - 1))
    smaller = min(size - 1 - (size - 1) ** 2 / (n - 1) for size in (r, c))
    return float(min(1.0, np.sqrt(phi2 / smaller))) if smaller > 0 else 0.0


def correlation_ratio(numbers: np.ndarray, codes: np.ndarray) -> float:
    r"""Return :math:`\eta`, the root of the share of a variance that lies between classes.

    Args:
        numbers: ``N`` values.
        codes: The class of each.
    """
    numbers = numbers.astype(np.float64)
    means = pd.Series(numbers).groupby(codes).transform("mean").to_numpy()
    variance = numbers.var()
    return float(np.sqrt(means.var() / variance)) if variance > 0 else 0.0


def is_nested(inner: np.ndarray, outer: np.ndarray) -> bool:
    """Whether each class of one column occurs with a single class of another one."""
    pairs = pd.DataFrame({"inner": inner, "outer": outer}).drop_duplicates()
    return not pairs["inner"].duplicated().any()


def confounded(values: Mapping[str, np.ndarray], numbers: set[str]) -> list[str]:
    """Return the covariates whose columns of the design depend linearly on those of others.

    The design has a constant, a column for each number, and one for each level but the first.

    Args:
        values: The values of each covariate, codes or numbers, ``(N,)`` each.
        numbers: Which of them are numbers.
    """
    blocks = {name: _columns(each, name in numbers) for name, each in values.items()}
    if not blocks:
        return []
    owner = np.concatenate([[name] * block.shape[1] for name, block in blocks.items()])
    design = sp.hstack(list(blocks.values()), format="csr").astype(np.float64)
    n, mean = design.shape[0], np.asarray(design.mean(0)).ravel()
    covariance = (design.T @ design).toarray() / n - np.outer(mean, mean)
    scale = np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).tiny))
    correlation = covariance / np.outer(scale, scale)
    rank = _rank(correlation)
    if rank == len(owner):
        return []
    found = []
    for name in blocks:
        others = owner != name
        if _rank(correlation[np.ix_(others, others)]) + (~others).sum() > rank:
            found.append(name)
    return found


def _said_of_pair(
    first: str, second: str, values: Mapping[str, np.ndarray], numbers: set[str]
) -> str | None:
    """What is wrong with two covariates, in words; None if nothing is."""
    a, b = values[first], values[second]
    pair = f"{first!r} and {second!r}"
    if first in numbers and second in numbers:
        r = float(np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1])
        high = abs(r) >= HIGH_ASSOCIATION
        return f"{pair} go together (correlation {r:.2f}): {NO_EFFECTS}" if high else None
    if first in numbers or second in numbers:
        number, codes = (a, b) if first in numbers else (b, a)
        eta = correlation_ratio(number, codes)
        high = eta >= HIGH_ASSOCIATION
        return f"{pair} go together (correlation ratio {eta:.2f}): {NO_EFFECTS}" if high else None
    if is_nested(a, b) and is_nested(b, a):
        return f"{pair} are the same classes: {NO_EFFECTS}"
    for inner, outer in ((first, second), (second, first)):
        if is_nested(values[inner], values[outer]):
            return (
                f"{inner!r} lies within {outer!r} (each level of {inner!r} has one level of "
                f"{outer!r}): {inner!r} tells all that {outer!r} does, so that the effect of "
                f"{outer!r} cannot be told from those of its {inner!r}; keep {inner!r} to remove "
                f"both, or {outer!r} to compare its levels"
            )
    v = cramers_v(a, b)
    high = v >= HIGH_ASSOCIATION
    return f"{pair} go together (Cramér's V {v:.2f}): {NO_EFFECTS}" if high else None


def _said_of_label(
    name: str, label: str, values: np.ndarray, codes: np.ndarray, is_number: bool
) -> str | None:
    """What is wrong with a covariate and the label, in words; None if nothing is."""
    removed = (
        f"what differs between classes of {label!r} may be taken for an effect of {name!r}, and be "
        "missing from the latents"
    )
    if is_number:
        eta = correlation_ratio(values, codes)
        if eta >= HIGH_ASSOCIATION:
            return f"{name!r} and {label!r} go together (correlation ratio {eta:.2f}): {removed}"
        return None
    if len(np.unique(values)) > 1 and is_nested(values, codes):
        return f"each level of {name!r} has a single class of {label!r}: {removed}"
    v = cramers_v(values, codes)
    if v >= HIGH_ASSOCIATION:
        return f"{name!r} and {label!r} go together (Cramér's V {v:.2f}): {removed}"
    return None


def _columns(values: np.ndarray, is_number: bool) -> sp.csr_matrix:
    if is_number:
        centred = values.astype(np.float64) - values.astype(np.float64).mean()
        return sp.csr_matrix((centred / (centred.std() or 1.0))[:, None])
    codes = np.unique(values, return_inverse=True)[1]
    rows = np.flatnonzero(codes)
    places = (np.ones(len(rows)), (rows, codes[rows] - 1))
    return sp.csr_matrix(places, shape=(len(codes), int(codes.max())))


def _rank(correlation: np.ndarray) -> int:
    return int((np.linalg.eigvalsh(correlation) > SMALLEST_EIGENVALUE).sum())
