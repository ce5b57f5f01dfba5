"""Latent trees: a tree of hidden states, on which the counts depend."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from scipy.cluster.hierarchy import average
from scipy.spatial.distance import squareform
from torch import nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.joint.cooccurrence import CoOccurrence, maximum_spanning_tree
from vae4counts.models.joint.independent import leaf_likelihood, positive_means
from vae4counts.models.joint.tree import TreeDistribution, rooted
from vae4counts.models.joint.tree_model import TreeModel
from vae4counts.models.likelihoods import Likelihood

# How much likelier than any other a hidden state is to be passed on, to start with, in nats.
INERTIA = 2.0
# Standard deviation of what the leaves of a feature differ by, to start with, in nats.
SPREAD = 1.0


class LatentTree(TreeModel):
    r"""A tree of hidden nodes of ``H`` states each, on which the counts depend.

    .. math:: p(x) = \sum_h p(h_{root}) \prod_n p(h_n | h_{parent(n)}) \prod_g p(x_g | h_{n(g)})

    The structure is learnt from the mutual information of the presence of all pairs of features,
    in one pass; all else by gradients.

    - "chow-liu": the hidden Chow-Liu tree (Liu & Van den Broeck 2021). Each feature has a hidden
      node, and these are linked as the features are in their Chow-Liu tree.
    - "binary": the binary latent tree BIN-A (Harmeling & Williams 2011). Features are joined two
      by two, then groups of them, by average linkage; each join is a hidden node.

    Args:
        n_features: Number ``G`` of features, 2 or more.
        n_states: Number ``H`` of states of each hidden node.
        likelihood: The leaves' distribution. `NegativeBinomial` if None.
        structure: "chow-liu" or "binary".

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
            known = " or ".join(map(repr, STRUCTURES))
            raise ValueError(f"structure is {structure!r}: it must be {known}")
        self.n_features, self.n_states, self.structure = n_features, n_states, structure
        self.likelihood = leaf_likelihood(likelihood, n_features)
        self.lumped_from = self.likelihood.lumped_from
        self.numbers_per_draw = n_states * n_features
        n_outputs = self.likelihood.outputs_per_feature * n_features
        parents, nodes = STRUCTURES[structure](1.0 - np.eye(n_features))
        self.register_buffer("parents", torch.as_tensor(parents))
        self.register_buffer("nodes", torch.as_tensor(nodes))
        self.root_logits = nn.Parameter(torch.zeros(n_states))
        self.transition_logits = nn.Parameter(
            torch.randn(len(parents), n_states, n_states) * 0.5 + INERTIA * torch.eye(n_states)
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
        seen = CoOccurrence(self.n_features, n_states=2)
        for batch in batches:
            seen.add(batch.counts)
        parents, nodes = STRUCTURES[self.structure](seen.mutual_information())
        self.parents.copy_(torch.as_tensor(parents))
        self.nodes.copy_(torch.as_tensor(nodes))

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start the leaves around the mean counts."""
        mean = positive_means(batch)
        self.outputs.add_(self.likelihood.initial_outputs(mean))


def chow_liu_structure(information: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the parent of each hidden node and the node of each feature: a node a feature.

    Args:
        information: The mutual information of all pairs of features, shape ``(G, G)``.
    """
    n = len(information)
    return rooted(n, maximum_spanning_tree(information)), np.arange(n)


def binary_structure(information: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the parent of each hidden node and the node of each feature: a node a join of two.

    Args:
        information: The mutual information of all pairs of features, shape ``(G, G)``.
    """
    n = len(information)
    distance = information.max() - information
    np.fill_diagonal(distance, 0)
    joined = average(squareform((distance + distance.T) / 2, checks=False))[:, :2].astype(np.int64)
    above = np.full(2 * n - 1, -1)
    above[joined] = np.arange(n - 1)[:, None]
    return above[n:], above[:n]


STRUCTURES = {"chow-liu": chow_liu_structure, "binary": binary_structure}
