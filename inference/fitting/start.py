"""What happens before the first step: parameters set from data, a mixture spread over latents."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pyro import poutine
from torch import Tensor

from vae4counts import models
from vae4counts.data import Batch, CountLoader, Counts
from vae4counts.guides import Guide
from vae4counts.inference.fitting.loop import Schedule
from vae4counts.inference.fitting.nonfinite import ADVICE, TrainingError
from vae4counts.models import Model

# Enough observations to know means and variances from.
ENOUGH = 10_000
# Groups of more points would take longer to find than a few epochs.
ENOUGH_FOR_GROUPS = 12_000
# Draws from each posterior of few observations, so that the groups hang less on chance.
DRAWS = 3
WARM_START_EPOCHS = 30
WARM_START_STEPS = 600


def start_from_data(model: Model, guide: Guide, counts: Counts, seed: int) -> None:
    """Lets every module that wants to set its parameters from training observations."""
    batch = next(iter(CountLoader(counts, batch_size=ENOUGH, seed=seed)))
    models.start_from_data(model, batch)
    models.start_from_data(guide, batch)


def warm_start(schedule: Schedule, steps_per_epoch: int) -> tuple[Schedule, Schedule]:
    """Splits a schedule's epochs into those of the plain VAE and those of the mixture.

    The first is long enough to tell groups apart, and takes the KL warm-up with it: a second one
    would undo what the components were spread over.
    """
    epochs = max(WARM_START_EPOCHS, math.ceil(WARM_START_STEPS / steps_per_epoch))
    epochs = min(epochs, schedule.epochs // 3)
    warm_up_steps = min(schedule.warm_up_steps, epochs * steps_per_epoch // 2)
    plain = replace(
        schedule, epochs=epochs, warm_up_steps=warm_up_steps, patience=epochs, phase="plain"
    )
    return plain, replace(
        schedule,
        epochs=schedule.epochs - epochs,
        warm_up_steps=0 if epochs else schedule.warm_up_steps,
    )


@torch.no_grad()
def start_components(model: Model, guide: Guide, counts: Counts, seed: int) -> None:
    """Start a model's prior at draws of the latents of all observations, or of enough.

    Draws from q(z | x) are what the prior is a density of, not their means.

    Raises:
        TrainingError: A latent is not finite.
    """
    guide.eval()
    if len(counts) > ENOUGH_FOR_GROUPS:
        chosen = np.random.default_rng(0).permutation(len(counts))[:ENOUGH_FOR_GROUPS]
        counts = counts.subset(np.sort(chosen))
    loader = CountLoader(counts, batch_size=1024, shuffle=False)
    draws = min(DRAWS, ENOUGH_FOR_GROUPS // len(counts))
    z = torch.cat([_latents(guide, batch) for _ in range(draws) for batch in loader])
    if not z.isfinite().all():
        raise TrainingError(f"the latents that components start at are not finite: {ADVICE}")
    model.start_from_latents(z, seed)


def _latents(guide: Guide, batch: Batch) -> Tensor:
    """A draw of ``z`` for each observation."""
    trace: Any = poutine.trace(guide).get_trace(batch)
    return trace.nodes["z"]["value"]
