"""Where the draws that are kept for ArviZ come from."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.guides.local import LocalGuide, site_values
from vae4counts.inference.posterior.draws import Draws, chunks, draw, draws_at
from vae4counts.inference.posterior.hmc import sample
from vae4counts.inference.posterior.refinement import frozen, log_density
from vae4counts.models import Model

# Gaussians of a mixture from which no chain starts: those of less weight.
LEAST_WEIGHT = 0.01
# Chains start from Gaussians so many times as wide.
DISPERSION = 1.5


class Sampler(abc.ABC):
    """A way to draw from the posteriors of observations.

    Attributes:
        chains: Number of chains, which each draw as often as is asked for.
    """

    chains: int = 1

    @abc.abstractmethod
    def draws(self, batch: Batch, num_samples: int) -> Iterator[Draws]:
        """Draw for the observations of a batch, chain by chain, some draws at a time.

        Args:
            batch: The observations.
            num_samples: Number of draws of each chain.
        """


@dataclass(frozen=True)
class FromGuide(Sampler):
    """Independent draws from a guide.

    Attributes:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
    """

    model: Model
    guide: Guide

    def draws(self, batch: Batch, num_samples: int) -> Iterator[Draws]:
        """See `Sampler.draws`."""
        for size in chunks(num_samples, self.model, batch):
            yield draw(self.model, self.guide, batch, size)


@dataclass(frozen=True)
class HMC(Sampler):
    """Chains of Hamiltonian Monte Carlo, which start around refined posteriors.

    Discrete latents are summed out; their states are drawn given those of the chain.

    Attributes:
        model: The model, in evaluation mode.
        guide: The refined posteriors: they give each observation the coordinates of its chains,
            and the chains their starts, on its several Gaussians in turn.
        chains: Number of chains.
        warm_up: Draws that come before those that are kept, and adapt the steps.
        advance: Called with the number of observations of each batch that is done.
    """

    model: Model
    guide: LocalGuide
    chains: int = 4
    warm_up: int = 150
    advance: Callable[[int], None] = lambda _: None

    def draws(self, batch: Batch, num_samples: int) -> Iterator[Draws]:
        """See `Sampler.draws`. ``stats`` hold ``acceptance_rate``, ``diverging``, ``step_size``."""
        loc, factor = self.guide.moments(batch.index)
        with frozen(self.model):
            chains = sample(
                log_density(self.model, batch, self.guide.blocks),
                loc,
                factor,
                torch.linalg.solve(factor, (self._starts(batch) - loc).unsqueeze(-1)).squeeze(-1),
                num_samples=num_samples,
                warm_up=self.warm_up,
            )
        stats = {
            "acceptance_rate": chains.acceptance,
            "diverging": chains.diverging,
            "step_size": chains.step_size.expand(chains.acceptance.shape),
        }
        self.advance(len(batch))
        start = 0
        for size in chunks(self.chains * num_samples, self.model, batch):
            part = slice(start, start + size)
            numbers = chains.points.flatten(0, 1)[part]
            some = {name: each.flatten(0, 1)[part] for name, each in stats.items()}
            values, _ = site_values(self.guide.blocks, numbers)
            yield draws_at(self.model, batch, values, size, some)
            start += size

    def _starts(self, batch: Batch) -> Tensor:
        """Return where the chains start, shape ``(C, B, D)``."""
        weights = self.guide.log_weights[batch.index].exp()
        order = weights.argsort(1, descending=True)
        usable = (weights > LEAST_WEIGHT).sum(1)
        number = torch.arange(self.chains, device=usable.device).unsqueeze(1)
        chosen = order.gather(1, (number % usable).T).T
        rows = torch.arange(len(batch), device=usable.device)
        loc = self.guide.loc[batch.index][rows, chosen]
        factor = self.guide.scale_tril[batch.index][rows, chosen]
        noise = torch.randn_like(loc)
        return loc + DISPERSION * torch.einsum("cbij,cbj->cbi", factor, noise)
