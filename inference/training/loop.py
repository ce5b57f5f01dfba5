"""The SVI loop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from pyro.infer import TraceEnum_ELBO
from torch import nn

from vae4counts.data import Batch, CountLoader, Counts
from vae4counts.guides import Guide
from vae4counts.inference.noise import whole_noise
from vae4counts.inference.posterior.draws import CHUNK_NUMBERS, draw
from vae4counts.inference.processes import Processes
from vae4counts.inference.randomness import own_randomness
from vae4counts.inference.training.tempering import KLWarmUp, Tempering
from vae4counts.models import CountModel

ADVICE = "try a lower learning rate, or an encoder whose inputs are 'log1p'"


class TrainingError(RuntimeError):
    """Training cannot go on."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: Most passes over the training observations.
        batch_size: Observations a step.
        learning_rate: Adam's.
        prior_learning_rate: Adam's for the prior's parameters, which see a gradient only through
            ``z`` and would lag behind the networks.
        warm_up_steps: Steps over which the KL weight grows to 1.
        patience: Epochs without a better validation ELBO, at full KL weight, before stopping.
        phase: What the history calls it.
        tempering: Further handlers around every step.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    prior_learning_rate: float = 1e-2
    warm_up_steps: int = 0
    patience: int = 30
    phase: str = "full"
    tempering: tuple[Tempering, ...] = ()


@dataclass(frozen=True)
class EpochRecord:
    """A row of the training history.

    Attributes:
        phase: What was trained: "plain" for a mixture's warm start, else "full".
        epoch: Number of the epoch in its phase, from 1.
        step: Optimiser steps so far.
        kl_weight: KL weight of the epoch's last step.
        train_elbo: Mean of the (tempered) objective over the epoch, in nats per observation.
        validation_elbo: ELBO of the validation observations at full KL weight.
        validation_reconstruction: The part of it that the site ``"counts"`` holds.
        seconds: Seconds that the epoch's training took, validation left out.
    """

    phase: str
    epoch: int
    step: int
    kl_weight: float
    train_elbo: float
    validation_elbo: float
    validation_reconstruction: float
    seconds: float


def train(
    fabric: Fabric,
    model: CountModel,
    guide: Guide,
    training: Counts,
    validation: Counts,
    schedule: Schedule,
    *,
    seed: int,
    report: Callable[[EpochRecord], None],
) -> list[EpochRecord]:
    """Maximises the ELBO and leaves the pair at its best validation ELBO at full KL weight.

    Args:
        fabric: Where and at what precision to compute.
        model: The model.
        guide: Its guide.
        training: Training observations, on the fabric's device.
        validation: Validation observations, on the fabric's device.
        schedule: How long and how fast.
        seed: Seed of the order of the observations.
        report: Called with each epoch's record.

    Returns:
        The history, a record an epoch.

    Raises:
        TrainingError: The objective is not finite.
    """
    elbo = TraceEnum_ELBO(max_plate_nesting=1)(model, guide)
    objective, optimiser = fabric.setup(_Objective(elbo), _optimiser(elbo, schedule))
    processes = Processes.here()
    processes.agree(elbo)
    loader = CountLoader(training, batch_size=schedule.batch_size, seed=seed, share=processes.share)
    handlers = [KLWarmUp(schedule.warm_up_steps), *map(copy.copy, schedule.tempering)]
    history: list[EpochRecord] = []
    best, best_epoch, steps, kl_weight = -math.inf, 0, 0, 0.0
    best_state: dict[str, torch.Tensor] = {}
    for epoch in range(1, schedule.epochs + 1):
        started = time.perf_counter()
        elbo.train()
        total = torch.zeros((), device=fabric.device)
        for batch in loader.epoch(epoch):
            with ExitStack() as around:
                around.enter_context(whole_noise(batch, elbo))
                for handler in handlers:
                    around.enter_context(handler)
                loss = objective(lambda batch=batch: batch)
            loss = (loss + sum(handler.penalty() for handler in handlers)) / batch.n_observations
            # of a process's part, its share in the loss of the whole batch
            loss = loss * (batch.whole.n_rows / batch.whole.size)
            optimiser.zero_grad(set_to_none=True)
            fabric.backward(loss)
            loss = processes.add_gradients(elbo, loss.detach())
            optimiser.step()
            kl_weight = math.prod(handler.kl_weight for handler in handlers)
            steps += 1
            for handler in handlers:
                handler.step()
            total += loss * batch.whole.size
        processes.agree(elbo)  # on batch normalisation's moments
        train_elbo = -total.item() / len(training)
        seconds = time.perf_counter() - started
        if not math.isfinite(train_elbo):
            raise TrainingError(f"the objective is {train_elbo} in epoch {epoch}: {ADVICE}")
        parts = validation_parts(model, guide, validation, processes)
        record = EpochRecord(
            phase=schedule.phase,
            epoch=epoch,
            step=steps,
            kl_weight=kl_weight,
            train_elbo=train_elbo,
            validation_elbo=sum(parts.values()),
            validation_reconstruction=parts["counts"],
            seconds=seconds,
        )
        history.append(record)
        report(record)
        if all(handler.finished for handler in handlers) and record.validation_elbo > best:
            best, best_epoch = record.validation_elbo, epoch
            best_state = {name: value.clone() for name, value in elbo.state_dict().items()}
        if best_state and epoch - best_epoch >= schedule.patience:
            break
    if best_state:
        elbo.load_state_dict(best_state)
    elif not math.isfinite(history[-1].validation_elbo):
        raise TrainingError(f"the validation ELBO is {history[-1].validation_elbo}: {ADVICE}")
    return history


class _Objective(nn.Module):
    """The negative ELBO of a batch that comes wrapped in a function.

    Fabric casts the floating point tensors of its arguments to the precision that it computes in;
    counts of more than 256 would lose digits in bfloat16.
    """

    def __init__(self, elbo: nn.Module) -> None:
        super().__init__()
        self.elbo = elbo

    def forward(self, batch: Callable[[], Batch]) -> torch.Tensor:
        return self.elbo(batch())


def _optimiser(elbo: nn.Module, schedule: Schedule) -> torch.optim.Adam:
    """Adam, fused, with a learning rate of its own for the prior."""
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in elbo.named_parameters():
        if parameter.requires_grad:
            groups[name.startswith("model.prior.")].append(parameter)
    rates = {False: schedule.learning_rate, True: schedule.prior_learning_rate}
    return torch.optim.Adam(
        [{"params": groups[key], "lr": rates[key]} for key in groups if groups[key]], fused=True
    )


def validation_parts(
    model: CountModel,
    guide: Guide,
    counts: Counts,
    processes: Processes = Processes(),  # noqa: B008 (it is frozen)
) -> dict[str, float]:
    """Each site's share of the ELBO, means per observation in nats, by one draw each.

    The draws are the same at every call, so that the values of two epochs can be compared.
    """
    model.eval()
    guide.eval()
    totals: dict[str, float] = {}
    batch_size = max(1, min(1024, CHUNK_NUMBERS // model.outputs_per_draw))
    with own_randomness(counts.device, seed=0):
        loader = CountLoader(counts, batch_size=batch_size, shuffle=False, share=processes.share)
        for batch in loader:
            with whole_noise(batch):
                parts = draw(model, guide, batch, 1).elbo_parts()
            for name, part in parts.items():
                own = part[: batch.whole.n_rows].sum().item()
                totals[name] = totals.get(name, 0.0) + own
    sums = torch.tensor(list(totals.values()), dtype=torch.float64, device=counts.device)
    means = processes.sum(sums) / len(counts)
    return dict(zip(totals, means.tolist(), strict=True))
