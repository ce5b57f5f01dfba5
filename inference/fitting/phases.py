"""Which trainings a fit consists of: short fits to choose from, a plain twin, the model itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

from lightning_fabric import Fabric

from vae4counts.data import Counts
from vae4counts.guides import Guide
from vae4counts.inference.fitting.history import EpochRecord
from vae4counts.inference.fitting.known_classes import known_classes
from vae4counts.inference.fitting.loop import Phase, TrainingLoop
from vae4counts.inference.fitting.own_pair import redraw
from vae4counts.inference.fitting.progress import Report
from vae4counts.inference.fitting.resumption import ResumableFit
from vae4counts.inference.fitting.start import start_from_data, start_from_latents
from vae4counts.models import Model
from vae4counts.models.labels import UNLABELLED

# Of a mixture's epochs, those in which its plain twin is trained.
PLAIN_SHARE = 0.5
# Where components are known classes, it grows to this with the share of observations that have no
# label: components start at what the labelled ones say of them, and the others then move them,
# slowly, to whatever groups these form.
PLAIN_SHARE_OF_UNLABELLED = 0.8
# Each of several short fits has this share of the epochs.
RESTART_SHARE = 0.2
# Far from the differences between seeds that people choose.
SEED_STRIDE = 1_000_003


@dataclass(frozen=True)
class Phases:
    """The phases of a fit, and what all of them share.

    Attributes:
        fabric: Where and at what precision to compute.
        model: The model.
        guide: Its guide.
        training: Training observations, on the fabric's device.
        validation: Validation observations, on the fabric's device.
        seed: Seed of the order of the observations.
        progress: Runs each training, and what happens between them, unless it was done before
            the fit was resumed.
        watch: Called with the title of a training, its number of epochs and how many of them were
            done before; gives what to call as training proceeds.
    """

    fabric: Fabric
    model: Model
    guide: Guide
    training: Counts
    validation: Counts
    seed: int
    progress: ResumableFit
    watch: Callable[[str, int, float], AbstractContextManager[Report]]

    def run(self, phase: Phase, restarts: int, *, warm_start: bool) -> list[EpochRecord]:
        """Train the pair from beginning to end and return the history.

        Args:
            phase: How long and how fast.
            restarts: Number of short fits to choose the best of; 1 for none.
            warm_start: Whether to begin with the pair's parameters as they are.
        """
        if warm_start:
            return self._train(phase, "training")
        if restarts == 1:
            return self._from_start(phase)
        epochs = max(1, round(RESTART_SHARE * phase.epochs))
        short, rest = phase.split_after(epochs, self._steps_per_epoch(phase))
        history = self._best_of(restarts, replace(short, name="restart"))
        return history + (self._train(rest, "training") if rest.epochs else [])

    def _from_start(self, phase: Phase, title: str = "training") -> list[EpochRecord]:
        """Train from parameters that are set from data.

        A mixture that is learnt from scratch beside networks that know nothing yet tends to
        settle on few components. Its plain twin, which shares every parameter but the prior's, is
        trained first; the components then start at groups of its latents.
        """
        model, guide = self.model, self.guide
        self.progress.once(lambda: start_from_data(model, guide, self.training, self.seed))
        twin = model.plain_twin()
        if twin is None or not guide.fits(twin):
            return self._train(phase, title)
        epochs = int(self._plain_share() * phase.epochs)
        plain, phase = phase.split_after(epochs, self._steps_per_epoch(phase))
        plain = replace(plain, name="plain", patience=epochs)
        history = replace(self, model=twin)._train(plain, "plain VAE") if epochs else []
        self.progress.once(lambda: start_from_latents(model, twin, guide, self.training, self.seed))
        return history + self._train(phase, title)

    def _plain_share(self) -> float:
        """The share of the epochs that the plain twin takes."""
        known = known_classes(self.training, self.model.labels)
        if known is None:
            return PLAIN_SHARE
        unlabelled = (known == UNLABELLED).double().mean().item()
        return PLAIN_SHARE + (PLAIN_SHARE_OF_UNLABELLED - PLAIN_SHARE) * unlabelled

    def _best_of(self, restarts: int, short: Phase) -> list[EpochRecord]:
        """Leave the pair as the best of several short fits did, and return that one's history.

        The first starts from the parameters that the pair has, the others from new ones. Only
        epochs at the highest KL weight count, and of these the finite ones: a training without any
        has ended in an error.
        """
        best, history = (0.0, -math.inf), []
        for number in range(restarts):
            again = replace(self, seed=self.seed + number)
            if number:
                self.progress.once(partial(self._redraw, number))
            records = again._from_start(short, title=f"restart {number + 1} of {restarts}")
            found = max(
                (r.kl_weight, r.validation_elbo)
                for r in records
                if r.phase == short.name and math.isfinite(r.validation_elbo)
            )
            if found > best:
                best, history = found, records
                self.progress.keep()
        self.progress.return_to_kept()
        return history

    def _train(self, phase: Phase, title: str) -> list[EpochRecord]:
        make = partial(
            TrainingLoop,
            self.fabric,
            self.model,
            self.guide,
            self.training,
            self.validation,
            phase,
            self.seed,
        )
        return self.progress.train(make, partial(self.watch, title, phase.epochs))

    def _steps_per_epoch(self, phase: Phase) -> int:
        return math.ceil(len(self.training) / phase.batch_size)

    def _redraw(self, number: int) -> None:
        redraw(self.model, self.guide, self.seed + SEED_STRIDE * number)
