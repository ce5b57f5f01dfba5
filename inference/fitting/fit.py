"""From a pair and data to a run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import nn

from vae4counts.data import (
    CountLoader,
    Counts,
    Split,
    counts_of,
    find_column,
    grouped_split,
    random_split,
)
from vae4counts.guides import Guide
from vae4counts.inference.fitting.checks import (
    SettingsError,
    Strategy,
    accelerator_for,
    check_pair,
    check_settings,
)
from vae4counts.inference.fitting.handlers import Tempering
from vae4counts.inference.fitting.loop import EpochRecord, Schedule
from vae4counts.inference.fitting.memory import keep_freed_memory, settled_objects
from vae4counts.inference.fitting.nonfinite import NonFinite, NonFiniteError
from vae4counts.inference.fitting.phases import Fitting
from vae4counts.inference.fitting.progress import Progress
from vae4counts.inference.fitting.resumption import Course, described
from vae4counts.inference.interpretation import orient_signs
from vae4counts.inference.parallel.matmul import fast_products
from vae4counts.inference.parallel.processes import (
    Precision,
    Processes,
    launch,
    make_fabric,
)
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.posterior.diagnosis import diagnose
from vae4counts.inference.run.alignment import fingerprint, labels_of
from vae4counts.inference.run.run import Run
from vae4counts.models import Model

# scVI's rule: 400 epochs, fewer above this many observations.
MANY_OBSERVATIONS = 20_000


def fit(
    model: Model,
    guide: Guide,
    adata: AnnData,
    *,
    layer: str | None = None,
    label: str | None = None,
    epochs: int | None = None,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    prior_learning_rate: float = 1e-2,
    warm_up_steps: int | None = None,
    patience: int = 30,
    restarts: int = 1,
    tempering: Sequence[Tempering] = (),
    non_finite: NonFinite = "stop",
    clip_norm: float | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    stratify: str | None = None,
    group: str | None = None,
    min_counts: int = 0,
    seed: int = 0,
    device: str = "auto",
    devices: int = 1,
    strategy: Strategy = "ddp",
    precision: Precision = "32-true",
    progress: bool = True,
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int | timedelta = timedelta(minutes=5),
    resume_from: str | Path | None = None,
) -> Run:
    """Trains a pair by stochastic variational inference (SVI).

    The observations are split at random into train, validation and test. Training maximises the
    ELBO by Adam, its KL terms warmed up, and stops when the validation ELBO has not grown for
    ``patience`` epochs; the best state is kept. A Gaussian mixture under the marginal guide is
    first left out: a plain VAE is trained for a while, and the components then start at groups of
    its latents, which keeps them from collapsing. The latents of a linear decoder are
    turned in the end, so that its loadings have signs by a convention (see `loadings`).

    Several processes share the training where ``torchrun --nproc-per-node N script.py`` has
    started the script (on one machine or several: each then calls `fit`, and `Run.evaluate` and
    `Run.annotate` after it), or where ``devices`` is above 1: they are then started for the
    training alone. Each takes its share of every batch of ``batch_size``, draws the noise of the
    whole and normalises by it, so that they follow one process to within rounding. `FreeNats` and
    `Balance` alone, which look at a batch as a whole, look at a process's share of it.

    Args:
        model: The model, changed in place.
        guide: Its guide, changed in place.
        adata: Raw counts. On disk (`vae4counts.data.load` with ``out_of_core=True``, or anndata's
            backed mode) they stay there, and are read in blocks as they are needed.
        layer: The layer that holds them; None for ``X``.
        label: A column of ``obs`` with known classes, never seen in training; evaluation
            compares the components with it.
        epochs: Most passes over the training observations. If None, 400, or fewer for more than
            20,000 observations.
        batch_size: Observations a step.
        learning_rate: Adam's.
        prior_learning_rate: Adam's for the prior's parameters.
        warm_up_steps: Steps until the KL weight is 1. If None, a fifth of the steps of all
            epochs, 2,000 at most.
        patience: Epochs without a better validation ELBO before stopping.
        restarts: How many short fits, from other parameters each, to choose from: training goes on
            with the one of the best validation ELBO.
        tempering: Further effect handlers around every step, such as `FreeNats`, `Balance`,
            `CyclicalAnnealing` (with ``warm_up_steps=0``) or `AnalyticKL`.
        non_finite: What to do about a step whose loss or gradient is not finite, and which is
            never taken: "stop" with an error that names the site and the observations, and with
            the state before it saved where there is a ``checkpoint_dir``; "skip" the batch and
            count it in the history; or "slow": skip it and halve the learning rates.
        clip_norm: Length to which longer gradients (of the loss in nats per observation) are cut;
            None for no cut.
        validation: Share of the observations that early stopping looks at.
        test: Share of the observations that evaluation looks at.
        stratify: A column of ``obs`` whose values each part has in the same shares.
        group: A column of ``obs`` (a donor, a plate) of which no two parts share a value; the
            shares are then of its values, not of the observations.
        min_counts: Observations with a lower total count are in no part.
        seed: Seed of the split, the order of the observations and the draws. The global random
            state is left as it was.
        device: "auto" (CUDA if there is any), "cpu" or "cuda".
        devices: How many processes to start on this machine, one for each GPU or for some of the
            CPU's cores. They are started by Python's "spawn": a script needs its
            ``if __name__ == "__main__":``, and model and guide classes that a module holds.
            Leave it at 1 under torchrun, which has started them.
        strategy: How they share the work: by "ddp" each has the whole model.
        precision: "32-true"; or "bf16-mixed", with networks in bfloat16.
        progress: Whether to show a progress bar.
        checkpoint_dir: Where to save the state of the fit now and then, and on SIGTERM and SIGINT,
            for another process to go on from. If None, in ``resume_from``, or nowhere. It is left
            there in the end.
        checkpoint_every: Optimiser steps (an int) or time between two checkpoints.
        resume_from: The ``checkpoint_dir`` of a fit that did not come to its end, by the same
            arguments: on the CPU the result is, bit for bit, what it would have been. If there is
            no checkpoint yet the fit begins. The pair's own parameters are then of no account.

    Returns:
        The run.

    Raises:
        CheckpointError: No checkpoint in ``resume_from`` is whole, or they are of another fit.
        FitInterrupted: SIGINT or SIGTERM came; the step was finished, and its state saved in
            ``checkpoint_dir``. (Only if there is one, and in the main thread.)
        DataError: Values that are no counts.
        UnknownName: No such layer or label column.
        IncompatiblePairError: The guide does not fit the model.
        SettingsError: Another argument is out of range, or does not go with the data.
        NonFiniteError: A step's loss or gradient is not finite.
        TrainingError: No batch of an epoch has a finite loss, or no epoch a finite validation ELBO.
        ProcessError: A process that was started has raised something, or was killed.
    """
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "prior_learning_rate": prior_learning_rate,
        "warm_up_steps": warm_up_steps,
        "patience": patience,
        "restarts": restarts,
        "tempering": [repr(handler) for handler in tempering],
        "non_finite": non_finite,
        "clip_norm": clip_norm,
        "validation": validation,
        "test": test,
        "stratify": stratify,
        "group": group,
        "min_counts": min_counts,
        "seed": seed,
        "device": device,
        "devices": devices,
        "strategy": strategy,
        "precision": precision,
    }
    if checkpoint_dir is None:
        checkpoint_dir = resume_from
    labels_of(adata, label)
    counts = counts_of(adata, layer=layer)
    check_settings(settings)
    every = checkpoint_every
    if (every if isinstance(every, int) else every.total_seconds()) <= 0:
        raise SettingsError(f"checkpoint_every is {checkpoint_every}: it must be above 0")
    split = _split(adata.obs, counts, settings)
    check_pair(model, guide, n_features=counts.n_features, n_training=len(split.train))
    for handler in tempering:
        if not handler.fits(model, guide):
            raise SettingsError(
                f"{handler!r} does not go with {type(guide).__name__} and this prior: "
                "it is for guides that sample the component, guide_for(model, 'joint')"
            )
    accelerator = accelerator_for(device, devices, counts)
    training, held_out = counts.subset(split.train), counts.subset(split.validation)

    steps = math.ceil(len(training) / batch_size)
    if epochs is None:
        epochs = max(1, round(400 * min(1.0, MANY_OBSERVATIONS / len(training))))
    if warm_up_steps is None:
        warm_up_steps = min(2000, epochs * steps // 5)
    if warm_up_steps > epochs * steps:
        raise SettingsError(
            f"warm_up_steps is {warm_up_steps}, and {epochs} epochs of {steps} steps are "
            f"{epochs * steps}: the KL weight would never reach 1; train longer, or warm up faster"
        )
    if model.is_exact:
        warm_up_steps = 0  # nothing is sampled, so that there is no KL term
    schedule = Schedule(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        prior_learning_rate=prior_learning_rate,
        warm_up_steps=warm_up_steps,
        patience=patience,
        tempering=tuple(tempering),
        non_finite=non_finite,
        clip_norm=clip_norm,
    )
    guide.attach(model)
    known_by = fingerprint(adata.obs_names, counts)
    features = [str(name) for name in adata.var_names]
    subject = described(model, guide, features, settings) | {"data": known_by}
    try:
        history, state, seconds = launch(
            devices,
            _train,
            model,
            guide,
            training,
            held_out,
            schedule,
            restarts,
            seed,
            accelerator,
            precision,
            progress,
            subject,
            (checkpoint_dir, checkpoint_every, resume_from),
        )
    except NonFiniteError as error:
        raise error.naming(adata.obs_names[split.train]) from None
    nn.ModuleDict({"model": model, "guide": guide}).load_state_dict(state)
    orient_signs(model, guide)
    training_seconds = sum(record.seconds for record in history)
    timing = {
        "epochs": len(history),
        "batches_skipped": sum(record.skipped for record in history),
        "seconds": seconds,
        "observations_per_second": len(training) * len(history) / training_seconds,
    }
    model.eval(), guide.eval()
    if model.mixture_prior is not None:
        place = next(model.parameters()).device
        parts = (part.to(place) for part in (training, held_out))
        loaders = (CountLoader(part, shuffle=False) for part in parts)
        with own_randomness(place, seed), fast_products():
            diagnosis = diagnose(model, guide, *loaders)
        timing |= diagnosis.to_dict()
        if diagnosis.warning:
            warnings.warn(diagnosis.warning, stacklevel=2)
    return Run(
        model=model,
        guide=guide,
        features=features,
        split=split,
        fingerprint=known_by,
        layer=layer,
        label=label,
        settings=settings,
        history=pd.DataFrame([asdict(record) for record in history]),
        metrics=timing,
        processes=Processes.here(),
    )


def _train(
    model: Model,
    guide: Guide,
    training: Counts,
    held_out: Counts,
    schedule: Schedule,
    restarts: int,
    seed: int,
    accelerator: str,
    precision: Precision,
    progress: bool,
    subject: dict[str, Any],
    checkpoints: tuple[str | Path | None, int | timedelta, str | Path | None],
) -> tuple[list[EpochRecord], dict[str, torch.Tensor], float]:
    """What one process does. What it then knows: the history, the trained state, the seconds."""
    fabric = make_fabric(accelerator, precision)
    keep_freed_memory()
    pair = nn.ModuleDict({"model": model, "guide": guide})
    with (
        own_randomness(fabric.device, seed),
        fast_products(),
        settled_objects(),
        Progress(visible=progress and fabric.is_global_zero) as progress_bar,
        Course(pair, fabric.device, subject, *checkpoints) as course,
    ):
        fabric.to_device(pair)
        counts = training.to(fabric.device), held_out.to(fabric.device)
        fitting = Fitting(fabric, model, guide, *counts, seed, course, progress_bar.phase)
        history = fitting.run(schedule, restarts)
    state = {name: value.detach() for name, value in pair.state_dict().items()}
    return history, state, course.seconds


def _split(obs: pd.DataFrame, counts: Counts, settings: dict[str, Any]) -> Split:
    """Splits the observations that have enough counts."""
    kept = np.flatnonzero(counts.library.cpu().numpy() >= settings["min_counts"])
    columns = {
        name: find_column(obs, settings[name]).astype(str).to_numpy()[kept]
        for name in ("stratify", "group")
        if settings[name] is not None
    }
    shares = {name: settings[name] for name in ("validation", "test", "seed")}
    if "group" in columns:
        return grouped_split(columns["group"], **shares).among(kept)
    return random_split(len(kept), classes=columns.get("stratify"), **shares).among(kept)
