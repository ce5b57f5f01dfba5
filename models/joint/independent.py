"""Independent features: the baseline of all models of how features go together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.joint.distribution import JointDistribution
from vae4counts.models.joint.model import JointModel
from vae4counts.models.likelihoods import Likelihood, NegativeBinomial
from vae4counts.models.numerics import column_means


class Independent(JointModel):
    r"""Features that tell nothing of each other, :math:`p(x) = \prod_j p(x_j)`.

    Args:
        n_features: Number ``G`` of features.
        likelihood: The distribution of each count. `NegativeBinomial` if None.

    Raises:
        ValueError: The likelihood is one of counts given their total.
    """

    def __init__(self, n_features: int, likelihood: Likelihood | None = None) -> None:
        super().__init__()
        self.n_features = n_features
        self.likelihood = leaf_likelihood(likelihood, n_features)
        self.lumped_from = self.likelihood.lumped_from
        self.numbers_per_draw = self.likelihood.outputs_per_feature * n_features
        self.outputs = nn.Parameter(torch.zeros(self.numbers_per_draw))

    def distribution(self) -> JointDistribution:
        """See `JointModel.distribution`."""
        return self.likelihood(self.outputs, None)

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start at the mean counts."""
        self.outputs.copy_(self.likelihood.initial_outputs(positive_means(batch)))


def leaf_likelihood(likelihood: Likelihood | None, n_features: int) -> Likelihood:
    """Return a likelihood for the leaves of a joint distribution; negative binomial if None.

    Raises:
        ValueError: It is one of counts given their total, or of other values.
    """
    likelihood = NegativeBinomial() if likelihood is None else likelihood
    if not likelihood.support.counts:
        raise ValueError(f"{type(likelihood).__name__} is no likelihood of counts")
    if likelihood.library_is_total:
        raise ValueError(
            f"{type(likelihood).__name__} models counts given their total, which depend on each "
            "other: give a likelihood of independent counts"
        )
    likelihood.build(n_features)
    return likelihood


def positive_means(batch: Batch) -> Tensor:
    """Return the mean of each count, one in all observations at least, shape ``(G,)``."""
    return column_means(batch.counts).clamp_min(1 / len(batch))
