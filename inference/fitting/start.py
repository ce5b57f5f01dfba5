"""What happens before the first step: parameters set from data, a mixture spread over latents."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from vae4counts.data import CountLoader, Counts
from vae4counts.guides import Guide, MarginalGuide
from vae4counts.inference.fitting.loop import Schedule
from vae4counts.inference.fitting.nonfinite import ADVICE, TrainingError
from vae4counts.models import CountModel, StartsFromData
from vae4counts.models.priors import GaussianMixture
from vae4counts.models.priors.clustering import count_groups, merged_gaussians

# Enough observations to know means and variances from.
ENOUGH = 10_000
# Groups of more points would take longer to find than a few epochs.
ENOUGH_FOR_GROUPS = 12_000
# Draws from each posterior of few observations, so that the groups hang less on chance.
DRAWS = 3
WARM_START_EPOCHS = 30
WARM_START_STEPS = 600


def start_from_data(model: CountModel, guide: Guide, counts: Counts, seed: int) -> None:
    """Lets every module that wants to set its parameters from training observations."""
    batch = next(iter(CountLoader(counts, batch_size=ENOUGH, seed=seed)))
    for module in (*model.modules(), *guide.modules()):
        if isinstance(module, StartsFromData):
            module.initialise(batch)


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
def start_components(
    prior: GaussianMixture, guide: MarginalGuide, counts: Counts, seed: int
) -> None:
    """Starts a mixture's components at groups of latents, of all observations or of enough.

    Draws from q(z | x) are what the prior is a density of, not their means.

    Raises:
        TrainingError: A latent is not finite.
    """
    guide.eval()
    if len(counts) > ENOUGH_FOR_GROUPS:
        chosen = np.random.default_rng(0).permutation(len(counts))[:ENOUGH_FOR_GROUPS]
        counts = counts.subset(np.sort(chosen))
    loader = CountLoader(counts, batch_size=1024, shuffle=False)
    posteriors = [guide.posterior(batch.counts) for batch in loader]
    if not all(part.isfinite().all() for posterior in posteriors for part in posterior):
        raise TrainingError(f"the latents that components start at are not finite: {ADVICE}")
    draws = min(DRAWS, ENOUGH_FOR_GROUPS // len(counts))
    z = torch.cat([torch.normal(*posterior) for posterior in posteriors * draws])
    points = z.double().cpu().numpy()
    n = prior.n_components
    shares = merged_gaussians(points, count_groups(points, n, seed) if prior.sparse else n, seed)
    prior.start_at(z, torch.as_tensor(shares).to(z.device))
