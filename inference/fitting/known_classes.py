"""Labels put into batches for training, which is all that sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from torch import Tensor

from vae4counts.data import Counts, DataError, Split
from vae4counts.inference.fitting.options import SettingsError
from vae4counts.models.labels import UNLABELLED, Labels


def training_parts(
    counts: Counts, obs: pd.DataFrame, split: Split, labels: Labels | None
) -> tuple[Counts, Counts]:
    """Return training and validation observations, with the labels that they have.

    Validation has them too: the best epoch is then one of the same objective.

    Args:
        counts: The counts of all observations.
        obs: The table of all observations.
        split: Which of them are for what.
        labels: The labels of the model; None for none.

    Raises:
        DataError: A class is none of the model's, or no training observation is labelled as one.
        SettingsError: The guide has the column as a covariate.
        UnknownName: There is no such column.
    """
    training, validation = (
        with_known_classes(counts.subset(rows), obs.iloc[rows], labels)
        for rows in (split.train, split.validation)
    )
    check_known(training, labels)
    return training, validation


def with_known_classes(counts: Counts, obs: pd.DataFrame, labels: Labels | None) -> Counts:
    """Return counts whose batches hold the known classes of their observations.

    They are a further column of the batches, of the name of the labels' column.

    Args:
        counts: The counts of ``N`` observations.
        obs: The table of the same observations.
        labels: The labels of the model; None leaves the counts as they are.

    Raises:
        DataError: A class is none of the model's.
        SettingsError: The guide has the column as a covariate.
        UnknownName: There is no such column.
    """
    if labels is None:
        return counts
    if labels.column in counts.covariates:
        raise SettingsError(
            f"{labels.column!r} is a covariate of the guide and the label: a covariate is always "
            "known"
        )
    codes = labels.codes(obs).to(counts.device)
    return replace(counts, covariates={**counts.covariates, labels.column: codes})


def known_classes(counts: Counts, labels: Labels | None) -> Tensor | None:
    """Return the codes that `with_known_classes` has put into batches, ``(N,)``, if any."""
    return None if labels is None else counts.covariates.get(labels.column)


def check_known(training: Counts, labels: Labels | None) -> None:
    """Make sure that a training observation of each class has its label.

    Raises:
        DataError: One has none, so that no component can be that class.
    """
    known = known_classes(training, labels)
    if labels is None or known is None:
        return
    found = set(known[known != UNLABELLED].tolist())
    missing = [name for code, name in enumerate(labels.classes) if code not in found]
    if missing:
        raise DataError(
            f"no training observation is labelled {', '.join(map(repr, missing))} in "
            f"{labels.column!r}: split by SplitOptions(stratify={labels.column!r}) (--stratify) or "
            "another seed, or leave the class out by Labels.of(..., ignored=[...])"
        )


def digest(columns: Mapping[str, Tensor]) -> str:
    """Return a digest of what a model is told, by which a fit that is resumed knows it again."""
    found = hashlib.sha256()
    for name in sorted(columns):
        found.update(name.encode(errors="surrogatepass"))
        found.update(columns[name].cpu().numpy().tobytes())
    return found.hexdigest()


def some_of_each(known: Tensor, n: int) -> np.ndarray:
    """Return the positions of the first ``n`` observations with each label."""
    codes = pd.Series(known.cpu().numpy())
    rank = codes.groupby(codes).cumcount()
    return np.flatnonzero((rank < n) & (codes != UNLABELLED))
