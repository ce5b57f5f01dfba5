"""Adapt a run to data that have new levels of its covariates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from vae4counts.data import Counts, Data, DataError, Split, to_modalities
from vae4counts.inference.fitting.checks import accelerator_for
from vae4counts.inference.fitting.job import TrainingJob, train
from vae4counts.inference.fitting.logger import Logger
from vae4counts.inference.fitting.new_levels import ExtendedPair, unknown_levels
from vae4counts.inference.fitting.nonfinite import NonFiniteError
from vae4counts.inference.fitting.options import (
    AdaptationOptions,
    Compute,
    Schedule,
    SplitOptions,
    check_is,
)
from vae4counts.inference.fitting.plan import (
    default_epochs,
    plan_training,
    settings_of,
    split_observations,
)
from vae4counts.inference.fitting.progress import Progress
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.run.alignment import counts_like, labels_of
from vae4counts.inference.run.fitted_pair import (
    AS_FITTED,
    AsFitted,
    FittedPair,
    fitted_with,
    pair_of,
)
from vae4counts.inference.run.run import Run
from vae4counts.models.covariates import joined_columns

# Of the time of a fit to old and new observations together.
SHARE_OF_FIT = 0.1
# Everything begins where the first fit has ended.
SCHEDULE = Schedule(warm_start=True)
# Of a run's settings, those that say how its data are to be read.
READING = ("ignore_label", "transpose", "feature_type", "round")


def adapt(
    run: FittedPair,
    adata: Data,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float = 2e-1,
    seed: int = 0,
    label: str | AsFitted | None = AS_FITTED,
    layer: str | AsFitted | None = AS_FITTED,
    device: str = "auto",
    progress: bool = True,
    logger: Logger | None = None,
    split: SplitOptions | str | None = None,
) -> Run:
    """Adapt a run to data that have new levels of its covariates, such as a new batch.

    Only what belongs to the new levels is trained: their columns of the decoder's weights (and of
    the encoder's, if it sees covariates), their dispersions, their learnt vectors. It starts at the
    mean over the old levels. Everything else stays as it is, bit for bit, so that old observations
    have the latents and answers that they had, and new ones are placed among them.

    Known labels are not read: components stay the classes that they are. Averages over the levels
    of covariates, as in `Run.interpret`, are those over the old levels, in the frequencies of the
    first fit; ``at={"batch": "new"}`` asks about a new one.

    Args:
        run: The run; it is left as it is.
        adata: Raw counts, whose features are matched by name; in any form that `to_modalities`
            takes. Observations that have only known levels are not trained on.
        epochs: Most passes over the training observations that have new levels. If None, as many
            as take a tenth of the time of a fit to the old and new ones together, but no more than
            a fit to the new ones alone would take.
        batch_size: Observations per step. If None, as in `fit`.
        learning_rate: Adam's highest learning rate. It may be higher than in a fit, since no
            network is trained.
        seed: Seed of the split, the order of the observations and the draws.
        label: A column of ``obs`` with known classes, for evaluation; None for none; by default
            the fit's own.
        layer: The layer that holds the counts; None for ``X``; by default the fit's own.
        device: See `fit`.
        progress: See `fit`.
        logger: See `fit`.
        split: Which observations are for what, see `fit`; None for its default.

    Returns:
        A run of its own, fitted to these data: its split and fingerprint are theirs. Its settings
        say under ``"adapted_from"`` where it came from.

    Raises:
        DataError: The data have no new level, or lack observations of one in the training part; a
            covariate has a missing value; or the values are not counts of the run's features.
        UnknownName: No such layer or column.
        SettingsError: An option is out of range.
        NonFiniteError: A step's loss or gradient is not finite.
        TypeError: The pair cannot be saved, and so not be made with more levels.
    """
    basic = AdaptationOptions(epochs, batch_size, learning_rate, seed, str(device).lower())
    if split is None or isinstance(split, str):
        split = SplitOptions(column=split)
    check_is(SplitOptions, "split", split)
    shown = Progress(progress, logger)
    layer = run.layer if layer is AS_FITTED else layer
    label = run.label if label is AS_FITTED else label
    with fitted_with("layer", layer, run.layer):
        data = to_modalities(adata, run.model.tables, run.modalities, layer, lacking=True)
    with fitted_with("label", label, run.label):
        labels_of(data, label)
    new = unknown_levels(run, data.obs)
    pair = ExtendedPair.of(run, new)
    columns = joined_columns(pair.model.covariates, pair.guide.covariates)
    with fitted_with("layer", layer, run.layer):
        counts, known_by = counts_like(data, run, layer, columns)
    parts = split_observations(data.obs, counts, split, basic.seed)
    rows, validation_rows = _rows_with_new_levels(counts, parts, columns, new)
    training, validation = counts.subset(rows), counts.subset(validation_rows)
    pair.start_buffers(training, basic.seed)
    job = _job(run, pair, basic, training, validation, progress=shown)
    try:
        with pair.only_new_trained():
            trained = train(pair.model, pair.guide, job)
    except NonFiniteError as error:
        raise error.naming(data.obs_names[rows]) from None
    pair_of(pair.model, pair.guide).eval().load_state_dict(trained.state)
    return Run(
        model=pair.model,
        guide=pair.guide,
        features=list(run.features),
        split=parts,
        fingerprint=known_by,
        layer=layer,
        label=label,
        settings=_settings(run, basic, split, new),
        history=pd.DataFrame([asdict(record) for record in trained.history]),
        metrics=trained.metrics(len(training)),
        processes=Processes.here(),
        modalities=run.modalities,
        widths=run.widths,
    )


def adaptation_epochs(n_old: int, n_new: int, n_features: int) -> int:
    """Return the most passes over new observations that take a tenth of the time of a whole fit.

    Args:
        n_old: Number of training observations of the run.
        n_new: Number of training observations with new levels.
        n_features: Number ``G`` of features.
    """
    n_both = n_old + n_new
    in_a_tenth = SHARE_OF_FIT * default_epochs(n_both, n_features) * n_both / n_new
    return max(1, min(round(in_a_tenth), default_epochs(n_new, n_features)))


def _rows_with_new_levels(
    counts: Counts,
    parts: Split,
    columns: Mapping[str, list[str] | None],
    new: Mapping[str, Sequence[str]],
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and validation observations that have a new level.

    Raises:
        DataError: A new level has no training observation, or none of them one for validation.
    """
    first_new = {name: len(columns[name] or ()) - len(levels) for name, levels in new.items()}
    codes = {name: counts.covariates[name].cpu().numpy() for name in new}
    has_new = np.any([codes[name] >= first for name, first in first_new.items()], axis=0)
    train_rows, validation_rows = (rows[has_new[rows]] for rows in (parts.train, parts.validation))
    for name, levels in new.items():
        present = set(codes[name][train_rows])
        for number, level in enumerate(levels, first_new[name]):
            if number not in present:
                raise DataError(
                    f"the new level {level!r} of {name!r} has no observation in the training part: "
                    "split with stratify, or leave its observations out"
                )
    if not len(validation_rows):
        raise DataError(
            "the validation part has no observation with a new level: make it larger, with "
            "split=SplitOptions(validation=0.2)"
        )
    return train_rows, validation_rows


