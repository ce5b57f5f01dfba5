"""Several tables as one vector, independent given the latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vae4counts.models.joint.distribution import NO_SHAPE, JointDistribution, dense_counts


class SideBySide(JointDistribution):
    """The joint distribution of independent vectors, one after the other.

    Args:
        parts: Their distributions, of the same batch shape.
    """

    def __init__(self, parts: Sequence[JointDistribution]) -> None:
        self.parts = list(parts)
        self.sizes = [part.event_shape[0] for part in self.parts]
        shape = torch.broadcast_shapes(*(part.batch_shape for part in self.parts))
        super().__init__(shape, torch.Size([sum(self.sizes)]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Expected values, shape ``(*batch_shape, G)``."""
        return torch.cat([part.mean for part in self.parts], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of values, CSR or dense, in nats."""
        return sum(part.log_prob(own) for part, own in self._split(value))

    def sample(self, sample_shape: Any = NO_SHAPE) -> Tensor:
        """Draw values, shape ``(*sample_shape, *batch_shape, G)``."""
        return torch.cat([part.sample(sample_shape) for part in self.parts], -1)

    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:
        """See `JointDistribution.log_prob_at`."""
        values = values.expand(*self.batch_shape, len(columns))
        found = torch.zeros(values.shape, device=columns.device)
        for part, own, local in self._at(columns):
            found[..., own] = part.log_prob_at(local, values[..., own]).to(found)
        return found

    def presence(self, columns: Tensor) -> Tensor:
        """See `JointDistribution.presence`."""
        found = torch.zeros((*self.batch_shape, len(columns)), device=columns.device)
        for part, own, local in self._at(columns):
            found[..., own] = part.presence(local).to(found)
        return found

    def presence_together(self, columns: Tensor, weights: Tensor) -> Tensor:
        """See `JointDistribution.presence_together`."""
        present = self.presence(columns).double()
        found = present.T @ (weights.unsqueeze(-1) * present)
        for part, own, local in self._at(columns):
            found[own.unsqueeze(-1), own] = part.presence_together(local, weights)
        return found

    def log_marginal(
        self, values: Tensor, observed: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """See `JointDistribution.log_marginal`."""
        parts = self._split(values, observed, *([] if present is None else [present]))
        return sum(part.log_marginal(*known) for part, *known in parts)

    def leave_one_out(self, values: Tensor) -> Tensor:
        """See `JointDistribution.leave_one_out`."""
        return torch.cat([part.leave_one_out(own) for part, own in self._split(values)], -1)

    def expected_given(
        self, values: Tensor, observed: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `JointDistribution.expected_given`."""
        parts = self._split(values, observed, *([] if present is None else [present]))
        found = [part.expected_given(*known) for part, *known in parts]
        expected, presence = zip(*found, strict=True)
        return torch.cat(expected, -1), torch.cat(presence, -1)

    def sample_given(
        self, values: Tensor, observed: Tensor, sample_shape: torch.Size = NO_SHAPE
    ) -> Tensor:
        """See `JointDistribution.sample_given`."""
        parts = self._split(values, observed)
        return torch.cat([part.sample_given(*known, sample_shape) for part, *known in parts], -1)

    def _split(self, *values: Tensor) -> Iterator[tuple[Any, ...]]:
        """Yield each part with its features of each of some tensors ``(*batch, G)``."""
        split = [dense_counts(each).split(self.sizes, -1) for each in values]
        return zip(self.parts, *split, strict=True)

    def _at(self, columns: Tensor) -> Iterator[tuple[JointDistribution, Tensor, Tensor]]:
        """Yield each part with which of some columns are its own, and where these are in it."""
        start = 0
        for part, size in zip(self.parts, self.sizes, strict=True):
            own = ((columns >= start) & (columns < start + size)).nonzero().squeeze(-1)
            yield part, own, columns[own] - start
            start += size
