"""The training of a pair, as each of the processes that share it does it."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import torch

from vae4counts.data import Counts
from vae4counts.guides import Guide
from vae4counts.inference.fitting.history import EpochRecord
from vae4counts.inference.fitting.loop import Phase
from vae4counts.inference.fitting.options import Checkpoints, Precision
from vae4counts.inference.fitting.phases import Phases
from vae4counts.inference.fitting.progress import SILENT, Progress, WatchedFit
from vae4counts.inference.fitting.resumption import ResumableFit
from vae4counts.inference.parallel.matmul import fast_products
from vae4counts.inference.parallel.processes import make_fabric
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.inference.parallel.threads import kept_threads
from vae4counts.inference.run.fitted_pair import pair_of
from vae4counts.models import Model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingJob:
    """All that a process needs to train a pair.

    Attributes:
        training: Training observations.
        validation: Validation observations.
        phase: How long and how fast to train.
        restarts: See `Schedule`.
        warm_start: See `fit`.
        seed: See `fit`.
        accelerator: "cpu" or "cuda".
        precision: See `Compute`.
        threads: See `Compute`.
        progress: How far training has come is said there.
        subject: What is fitted to what and how, see `subject_of`.
        checkpoints: Where checkpoints are; None for none.
    """

    training: Counts
    validation: Counts
    phase: Phase
    restarts: int
    warm_start: bool
    seed: int
    accelerator: str
    precision: Precision
    threads: int | None
    progress: Progress
    subject: dict[str, Any]
    checkpoints: Checkpoints | None


@dataclass(frozen=True)
class Trained:
    """What a process knows when training has ended.

    Attributes:
        history: A record per epoch.
        state: Parameters and buffers of the pair, by their names in `pair_of`.
        seconds: How long the fit took, in all processes that it was resumed in.
        most_epochs: How many epochs it might have taken.
        threads: How many threads computed.
    """

    history: list[EpochRecord]
    state: dict[str, torch.Tensor]
    seconds: float
    most_epochs: int
    threads: int

    @property
    def epoch_kept(self) -> int:
        """The epoch of the history whose parameters were kept: the best at full KL weight."""
        last = self.history[-1].phase
        candidates = [
            (record.kl_weight, record.validation_elbo, -number)
            for number, record in enumerate(self.history, 1)
            if record.phase == last and math.isfinite(record.validation_elbo)
        ]
        return -max(candidates)[2]

    def metrics(self, n_training: int) -> dict[str, Any]:
        """Return how long training took, when it ended, and how fast it was."""
        seconds = sum(record.seconds for record in self.history)
        return {
            "epochs": len(self.history),
            "epoch_kept": self.epoch_kept,
            "stopped_early": len(self.history) < self.most_epochs,
            "batches_skipped": sum(record.skipped for record in self.history),
            "seconds": self.seconds,
            "observations_per_second": n_training * len(self.history) / seconds,
            "threads": self.threads,
        }


def train(model: Model, guide: Guide, job: TrainingJob) -> Trained:
    """Train a pair in this process, or do this process's share of the work."""
    fabric = make_fabric(job.accelerator, job.precision)
    pair = pair_of(model, guide)
    log.info(
        "training %s and %s on %d observations: up to %d epochs in batches of %d, on %s",
        model.title,
        type(guide).__name__,
        len(job.training),
        job.phase.epochs,
        job.phase.batch_size,
        fabric.device,
    )
    with (
        kept_threads(job.threads),
        own_randomness(fabric.device, job.seed),
        fast_products(),
        WatchedFit(job.progress if fabric.is_global_zero else SILENT) as watched,
        ResumableFit(pair, fabric.device, job.subject, job.checkpoints) as resumable,
    ):
        fabric.to_device(pair)
        counts = job.training.to(fabric.device), job.validation.to(fabric.device)
        phases = Phases(fabric, model, guide, *counts, job.seed, resumable, watched.training)
        history = phases.run(job.phase, job.restarts, warm_start=job.warm_start)
        threads = torch.get_num_threads()
    state = {name: value.detach() for name, value in pair.state_dict().items()}
    return Trained(history, state, resumable.seconds, job.phase.epochs, threads)
