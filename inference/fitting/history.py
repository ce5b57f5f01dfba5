"""The history of a fit: a record for each epoch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochRecord:
    """A row of the training history.

    Attributes:
        phase: What was trained: "plain" for a mixture's warm start, "restart" for a short fit to
            choose from, else "full".
        epoch: Number of the epoch in its phase, from 1.
        step: Optimiser steps of the phase so far.
        kl_weight: KL weight of the epoch's last step.
        train_elbo: Mean of the (tempered) objective over the epoch, in nats per observation.
        validation_elbo: ELBO of the validation observations at full KL weight.
        validation_reconstruction: The observed sites' share of it.
        seconds: Seconds that the epoch's training took, validation left out.
        skipped: Batches that were skipped because their loss or gradient was not finite.
    """

    phase: str
    epoch: int
    step: int
    kl_weight: float
    train_elbo: float
    validation_elbo: float
    validation_reconstruction: float
    seconds: float
    skipped: int = 0
