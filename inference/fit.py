"""From a pair and data to a run."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import nn

from vae4counts.data import (
    CountFile,
    CountLoader,
    Counts,
    Split,
    counts_of,
    find_column,
    grouped_split,
    random_split,
)
from vae4counts.guides import (
    ExactGuide,
    Guide,
    IncompatiblePairError,
    fitting_guides,
)
from vae4counts.inference.alignment import fingerprint, labels_of
from vae4counts.inference.interpretation import orient_signs
from vae4counts.inference.posterior.diagnosis import diagnose
from vae4counts.inference.processes import (
    Precision,
    Processes,
    launch,
    make_fabric,
    started_here,
)
from vae4counts.inference.progress import Progress
from vae4counts.inference.randomness import own_randomness
from vae4counts.inference.run import Run
from vae4counts.inference.training.loop import EpochRecord, Schedule
from vae4counts.inference.training.memory import keep_freed_memory, settled_objects
from vae4counts.inference.training.phases import Fitting
from vae4counts.inference.training.products import fast_products
from vae4counts.inference.training.tempering import Tempering
from vae4counts.models import VAE, CountModel
from vae4counts.models.priors import MixturePrior


class SettingsError(ValueError):
    """An argument that is out of range, or does not go with the model or the data."""


DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = get_args(Precision)
Strategy = Literal["ddp"]
STRATEGIES = get_args(Strategy)
# scVI's rule: 400 epochs, fewer above this many observations.
MANY_OBSERVATIONS = 20_000


def fit(
    model: CountModel,
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
) -> Run:
    """Trains a pair by stochastic variational inference (SVI).

    The observations are split at random into train, validation and test. Training maximises the
    ELBO by Adam, its KL terms warmed up, and stops when the validation ELBO has not grown for
    ``patience`` epochs; the best state is kept. A Gaussian mixture under the marginal guide is
    first left out: a plain VAE is trained for a while, and the components are then spread over
    its latents by k-means, which keeps them from collapsing. The latents of a linear decoder are
    turned in the end, so that its loadings have signs by a convention (see `loadings`).

    Several processes share the training where ``torchrun --nproc-per-node N script.py`` has
    started the script (on one machine or several: each then calls `fit`, and `Run.evaluate` and
    `Run.annotate` after it), or where ``devices`` is above 1: they are then started for the
    training alone. Each takes its share of every batch of ``batch_size`` and draws the noise of
    the whole, so that they follow one process to within rounding. What looks at a batch as a
    whole looks at a process's share of it: batch normalisation, `FreeNats` and `Balance`.

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

    Returns:
        The run.

    Raises:
        DataError: Values that are no counts.
        UnknownName: No such layer or label column.
        IncompatiblePairError: The guide does not fit the model.
        SettingsError: Another argument is out of range, or does not go with the data.
        TrainingError: The objective is not finite.
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
    labels_of(adata, label)
    counts = counts_of(adata, layer=layer)
    _check_settings(settings)
    split = _split(adata.obs, counts, settings)
    _check_pair(model, guide, n_features=counts.n_features, n_training=len(split.train))
    for handler in tempering:
        if not handler.fits(model, guide):
            raise SettingsError(
                f"{handler!r} does not go with {type(guide).__name__} and this prior: "
                "it is for guides that sample the component, guide_for(model, 'joint')"
            )
    accelerator = _accelerator(device, devices, counts)
    training, held_out = counts.subset(split.train), counts.subset(split.validation)

    steps = math.ceil(len(training) / batch_size)
    if epochs is None:
        epochs = max(1, round(400 * min(1.0, MANY_OBSERVATIONS / len(training))))
    if warm_up_steps is None:
        warm_up_steps = min(2000, epochs * steps // 5)
    if isinstance(guide, ExactGuide):
        warm_up_steps = 0  # nothing is sampled, so that there is no KL term
    schedule = Schedule(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        prior_learning_rate=prior_learning_rate,
        warm_up_steps=warm_up_steps,
        patience=patience,
        tempering=tuple(tempering),
    )
    guide.attach(model)
    started = time.perf_counter()
    history, state = launch(
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
    )
    nn.ModuleList([model, guide]).load_state_dict(state)
    orient_signs(model, guide)
    training_seconds = sum(record.seconds for record in history)
    timing = {
        "epochs": len(history),
        "seconds": time.perf_counter() - started,
        "observations_per_second": len(training) * len(history) / training_seconds,
    }
    model.eval(), guide.eval()
    if isinstance(model, VAE) and isinstance(model.prior, MixturePrior):
        place = next(model.parameters()).device
        parts = (part.to(place) for part in (training, held_out))
        loaders = (CountLoader(part, shuffle=False) for part in parts)
        with fast_products(), own_randomness(place, seed):
            diagnosis = diagnose(model, guide, *loaders)
        timing |= diagnosis.to_dict()
        if diagnosis.warning:
            warnings.warn(diagnosis.warning, stacklevel=2)
    return Run(
        model=model,
        guide=guide,
        features=[str(name) for name in adata.var_names],
        split=split,
        fingerprint=fingerprint(adata.obs_names, counts),
        layer=layer,
        label=label,
        settings=settings,
        history=pd.DataFrame([asdict(record) for record in history]),
        metrics=timing,
        processes=Processes.here(),
    )


def _train(
    model: CountModel,
    guide: Guide,
    training: Counts,
    held_out: Counts,
    schedule: Schedule,
    restarts: int,
    seed: int,
    accelerator: str,
    precision: Precision,
    progress: bool,
) -> tuple[list[EpochRecord], dict[str, torch.Tensor]]:
    """What one process does, and what it then knows: the history and the trained state."""
    fabric = make_fabric(accelerator, precision)
    keep_freed_memory()
    pair = nn.ModuleList([model, guide])
    with (
        fast_products(),
        settled_objects(),
        own_randomness(fabric.device, seed),
        Progress(visible=progress and fabric.is_global_zero) as progress_bar,
    ):
        fabric.to_device(pair)
        counts = training.to(fabric.device), held_out.to(fabric.device)
        fitting = Fitting(fabric, model, guide, *counts, seed, progress_bar.phase)
        history = fitting.run(schedule, restarts)
    return history, {name: value.detach() for name, value in pair.state_dict().items()}


def _check_settings(settings: dict[str, Any]) -> None:
    """Finds arguments that are out of range before anything is changed."""
    lowest = {
        "epochs": 1,
        "batch_size": 1,
        "warm_up_steps": 0,
        "patience": 1,
        "restarts": 1,
        "devices": 1,
        "min_counts": 0,
        "seed": 0,
    }
    for name, least in lowest.items():
        if settings[name] is not None and settings[name] < least:
            raise SettingsError(f"{name} is {settings[name]}: it must be {least} or more")
    for name in ("learning_rate", "prior_learning_rate"):
        if not 0 < settings[name] < math.inf:
            raise SettingsError(f"{name} is {settings[name]}: it must be above 0")
    if settings["stratify"] is not None and settings["group"] is not None:
        raise SettingsError("stratify and group exclude each other: name one column")
    for name, choices in (("precision", PRECISIONS), ("strategy", STRATEGIES)):
        if settings[name] not in choices:
            known = ", ".join(choices)
            raise SettingsError(f"{name} is {settings[name]!r}: it must be one of {known}")


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


def _check_pair(model: CountModel, guide: Guide, *, n_features: int, n_training: int) -> None:
    """Finds a pair that does not fit together, or not to the data, before anything is changed."""
    if not guide.fits(model):
        raise IncompatiblePairError(
            f"{type(guide).__name__} does not fit {type(model).__name__} with this prior: "
            f"these guides do: {', '.join(fitting_guides(model))}"
        )
    if n_features != model.n_features:
        raise SettingsError(
            f"the model has {model.n_features} features but the data have {n_features}: "
            "make the model with n_features=adata.n_vars"
        )
    prior = getattr(model, "prior", model)
    library = getattr(model, "library", None)
    made_for = {
        "n_features": model.n_features,
        "n_latent": getattr(prior, "n_latent", None),
        "n_components": getattr(prior, "n_components", None),
        "latent_library": getattr(library, "latent", None),
    }
    for name, wanted in made_for.items():
        if getattr(guide, name, wanted) != wanted:
            raise IncompatiblePairError(
                f"the guide was made for {name}={getattr(guide, name)} but the model has {wanted}: "
                "make it with guide_for(model)"
            )
    n_components = made_for["n_components"] or 0
    if n_components > n_training:
        raise SettingsError(
            f"the model has {n_components} components but there are only {n_training} training "
            "observations: ask for fewer components"
        )


def _accelerator(device: str, devices: int, counts: Counts) -> str:
    """Which kind of device to compute on, after checking that there are as many as asked for."""
    if device not in DEVICES:
        raise SettingsError(f"device is {device!r}: it must be one of {', '.join(DEVICES)}")
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and not n_cuda:
        raise SettingsError("device is 'cuda', but torch finds no CUDA device: use 'auto' or 'cpu'")
    started = started_here()
    if started is not None and devices not in (1, started):
        raise SettingsError(f"devices is {devices}, but torchrun has started {started} processes")
    if started is None and devices > 1 and isinstance(counts, CountFile):
        raise SettingsError(
            f"devices is {devices}, but counts on disk cannot be handed to processes that are "
            "started here: start the script or the command by torchrun"
        )
    accelerator = "cuda" if n_cuda and device == "auto" else device.replace("auto", "cpu")
    if accelerator == "cuda" and max(devices, started or 1) > n_cuda:
        raise SettingsError(
            f"{max(devices, started or 1)} processes need as many CUDA devices, but torch finds "
            f"{n_cuda}: ask for fewer, or for device='cpu'"
        )
    return accelerator