def _job(
    run: FittedPair,
    pair: ExtendedPair,
    basic: AdaptationOptions,
    training: Counts,
    validation: Counts,
    *,
    progress: Progress,
) -> TrainingJob:
    n_old, n_new = len(run.split.train), len(training)
    if basic.epochs is None:
        epochs = adaptation_epochs(n_old, n_new, len(run.features))
        basic = AdaptationOptions(**{**asdict(basic), "epochs": epochs})
    compute = Compute()
    return TrainingJob(
        training=training,
        validation=validation,
        phase=plan_training(basic, SCHEDULE, pair.model, n_new),
        restarts=1,
        warm_start=True,
        seed=basic.seed,
        accelerator=accelerator_for(basic.device, compute.devices, training),
        precision=compute.precision,
        threads=compute.threads,
        progress=progress,
        subject={},  # it names the fit in checkpoints, of which there are none
        checkpoints=None,
    )


def _settings(
    run: FittedPair,
    basic: AdaptationOptions,
    split: SplitOptions,
    new: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """The settings of an adapted run: its own, and where it came from."""
    old = {name: own for name, own in run.covariate_columns.items() if own is not None}
    return {
        **settings_of(basic, split, SCHEDULE, Compute()),
        **{name: run.settings[name] for name in READING if name in run.settings},
        "adapted_from": {
            "fingerprint": run.fingerprint,
            "n_train": len(run.split.train),
            "levels": {name: len(levels) for name, levels in old.items()},
            "new_levels": {name: list(levels) for name, levels in new.items()},
            "settings": run.settings,
        },
    }
