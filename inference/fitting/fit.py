"""From a pair and data to a run."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
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
    split_from_column,
)
from vae4counts.guides import Guide
from vae4counts.inference.fitting.checks import accelerator_for, check_handlers, check_pair
from vae4counts.inference.fitting.history import EpochRecord
from vae4counts.inference.fitting.loop import Phase
from vae4counts.inference.fitting.nonfinite import NonFiniteError
from vae4counts.inference.fitting.options import (
    BasicOptions,
    Checkpoints,
    Compute,
    Precision,
    Schedule,
    SettingsError,
    SplitOptions,
)
from vae4counts.inference.fitting.phases import Phases
from vae4counts.inference.fitting.progress import ProgressBars
from vae4counts.inference.fitting.resumption import ResumableFit, subject_of
from vae4counts.inference.fitting.step import StepSettings
from vae4counts.inference.interpretation import orient_signs
from vae4counts.inference.parallel.matmul import fast_products
from vae4counts.inference.parallel.processes import Processes, launch, make_fabric
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.posterior.diagnosis import diagnose
from vae4counts.inference.run import Run
from vae4counts.inference.run.alignment import fingerprint, labels_of
from vae4counts.models import Model

# scVI's rule: 400 epochs, fewer above this many observations.
MAX_EPOCHS = 400
MANY_OBSERVATIONS = 20_000
MAX_WARM_UP_STEPS = 2000


def fit(
    model: Model,
    guide: Guide,
    adata: AnnData,
    *,
    epochs: int | None = None,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    label: str | None = None,
    layer: str | None = None,
    device: str = "auto",
    progress: bool = True,
    split: SplitOptions | str = SplitOptions(),  # noqa: B008 (it is frozen, as are the others)
    schedule: Schedule = Schedule(),  # noqa: B008
    checkpoints: Checkpoints | str | Path | None = None,
    compute: Compute = Compute(),  # noqa: B008
) -> Run:
    """Train a pair by stochastic variational inference (SVI).

    The observations are split at random into train, validation and test. Training maximises the
    ELBO by Adam, its KL terms warmed up, and stops when the validation ELBO has not grown for
    some epochs; the best state is kept. A Gaussian mixture under the marginal guide is first left
    out: a plain VAE is trained for a while, and the components then start at groups of its
    latents, which keeps them from collapsing. The latents of a linear decoder are turned in the
    end, so that its loadings have signs by a convention (see `loadings`).

    Several processes share the training where ``torchrun --nproc-per-node N script.py`` has
    started the script (on one machine or several: each then calls `fit`, and `Run.evaluate` and
    `Run.annotate` after it), or where ``compute.devices`` is above 1: they are then started for
    the training alone, by Python's "spawn", so that a script needs its
    ``if __name__ == "__main__":`` and model and guide classes must live in a module. Each takes
    its share of every batch, draws the noise of the whole and normalises by it, so that they
    follow one process to within rounding. Only `FreeNats` and `Balance`, which look at a batch as
    a whole, look at a process's share of it.

    Args:
        model: The model, changed in place.
        guide: Its guide, changed in place.
        adata: Raw counts. On disk (`vae4counts.data.load` with ``out_of_core=True``, or anndata's
            backed mode) they stay there, and are read in blocks as they are needed.
        epochs: Most passes over the training observations. If None, 400, or fewer for more than
            20,000 observations.
        batch_size: Observations per step.
        learning_rate: Adam's learning rate.
        seed: Seed of the split, the order of the observations and the draws. The global random
            state is left as it was.
        label: A column of ``obs`` with known classes, never seen in training; evaluation
            compares the components with it.
        layer: The layer that holds the counts; None for ``X``.
        device: "auto" (CUDA if there is any), "cpu" or "cuda".
        progress: Whether to show a progress bar.
        split: Which observations are for what, see `SplitOptions`; or the name of a column of
            ``obs`` that says "train", "validation" or "test".
        schedule: How training proceeds, see `Schedule`.
        checkpoints: Where to save the state of the fit now and then, and on SIGTERM and SIGINT,
            see `Checkpoints`; a path for the defaults; None to save nothing.
        compute: With what to compute, see `Compute`.

    Returns:
        The run.

    Raises:
        CheckpointError: No checkpoint is whole, or they are of another fit.
        FitInterrupted: SIGINT or SIGTERM arrived; the step was finished, and its state saved
            (only with ``checkpoints``, and in the main thread).
        DataError: Values that are not counts, or a column that does not say how to split.
        UnknownName: No such layer or column.
        IncompatiblePairError: The guide does not fit the model.
        SettingsError: An option is out of range, or does not go with the model or the data.
        NonFiniteError: A step's loss or gradient is not finite.
        TrainingError: No batch of an epoch has a finite loss, or no epoch a finite validation ELBO.
        ProcessError: A process that was started has raised an error, or was killed.
    """
    basic = BasicOptions(epochs, batch_size, learning_rate, seed, device)
    split = SplitOptions(column=split) if isinstance(split, str) else split
    if isinstance(checkpoints, (str, Path)):
        checkpoints = Checkpoints(checkpoints)
    settings = basic.settings() | {
        "split": split.settings(),
        "schedule": schedule.settings(),
        "compute": compute.settings(),
    }
    labels_of(adata, label)
    counts = counts_of(adata, layer=layer)
    parts = split_observations(adata.obs, counts, split, seed)
    check_pair(model, guide, n_features=counts.n_features, n_training=len(parts.train))
    check_handlers(schedule.handlers, model, guide)
    known_by = fingerprint(adata.obs_names, counts)
    features = [str(name) for name in adata.var_names]
    guide.attach(model)
    job = TrainingJob(
        training=counts.subset(parts.train),
        validation=counts.subset(parts.validation),
        phase=plan(basic, schedule, len(parts.train), is_exact=model.is_exact),
        restarts=schedule.restarts,
        seed=seed,
        accelerator=accelerator_for(device, compute.devices, counts),
        precision=compute.precision,
        progress=progress,
        subject=subject_of(model, guide, features, known_by, settings),
        checkpoints=checkpoints,
    )
    try:
        trained = launch(compute.devices, train, model, guide, job)
    except NonFiniteError as error:
        raise error.naming(adata.obs_names[parts.train]) from None
    _pair(model, guide).load_state_dict(trained.state)
    orient_signs(model, guide)
    model.eval(), guide.eval()
    metrics = trained.metrics(len(parts.train)) | _diagnosis(model, guide, job)
    return Run(
        model=model,
        guide=guide,
        features=features,
        split=parts,
        fingerprint=known_by,
        layer=layer,
        label=label,
        settings=settings,
        history=pd.DataFrame([asdict(record) for record in trained.history]),
        metrics=metrics,
        processes=Processes.here(),
    )


def split_observations(
    obs: pd.DataFrame, counts: Counts, options: SplitOptions, seed: int
) -> Split:
    """Split the observations that have enough counts, see `SplitOptions`.

    Raises:
        DataError: There are too few observations or groups, or a column does not say how to split.
        UnknownName: No such column.
    """
    kept = np.flatnonzero(counts.library.cpu().numpy() >= options.min_counts)
    if options.column is not None:
        return split_from_column(find_column(obs, options.column).iloc[kept]).among(kept)
    shares = {"validation": options.validation, "test": options.test}
    columns = {
        name: find_column(obs, column).astype(str).to_numpy()[kept]
        for name, column in (("stratify", options.stratify), ("group", options.group))
        if column is not None
    }
    if "group" in columns:
        return grouped_split(columns["group"], **shares, seed=seed).among(kept)
    classes = columns.get("stratify")
    return random_split(len(kept), classes=classes, **shares, seed=seed).among(kept)


def plan(basic: BasicOptions, schedule: Schedule, n_training: int, *, is_exact: bool) -> Phase:
    """Fill in what the options leave open.

    Raises:
        SettingsError: The KL weight would never reach 1.
    """
    steps = math.ceil(n_training / basic.batch_size)
    epochs, warm_up_steps = basic.epochs, schedule.warm_up_steps
    if epochs is None:
        epochs = max(1, round(MAX_EPOCHS * min(1.0, MANY_OBSERVATIONS / n_training)))
    if warm_up_steps is None:
        warm_up_steps = min(MAX_WARM_UP_STEPS, epochs * steps // 5)
    if warm_up_steps > epochs * steps:
        raise SettingsError(
            f"warm_up_steps is {warm_up_steps}, and {epochs} epochs of {steps} steps are "
            f"{epochs * steps}: the KL weight would never reach 1; train longer, or warm up faster"
        )
    return Phase(
        name="full",
        epochs=epochs,
        batch_size=basic.batch_size,
        # where nothing is sampled there is no KL term
        warm_up_steps=0 if is_exact else warm_up_steps,
        patience=schedule.patience,
        steps=StepSettings(
            learning_rate=basic.learning_rate,
            prior_learning_rate=schedule.prior_learning_rate,
            handlers=tuple(schedule.handlers),
            non_finite=schedule.non_finite,
            clip_norm=schedule.clip_norm,
        ),
    )


@dataclass(frozen=True)
class TrainingJob:
    """All that a process needs to train a pair; see `fit` and `Phase`."""

    training: Counts
    validation: Counts
    phase: Phase
    restarts: int
    seed: int
    accelerator: str
    precision: Precision
    progress: bool
    subject: dict[str, Any]
    checkpoints: Checkpoints | None


@dataclass(frozen=True)
class Trained:
    """What a process knows when training has ended.

    Attributes:
        history: A record per epoch.
        state: Parameters and buffers of the pair.
        seconds: How long it took.
    """

    history: list[EpochRecord]
    state: dict[str, torch.Tensor]
    seconds: float

    def metrics(self, n_training: int) -> dict[str, Any]:
        """Return how long training took and how fast it was."""
        seconds = sum(record.seconds for record in self.history)
        return {
            "epochs": len(self.history),
            "batches_skipped": sum(record.skipped for record in self.history),
            "seconds": self.seconds,
            "observations_per_second": n_training * len(self.history) / seconds,
        }


def train(model: Model, guide: Guide, job: TrainingJob) -> Trained:
    """Train a pair in this process, or its share of the work."""
    fabric = make_fabric(job.accelerator, job.precision)
    pair = _pair(model, guide)
    with (
        own_randomness(fabric.device, job.seed),
        fast_products(),
        ProgressBars(visible=job.progress and fabric.is_global_zero) as bars,
        ResumableFit(pair, fabric.device, job.subject, job.checkpoints) as progress,
    ):
        fabric.to_device(pair)
        counts = job.training.to(fabric.device), job.validation.to(fabric.device)
        phases = Phases(fabric, model, guide, *counts, job.seed, progress, bars.phase)
        history = phases.run(job.phase, job.restarts)
    state = {name: value.detach() for name, value in pair.state_dict().items()}
    return Trained(history, state, progress.seconds)


def _pair(model: Model, guide: Guide) -> nn.ModuleDict:
    return nn.ModuleDict({"model": model, "guide": guide})


def _diagnosis(model: Model, guide: Guide, job: TrainingJob) -> dict[str, Any]:
    """How a mixture has come out, with a warning if it has collapsed; nothing for others."""
    if model.mixture_prior is None:
        return {}
    device = next(model.parameters()).device
    loaders = (
        CountLoader(part.to(device), shuffle=False) for part in (job.training, job.validation)
    )
    with own_randomness(device, job.seed), fast_products():
        diagnosis = diagnose(model, guide, *loaders)
    if diagnosis.warning:
        warnings.warn(diagnosis.warning, stacklevel=3)
    return diagnosis.to_dict()
