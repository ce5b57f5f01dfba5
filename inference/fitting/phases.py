"""The phases of a fit: short fits to choose from, a plain VAE before a mixture, and the whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from lightning_fabric import Fabric

from vae4counts.data import Counts
from vae4counts.guides import Guide
from vae4counts.inference.fitting.loop import EpochRecord, Schedule, Training
from vae4counts.inference.fitting.resumption import Course
from vae4counts.inference.fitting.start import start_components, start_from_data, warm_start
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.models import Model, from_config
from vae4counts.models.config import Configured

# Each of several short fits has this share of the epochs.
SHORT = 0.2
# Apart from seeds that people choose.
STRIDE = 1_000_003

Report = Callable[[EpochRecord], None]


@dataclass(frozen=True)
class Fitting:
    """What all phases of a fit share.

    Attributes:
        fabric: Where and at what precision to compute.
        model: The model.
        guide: Its guide.
        training: Training observations, on the fabric's device.
        validation: Validation observations, on the fabric's device.
        seed: Seed of the order of the observations.
        course: Goes through the trainings, and through what is between them once.
        announce: Told a phase's title and number of epochs; gives what to call after each.
    """

    fabric: Fabric
    model: Model
    guide: Guide
    training: Counts
    validation: Counts
    seed: int
    course: Course
    announce: Callable[[str, int], Report]

    def run(self, schedule: Schedule, restarts: int) -> list[EpochRecord]:
        """Trains the pair from beginning to end and returns the history.

        Args:
            schedule: How long and how fast.
            restarts: Number of short fits to choose the best of; 1 for none.
        """
        if restarts == 1:
            return self._from_start(schedule)
        short = self._short(schedule)
        history = self._best_of(restarts, short)
        rest = replace(schedule, epochs=schedule.epochs - short.epochs, warm_up_steps=0)
        return history + (self._train(rest, "training") if rest.epochs else [])

    def _from_start(self, schedule: Schedule, title: str = "training") -> list[EpochRecord]:
        model, guide = self.model, self.guide
        self.course.once(lambda: start_from_data(model, guide, self.training, self.seed))
        twin = model.plain_twin()
        if twin is None or not guide.fits(twin):
            return self._train(schedule, title)
        plain, schedule = warm_start(schedule, self._steps(schedule))
        return self._spread(twin, plain) + self._train(schedule, title)

    def _spread(self, twin: Model, schedule: Schedule) -> list[EpochRecord]:
        """Trains with an N(0, I) prior for a while, then starts the components at groups.

        A mixture that is learnt from scratch beside networks that know nothing yet tends to
        settle on few components. On the latents of a plain VAE, which shares every other
        parameter, as many as asked for are found, or fewer by a sparse prior (see
        `merged_gaussians` and `count_groups`).
        """
        plain = replace(self, model=twin)
        history = plain._train(schedule, "plain VAE") if schedule.epochs else []
        self.course.once(lambda: start_components(self.model, self.guide, self.training, self.seed))
        return history

    def _train(self, schedule: Schedule, title: str) -> list[EpochRecord]:
        def make() -> Training:
            return Training(
                self.fabric,
                self.model,
                self.guide,
                self.training,
                self.validation,
                schedule,
                self.seed,
            )

        return self.course.train(make, self.announce(title, schedule.epochs))

    def _short(self, schedule: Schedule) -> Schedule:
        epochs = max(1, round(SHORT * schedule.epochs))
        steps = epochs * self._steps(schedule)
        warm_up_steps = min(schedule.warm_up_steps, steps // 2)
        return replace(schedule, epochs=epochs, warm_up_steps=warm_up_steps, phase="restart")

    def _steps(self, schedule: Schedule) -> int:
        """Optimiser steps an epoch."""
        return math.ceil(len(self.training) / schedule.batch_size)

    def _best_of(self, restarts: int, short: Schedule) -> list[EpochRecord]:
        """Leaves the pair as the best of several short fits did, and returns that one's history.

        The first starts from the parameters that are there, the others from new ones. Only epochs
        at the highest KL weight count.
        """
        best, history = (0.0, -math.inf), []
        for number in range(restarts):
            again = replace(self, seed=self.seed + number)
            if number:
                self.course.once(partial(self._redraw, number))
            records = again._from_start(short, title=f"restart {number + 1} of {restarts}")
            found = max((r.kl_weight, r.validation_elbo) for r in records if r.phase == short.phase)
            if found > best:
                best, history = found, records
                self.course.keep()
        self.course.come_back()
        return history

    def _redraw(self, number: int) -> None:
        # callers tend to seed the first parameters and the fit alike
        with own_randomness(self.fabric.device, self.seed + STRIDE * number):
            redraw(self.model)
            redraw(self.guide)


def redraw(module: Configured) -> None:
    """Gives a model or a guide new random parameters, as if it were made anew.

    Raises:
        TypeError: A part of it cannot be described, and so not made anew.
    """
    fresh = from_config(module.config())
    module.load_state_dict(fresh.state_dict())  # type: ignore[attr-defined]
