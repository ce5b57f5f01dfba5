"""Fit a model/guide pair to data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from torch import Tensor

from vae4counts.data import (
    CountLoader,
    Counts,
    Data,
    MultiData,
    features_of,
    read_tables,
    to_modalities,
)
from vae4counts.data.warning import warn
from vae4counts.guides import Guide
from vae4counts.inference.fitting.checks import accelerator_for, check_handlers, check_pair
from vae4counts.inference.fitting.confounding import warn_of_confounding, warn_of_untrained
from vae4counts.inference.fitting.job import TrainingJob, train
from vae4counts.inference.fitting.known_classes import digest, training_parts
from vae4counts.inference.fitting.logger import Logger
from vae4counts.inference.fitting.loop import Phase
from vae4counts.inference.fitting.nonfinite import NonFiniteError
from vae4counts.inference.fitting.options import (
    BasicOptions,
    Checkpoints,
    Compute,
    Schedule,
    SplitOptions,
    check_is,
    check_text,
    places,
)
from vae4counts.inference.fitting.own_pair import own_pair
from vae4counts.inference.fitting.plan import (
    as_options,
    plan_training,
    settings_of,
    split_observations,
)
from vae4counts.inference.fitting.progress import Progress
from vae4counts.inference.fitting.resumption import subject_of
from vae4counts.inference.interpretation import orient_signs
from vae4counts.inference.parallel.matmul import fast_products
from vae4counts.inference.parallel.processes import Processes, launch
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.posterior.diagnosis import diagnose
from vae4counts.inference.run.alignment import labels_of
from vae4counts.inference.run.fingerprint import fingerprint
from vae4counts.inference.run.fitted_pair import is_trainable, pair_of, widths_of
from vae4counts.inference.run.run import Run
from vae4counts.models import Model
from vae4counts.models.covariates import joined_columns


def fit(
    model: Model,
    guide: Guide,
    adata: Data,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float = 1.6e-2,
    seed: int = 0,
    label: str | None = None,
    layer: str | None = None,
    modalities: Mapping[str, str] | None = None,
    device: str = "auto",
    progress: bool = True,
    logger: Logger | None = None,
    split: SplitOptions | str = SplitOptions(),  # noqa: B008 (it is frozen, as are the others)
    schedule: Schedule = Schedule(),  # noqa: B008
    checkpoints: Checkpoints | str | Path | None = None,
    compute: Compute = Compute(),  # noqa: B008
) -> Run:
    """Train a copy of a pair by stochastic variational inference (SVI).

    The copy has parameters of its own, drawn anew from ``seed``: model and guide stay as they are,
    and the same call gives the same run, however often it is made.

    The observations are split at random into train, validation and test. Training maximises the
    ELBO by Adam, its KL terms warmed up, its learning rate in one cycle, and stops when the
    validation ELBO has not grown for some epochs; the best state is kept. A Gaussian mixture under
    the marginal guide is left out in the first half of the epochs: a plain VAE is trained, and the
    components then start at groups of its latents, which keeps them from collapsing. The latents of
    a linear decoder are turned in the end, so that its loadings have signs by a convention (see
    `loadings`).

    Several processes share the training where ``torchrun --nproc-per-node N script.py`` has
    started the script (on one machine or several: each then calls `fit`, and `Run.evaluate` and
    `Run.annotate` after it), or where ``compute.devices`` is above 1: they are then started for
    the training alone, by Python's "spawn", so that a script needs its
    ``if __name__ == "__main__":`` and model and guide classes must live in a module. Each takes
    its share of every batch, draws the noise of the whole and normalises by it, so that they
    follow one process to within rounding. Only `FreeNats` and `Balance`, which look at a batch as
    a whole, look at a process's share of it.

    Settings of this process are left alone: a script that trains for long on Linux may call
    `keep_freed_memory` first, as the command line does, which makes steps faster.

    Args:
        model: The model.
        guide: Its guide.
        adata: Raw counts: an AnnData, or a data frame, an array or a path, see `to_anndata`. For
            a model of several tables: several modalities, see `modalities_of`, whose values are
            those that its likelihoods take. On disk (`vae4counts.data.load` with
            ``out_of_core=True``, or anndata's backed mode) counts stay there, and are read in
            blocks as they are needed.
        epochs: Most passes over the training observations. If None, ``2400 / (n^2 G)^(1/6)`` for
            ``n`` of them and ``G`` features: 54 for 2,000 of 2,000, 16 for 50,000 of 4,000. A model
            without trainable parameters takes one, see `Model.learn`.
        batch_size: Observations per step. If None, the power of 2 next to ``n / 128`` for ``n``
            training observations, from 128 to 1,024.
        learning_rate: Adam's highest learning rate. In one cycle (Smith & Topin 2019) the rate
            grows to it over the first 15 % of all steps, and falls to 1 % of it by half a cosine.
        seed: Seed of the parameters, the split, the order of the observations and the draws. The
            global random state is left as it was.
        label: A column of ``obs`` with known classes, never seen in training; evaluation
            compares the components with it. If None, the column of the model's labels, of which
            the test observations' are not seen either.
        layer: The layer that holds the counts; None for ``X``.
        modalities: Where each table of the model is in the data, such as ``{"counts": "X",
            "protein": "obsm/protein"}``, see `modalities_of`; by default the modality of its name.
        device: "auto" (CUDA if there is any), "cpu" or "cuda"; of several GPUs, the environment
            variable ``CUDA_VISIBLE_DEVICES`` chooses.
        progress: Whether to show how far training has come, on standard error: by a bar in a
            terminal or a notebook, and by lines anywhere else.
        logger: What writes the history down as it grows: a logger of Lightning Fabric, such as
            ``lightning_fabric.loggers.CSVLogger("logs")`` or ``TensorBoardLogger("logs")``, or
            another one with their methods. After each epoch it gets the columns of `Run.history`
            by name, at the number of optimiser steps that the whole fit has taken. Of several
            processes the first one logs. A logger that fails costs no fit: it ends in a warning.
        split: Which observations are for what, see `SplitOptions`; or the name of a column of
            ``obs`` that says "train", "validation" or "test".
        schedule: How training proceeds, see `Schedule`.
        checkpoints: Where to save the state of the fit regularly, on signals and when training
            ends, see `Checkpoints`; a path for the defaults; None to save nothing.
        compute: The number of processes and threads, and the precision, see `Compute`.

    Returns:
        The run.

    Raises:
        CheckpointError: No checkpoint is whole, or they are of another fit.
        FitInterrupted: SIGINT, SIGTERM or SIGHUP arrived; the step was finished, and its state
            saved (only with ``checkpoints``, and in the main thread).
        DataError: Values that are not counts, or a column that does not say how to split.
        UnknownName: No such layer or column.
        IncompatiblePairError: The guide does not fit the model.
        SettingsError: An option is out of range, or does not go with the model or the data.
        NonFiniteError: A step's loss or gradient is not finite.
        TrainingError: No batch of an epoch has a finite loss, or no epoch a finite validation ELBO.
        ProcessError: A process that was started has raised an error, or was killed.
    """
    check_is(Model, "model", model)
    check_is(Guide, "guide", guide)
    shown = Progress(progress, logger)
    modalities = places("modalities", modalities)
    check_text(label=label, layer=layer)
    basic = BasicOptions(epochs, batch_size, learning_rate, seed, str(device).lower())
    split, checkpoints = as_options(split, schedule, checkpoints, compute)
    settings = settings_of(basic, split, schedule, compute)
    data = to_modalities(adata, model.tables, modalities, layer)
    label, classes = _classes_of(model, label, data)
    columns = joined_columns(model.covariates, guide.covariates)
    counts = read_tables(data, model.supports, layer, covariates=columns)
    parts = split_observations(data.obs, counts, split, basic.seed)
    check_pair(model, guide, counts=counts, n_training=len(parts.train))
    check_handlers(schedule.handlers, model, guide)
    phase = _plan(basic, schedule, model, guide, len(parts.train))
    model, guide = own_pair(model, guide, basic.seed, warm_start=schedule.warm_start)
    training, validation = training_parts(counts, data.obs, parts, model.labels)
    known = None if classes is None else classes[parts.train]
    warn_of_confounding(training.covariates, columns, label, known)
    if not schedule.warm_start:
        _learn_covariates(model, guide, training, columns)
    known_by, features = fingerprint(data.obs_names, counts), features_of(data)
    job = TrainingJob(
        training=training,
        validation=validation,
        phase=phase,
        restarts=schedule.restarts,
        warm_start=schedule.warm_start,
        seed=basic.seed,
        accelerator=accelerator_for(basic.device, compute.devices, counts),
        precision=compute.precision,
        threads=compute.threads,
        progress=shown,
        subject=subject_of(model, guide, features, known_by, settings)
        | {"covariates and labels": digest(training.covariates)},
        checkpoints=checkpoints,
    )
    try:
        trained = launch(compute.devices, train, model, guide, job)
    except NonFiniteError as error:
        raise error.naming(data.obs_names[parts.train]) from None
    _set_parameters(model, guide, trained.state)
    run = Run(
        model=model,
        guide=guide,
        features=features,
        split=parts,
        fingerprint=known_by,
        layer=layer,
        label=label,
        settings=settings,
        history=pd.DataFrame([asdict(record) for record in trained.history]),
        metrics=trained.metrics(len(parts.train)),
        processes=Processes.here(),
        modalities=modalities,
        widths=widths_of(counts),
    )
    run.metrics |= _diagnosis(model, guide, job)
    return run


def _plan(
    basic: BasicOptions,
    schedule: Schedule,
    model: Model,
    guide: Guide,
    n_training: int,
) -> Phase:
    """How long and how fast to train: in one pass where there is nothing to train by steps."""
    phase = plan_training(basic, schedule, model, n_training)
    return phase if is_trainable(model, guide) else replace(phase, epochs=1, warm_up_steps=0)


def _classes_of(
    model: Model, label: str | None, data: AnnData | MultiData
) -> tuple[str | None, np.ndarray | None]:
    """The column of classes to compare with, and the class of each observation."""
    labels = model.labels
    if labels is None or label not in (None, labels.column):
        return label, labels_of(data, label)
    return labels.column, labels_of(data, labels.column, labels.ignored)


def _learn_covariates(
    model: Model,
    guide: Guide,
    training: Counts,
    columns: Mapping[str, list[str] | None],
) -> None:
    """Let a fresh pair take scales and frequencies of covariates from training observations."""
    warn_of_untrained(columns, training.covariates)
    model.covariates.learn(training.covariates)
    guide.learn_covariates(training.covariates)


def _set_parameters(model: Model, guide: Guide, state: dict[str, Tensor]) -> None:
    """Give the pair the parameters that were trained, its latents turned by convention."""
    pair = pair_of(model, guide).eval()
    pair.load_state_dict(state)
    try:
        orient_signs(model, guide)
    except Exception as error:  # whatever it is, it must not cost the fit
        warn(f"the signs of the latents stay as they are: {error}")
        pair.load_state_dict(state)


def _diagnosis(model: Model, guide: Guide, job: TrainingJob) -> dict[str, Any]:
    """How a mixture has come out, with a warning if it has collapsed; nothing for others."""
    if model.mixture_prior is None:
        return {}
    device = next(model.parameters()).device
    loaders = (
        CountLoader(part.to(device), shuffle=False) for part in (job.training, job.validation)
    )
    try:
        with own_randomness(device, job.seed), fast_products():
            diagnosis = diagnose(model, guide, *loaders)
    except Exception as error:  # whatever it is, it must not cost the fit
        warn(f"the mixture could not be examined: {error}")
        return {}
    if diagnosis.warning:
        warn(diagnosis.warning)
    return diagnosis.to_dict()
