"""The same random numbers for an observation, however many processes share its batch.

Processes that start from one seed and draw the same numbers have the same random state for ever.
So each of them draws what one process alone would, the noise of the whole batch, and uses the
rows that are its own. The noise is small beside the counts: ``L`` numbers of latents and ``H`` of
hidden units for each observation of ``G`` features.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from vae4counts.data import Batch, Part


@contextmanager
def whole_noise(batch: Batch, *pair: nn.Module) -> Iterator[None]:
    """Has the noise of a whole batch drawn where only a part of it is at hand.

    The numbers are those of one process for dropout and for Gaussian latents and what is made of
    them (all guides of this package). What another distribution draws is as random, but hangs on
    the number of processes.

    Args:
        batch: The part, or a whole batch: then nothing is changed.
        pair: The modules whose dropout is meant too; none of them where they do not train.
    """
    if batch.whole.number == 1:
        yield
        return
    dropouts = [m for part in pair for m in part.modules() if isinstance(m, nn.Dropout)]
    for module in dropouts:
        module.forward = partial(_dropped, module, batch)  # type: ignore[method-assign]
    try:
        with _WholeNoise(batch.whole):
            yield
    finally:
        for module in dropouts:
            del module.forward


class _WholeNoise(Messenger):
    """Gives latents a value before they are drawn."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        in_batch = any(frame.name == "observations" for frame in message["cond_indep_stack"])
        if in_batch and message["value"] is None:
            fn = message["fn"]
            value = _gaussian(fn, self.part, row=-1 - len(fn.event_shape))
            if value is None:
                value = fn(torch.Size([self.part.number]))[self.part.rank]
            message["value"] = value


def _gaussian(fn: Any, part: Part, row: int) -> Tensor | None:
    """Own rows of a draw for the whole batch; None of what is not made of Gaussians.

    Args:
        fn: The distribution of own rows.
        part: Which rows they are.
        row: The dimension of the rows, from the last.
    """
    if isinstance(fn, torch.distributions.Independent):
        return _gaussian(fn.base_dist, part, row)
    if isinstance(fn, torch.distributions.TransformedDistribution):
        value = _gaussian(fn.base_dist, part, row)
        for transform in fn.transforms if value is not None else ():
            value = transform(value)
        return value
    if not isinstance(fn, torch.distributions.Normal):
        return None
    shape = list(fn.loc.shape)
    shape[row] = part.size
    standard = dist.Normal(fn.loc.new_zeros(()), fn.loc.new_ones(())).expand(shape)
    rows = torch.arange(part.size, device=fn.loc.device)[part.rows]
    return fn.loc + standard.rsample().index_select(row, rows) * fn.scale


def _dropped(module: nn.Dropout, batch: Batch, inputs: Tensor) -> Tensor:
    """Dropout of the batch's rows, once or several times over, or of inputs that are not of it."""
    times, rest = divmod(len(inputs), len(batch))
    if rest or not module.training:
        return nn.functional.dropout(inputs, module.p, module.training)
    kept = 1 - module.p
    part = batch.whole
    mask = inputs.new_empty(times, part.size, *inputs.shape[1:]).bernoulli_(kept)
    return inputs * mask[:, part.rows].reshape(inputs.shape).div_(kept)
