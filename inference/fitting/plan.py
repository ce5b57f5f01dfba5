"""What a fit will do, worked out from its options and the data before anything is changed."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vae4counts.data import (
    Counts,
    DataError,
    Split,
    classes_of,
    find_column,
    grouped_split,
    random_split,
    split_from_column,
)
from vae4counts.data.warning import warn
from vae4counts.inference.fitting.learning_rate import OneCycle
from vae4counts.inference.fitting.loop import Phase
from vae4counts.inference.fitting.options import (
    BasicOptions,
    Checkpoints,
    Compute,
    Schedule,
    SettingsError,
    SplitOptions,
    check_is,
)
from vae4counts.inference.fitting.step import StepSettings
from vae4counts.models import Model

# Epochs times (n^2 G)^(1/6), for n training observations of G features: about 70 epochs for 1,000
# observations of 2,000 features, 30 for 10,000 and 7 for 1,000,000.
EPOCHS = 2400
MAX_WARM_UP_STEPS = 2000
FEWEST_IN_BATCH, MOST_IN_BATCH = 128, 1024


def as_options(
    split: SplitOptions | str,
    schedule: Schedule,
    checkpoints: Checkpoints | str | Path | None,
    compute: Compute,
) -> tuple[SplitOptions, Checkpoints | None]:
    """Return what may be given in short as options, after checking the types of all.

    Args:
        split: Options, or the column that they are about.
        schedule: Options.
        checkpoints: Options, or the directory that they are about; None for none.
        compute: Options.

    Raises:
        SettingsError: One is of another type.
    """
    split = SplitOptions(column=split) if isinstance(split, str) else split
    if checkpoints is not None and not isinstance(checkpoints, Checkpoints):
        checkpoints = Checkpoints(checkpoints)
    check_is(SplitOptions, "split", split)
    check_is(Schedule, "schedule", schedule)
    check_is(Compute, "compute", compute)
    return split, checkpoints


def settings_of(
    basic: BasicOptions,
    split: SplitOptions,
    schedule: Schedule,
    compute: Compute,
) -> dict[str, Any]:
    """Return all options of a training as JSON values, as a run keeps them."""
    return basic.settings() | {
        "split": split.settings(),
        "schedule": schedule.settings(),
        "compute": compute.settings(),
    }


def split_observations(
    obs: pd.DataFrame, counts: Counts, options: SplitOptions, seed: int
) -> Split:
    """Split the observations that have enough counts, see `SplitOptions`.

    Raises:
        DataError: There are too few observations or groups, or a column does not say how to split.
        UnknownName: No such column.
    """
    kept = np.flatnonzero(total_counts(counts) >= options.min_counts)
    if options.column is not None:
        column = find_column(obs, options.column)
        split = _only(kept, split_from_column(column), options)
        _warn_of_no_part(int(column.isna().sum()), options.column)
        return split
    shares = {"validation": options.validation, "test": options.test}
    if options.group is not None:
        groups = classes_of(find_column(obs, options.group)).iloc[kept]
        known = groups.notna().to_numpy()
        _warn_of_no_part(int((~known).sum()), options.group)
        split = grouped_split(groups[known].to_numpy(), **shares, seed=seed)
        return split.among(kept[known])
    classes = None
    if options.stratify is not None:
        classes = classes_of(find_column(obs, options.stratify)).fillna("").iloc[kept].to_numpy()
    return random_split(len(kept), classes=classes, **shares, seed=seed).among(kept)


def total_counts(counts: Counts) -> np.ndarray:
    """Return the counts of each observation in all tables of counts together, shape ``(N,)``.

    Infinity for an observation of which nothing is counted: it has other values.
    """
    libraries = [library.cpu().numpy() for library in counts.libraries.values()]
    if not libraries:
        return np.full(len(counts), np.inf)
    totals = np.nansum(libraries, axis=0)
    return np.where(np.isnan(libraries).all(axis=0), np.inf, totals)


def default_batch_size(n_training: int) -> int:
    """Return how many observations a step takes: about a 128th of all, a power of 2.

    Products of large batches make better use of a processor, and many observations leave enough
    steps for them.
    """
    exponent = round(math.log2(n_training / FEWEST_IN_BATCH))
    return min(MOST_IN_BATCH, max(FEWEST_IN_BATCH, 2 ** max(0, exponent)))


def default_epochs(n_training: int, n_features: int) -> int:
    """Return the most passes over the training observations, see `fit`."""
    return max(1, round(EPOCHS / (n_training**2 * n_features) ** (1 / 6)))


def plan_training(basic: BasicOptions, schedule: Schedule, model: Model, n_training: int) -> Phase:
    """Fill in what the options leave open.

    Args:
        basic: The options that `fit` takes one by one.
        schedule: How training proceeds.
        model: The model.
        n_training: Number of training observations.

    Raises:
        SettingsError: The KL weight would never reach 1.
    """
    batch_size = basic.batch_size or default_batch_size(n_training)
    steps = math.ceil(n_training / batch_size)
    epochs, warm_up_steps = basic.epochs, schedule.warm_up_steps
    if epochs is None:
        epochs = default_epochs(n_training, model.n_features)
    if warm_up_steps is None:
        warm_up_steps = 0 if schedule.warm_start else min(MAX_WARM_UP_STEPS, epochs * steps // 5)
    if warm_up_steps > epochs * steps:
        raise SettingsError(
            f"warm_up_steps is {warm_up_steps}, but {epochs} epochs of {steps} steps are only "
            f"{epochs * steps}: the KL weight would never reach 1; train longer, or warm up faster"
        )
    return Phase(
        name="full",
        epochs=epochs,
        batch_size=batch_size,
        # where nothing is sampled there is no KL term
        warm_up_steps=0 if model.is_exact else warm_up_steps,
        patience=schedule.patience,
        steps=StepSettings(
            learning_rate=basic.learning_rate,
            prior_learning_rate=schedule.prior_learning_rate,
            cycle=OneCycle(epochs * steps),
            handlers=tuple(schedule.handlers),
            non_finite=schedule.non_finite,
            clip_norm=schedule.clip_norm,
        ),
    )


def _warn_of_no_part(n_missing: int, column: str) -> None:
    if n_missing:
        warn(f"{n_missing} observations have no value in obs[{column!r}]: they are in no part")


def _only(rows: np.ndarray, split: Split, options: SplitOptions) -> Split:
    """The part of a split that lies in some rows."""
    parts = {name: np.intersect1d(part, rows) for name, part in asdict(split).items()}
    for name, part in parts.items():
        if not part.size:
            raise DataError(
                f"Column {options.column!r}: no observation of the {name} part has a total count "
                f"of {options.min_counts} or more."
            )
    return Split(**parts)
