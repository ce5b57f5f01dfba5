"""Several tables as one vector, independent given the latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vae4counts.models.joint.distribution import JointDistribution


class SideBySide(JointDistribution):
    """The joint distribution of independent vectors, one after the other.

    Args:
        parts: Their distributions, of the same batch shape.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (torch declares it so)

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
        """Return the log-probability of dense values ``(*batch, G)``, in nats."""
        values = value.split(self.sizes, -1)
        each = [part.log_prob(own) for part, own in zip(self.parts, values, strict=True)]
        return torch.stack(each).sum(0)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Draw values, shape ``(*sample_shape, *batch_shape, G)``."""
        return torch.cat([part.sample(sample_shape) for part in self.parts], -1)

    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:
        """See `JointDistribution.log_prob_at`."""
        shape = torch.Size((*self.batch_shape, len(columns)))
        values = values.expand(shape)
        found = torch.zeros(shape, dtype=values.dtype, device=columns.device)
        start = 0
        for part, size in zip(self.parts, self.sizes, strict=True):
            own = ((columns >= start) & (columns < start + size)).nonzero().squeeze(-1)
            if len(own):
                found[..., own] = part.log_prob_at(columns[own] - start, values[..., own]).to(found)
            start += size
        return found
