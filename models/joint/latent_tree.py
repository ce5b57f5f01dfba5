"""Latent trees: a tree of hidden states, on which the counts depend."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.joint.independent import leaf_likelihood, positive_means
from vae4counts.models.joint.tree import TreeDistribution
from vae4counts.models.joint.tree_model import TreeModel
from vae4counts.models.joint.tree_structures import STRUCTURES
from vae4counts.models.likelihoods import Likelihood

# How much likelier than any other a hidden state is to be passed on, to start with, in nats.
INERTIA = 2.0
# Standard deviation of what the leaves of a feature differ by, to start with, in nats.
SPREAD = 1.0


class LatentTree(TreeModel):
    r"""A tree of hidden nodes of ``H`` states each, on which the counts depend.

    .. math:: p(x) = \sum_h p(h_{root}) \prod_n p(h_n | h_{parent(n)}) \prod_g p(x_g | h_{n(g)})

    The structure is learnt first, from mutual information; all else by gradients. The first two
    look at the presence of all pairs of features, in one pass over the observations.

    - "chow-liu": the hidden Chow-Liu tree (Liu & Van den Broeck 2021). Each feature has a hidden
      node, and these are linked as the features are in their Chow-Liu tree.
    - "binary": the binary latent tree BIN-A (Harmeling & Williams 2011). Features are joined two
      by two, then groups of them, by average linkage; each join is a hidden node.
    - "greedy": BIN-G of the same paper. Each join fits a hidden variable to the two that it joins,
      by the EM algorithm, and the next two are those that tell most of each other, of features
      and hidden variables alike. It takes all observations in memory, ``n G H`` numbers, and a
      time of ``n (G H)^2``: for a few hundred features.

    Args:
        n_features: Number ``G`` of features, 2 or more.
        n_states: Number ``H`` of states of each hidden node.
        likelihood: The leaves' distribution. `NegativeBinomial` if None.
        structure: "chow-liu", "binary" or "greedy".

    Raises:
        ValueError: No state, an unknown structure, fewer than 2 features, or a likelihood of counts
            given their total.
    """

    def __init__(
        self,
        n_features: int,
        n_states: int = 8,
        likelihood: Likelihood | None = None,
        structure: str = "chow-liu",
    ) -> None:
        super().__init__()
        if n_states < 1 or n_features < 2:
            raise ValueError(
                f"n_states is {n_states} and n_features {n_features}: a latent tree needs 1 state "
                "and 2 features at least"
            )
        if structure not in STRUCTURES:
            known = ", ".join(STRUCTURES)
            raise ValueError(f"structure is {structure!r}: it must be one of {known}")
        self.n_features, self.n_states, self.structure = n_features, n_states, structure
        self.likelihood = leaf_likelihood(likelihood, n_features)
        self.lumped_from = self.likelihood.lumped_from
        self.numbers_per_draw = n_states * n_features
        n_outputs = self.likelihood.outputs_per_feature * n_features
        # a star until it is learnt
        n_nodes = n_features if structure == "chow-liu" else n_features - 1
        self.register_buffer("parents", torch.arange(n_nodes).clamp_max(1) - 1)
        self.register_buffer("nodes", torch.arange(n_features).clamp_max(n_nodes - 1))
        self.root_logits = nn.Parameter(torch.zeros(n_states))
        self.transition_logits = nn.Parameter(
            torch.randn(n_nodes, n_states, n_states) * 0.5 + INERTIA * torch.eye(n_states)
        )
        self.outputs = nn.Parameter(torch.randn(n_states, n_outputs) * SPREAD)

    def distribution(self) -> TreeDistribution:
        """See `JointModel.distribution`."""
        return TreeDistribution(
            self.likelihood(self.outputs, None),
            self.levels,
            self.root_logits.log_softmax(-1),
            self.transition_logits.log_softmax(-1),
        )

    @torch.no_grad()
    def learn(self, batches: Iterable[Batch]) -> None:
        """Find the structure. See `Model.learn`."""
        tables = (batch.counts for batch in batches)
        parents, nodes = STRUCTURES[self.structure](tables, self.n_features, self.n_states)
        self.parents.copy_(torch.as_tensor(parents))
        self.nodes.copy_(torch.as_tensor(nodes))

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start the leaves around the mean counts."""
        mean = positive_means(batch)
        self.outputs.add_(self.likelihood.initial_outputs(mean))
