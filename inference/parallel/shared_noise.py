"""The same noise and normalisation for an observation, however many processes share its batch.

Processes that start from one seed and draw equally many numbers keep the same random state. So
each of them draws the noise of the whole batch, as one process alone would, and uses its own rows.
The noise is small compared with the counts: ``L`` numbers of latents and ``H`` of hidden units for
each observation of ``G`` features. Batch normalisation uses the moments of the whole batch, which
the processes add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from vae4counts.data import Batch, Part
from vae4counts.inference.parallel.processes import Processes
from vae4counts.models.config import with_own_parts
from vae4counts.models.networks import BatchNorm
from vae4counts.models.numerics import first_order


@contextmanager
def whole_noise(batch: Batch, *pair: nn.Module) -> Iterator[None]:
    """Draw the noise and use the moments of the whole batch, given a part of it.

    The numbers are those of one process for dropout, for Gaussian latents and transformations of
    them, and for components (all guides of this package). What another distribution draws is
    equally random, but depends on the number of processes.

    Args:
        batch: The part; for a whole batch nothing is changed.
        pair: Modules whose dropout and batch normalisation follow the whole batch too; none in
            evaluation mode.
    """
    if batch.whole.number == 1:
        yield
        return
    modules = set()
    for module, own in (each for part in pair for each in with_own_parts(part, batch)):
        for kind, instead in INSTEAD.items():
            if isinstance(module, kind):
                module.forward = partial(instead, module, own)
                modules.add(module)
    try:
        with _WholeNoise(batch.whole):
            yield
    finally:
        for module in modules:
            del module.forward


class _WholeNoise(Messenger):
    """A handler that gives latents a value before they are drawn."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        in_batch = any(frame.name == "observations" for frame in message["cond_indep_stack"])
        if in_batch and message["value"] is None:
            fn = message["fn"]
            value = _own_rows(fn, self.part, row=-1 - len(fn.event_shape))
            if value is None:
                value = fn(torch.Size([self.part.number]))[self.part.rank]
            message["value"] = value


def _own_rows(fn: Any, part: Part, row: int) -> Tensor | None:
    """Return own rows of a draw for the whole batch; None for a distribution not listed here.

    Args:
        fn: The distribution of own rows.
        part: Which rows they are.
        row: The dimension of the rows, counted from the last.
    """
    if isinstance(fn, torch.distributions.Independent):
        return _own_rows(fn.base_dist, part, row)
    if isinstance(fn, torch.distributions.TransformedDistribution):
        value = _own_rows(fn.base_dist, part, row)
        for transform in fn.transforms if value is not None else ():
            value = transform(value)
        return value
    if isinstance(fn, torch.distributions.Categorical):
        shape = list(fn.probs.shape)
        shape[row - 1] = part.size
        # one number is drawn for each row, whatever its probabilities are
        probs = fn.probs.new_ones(shape)
        probs.narrow(row - 1, part.rows.start, fn.probs.shape[row - 1]).copy_(fn.probs)
        return (
            dist.Categorical(probs).sample().narrow(row, part.rows.start, fn.probs.shape[row - 1])
        )
    if isinstance(fn, torch.distributions.MultivariateNormal):
        standard = dist.Normal(torch.zeros_like(fn.loc), torch.ones_like(fn.loc))
        noise = cast(Tensor, _own_rows(standard, part, row))
        return fn.loc + (fn.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
    if not isinstance(fn, torch.distributions.Normal):
        return None
    shape = list(fn.loc.shape)
    shape[row] = part.size
    standard = dist.Normal(fn.loc.new_zeros(()), fn.loc.new_ones(())).expand(shape)
    return fn.loc + standard.rsample().narrow(row, part.rows.start, fn.loc.shape[row]) * fn.scale


def _dropped(module: nn.Dropout, batch: Batch, inputs: Tensor) -> Tensor:
    """Dropout of the batch's rows, once or several times over."""
    if not module.training or module.p == 0:
        return inputs
    kept, part = 1 - module.p, batch.whole
    times = _times(inputs, batch)
    mask = inputs.new_empty(times, part.size, *inputs.shape[1:]).bernoulli_(kept)
    own = mask.narrow(1, part.rows.start, len(batch))
    return inputs * own.reshape(inputs.shape).div_(kept)


def _times(inputs: Tensor, batch: Batch) -> int:
    """How often the rows of a batch are there: once of a table that no own observation has."""
    return len(inputs) // len(batch) if len(batch) else 1


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes, whose gradient is summed likewise."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:  # noqa: ARG004
        return Processes.here().sum(own)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return Processes.here().sum(gradient)


def _normalised(module: BatchNorm, batch: Batch, inputs: Tensor) -> Tensor:
    """Normalisation by the moments of the whole batch, with gradients through them."""
    times = _times(inputs, batch)
    rows = times * batch.whole.size
    if not module.learns(rows):
        return type(module).forward(module, inputs)
    own = inputs.double().view(times, len(batch), inputs.shape[-1])[:, : batch.whole.n_rows]
    sums = torch.stack([own.sum((0, 1)), own.square().sum((0, 1))])
    mean, square = _Sum.apply(sums) / rows
    return module.normalise(inputs, mean, square - mean.square(), rows)


INSTEAD: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Dropout: _dropped,
    BatchNorm: _normalised,
}
