"""Sum-product networks over learnt or random regions of features."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.feature_tree import FeatureTree
from vae4counts.models.joint.cooccurrence import CoOccurrence
from vae4counts.models.joint.independent import leaf_likelihood, positive_means
from vae4counts.models.joint.layers import Layers
from vae4counts.models.joint.leaf_distribution import LeafDistribution
from vae4counts.models.joint.leaves import Places
from vae4counts.models.joint.model import JointModel
from vae4counts.models.joint.regions import learnt_order, n_positions, random_order
from vae4counts.models.likelihoods import CountDistribution, Likelihood

REGIONS = ("learnt", "random")
# Counts of 0, of 1, and of more than 1 are told apart to learn regions.
STATES = 3
# Added to how often each pair of these occurs.
PSEUDO_COUNT = 0.5
# Of the logarithms of the mean counts that the states of a feature start at.
INITIAL_SPREAD = 1.0


class Circuit(JointModel):
    r"""A sum-product network: sums and products of distributions of single counts.

    A binary tree cuts the features in two, and again, down to pairs: its nodes are the *regions*.
    Each region has ``K`` distributions of its counts. One of a larger region is the product of a
    mixture of those of either part, and one of a single feature a member of the likelihood's
    family:

    .. math:: p(x_{region} \mid k) = \prod_{part} \sum_j w^{part}_{jk}\, p(x_{part} \mid j), \qquad
              p(x) = \sum_{r, k} \pi_{rk}\, p_r(x \mid k)

    for several trees ``r`` over all features. Marginals and conditionals are exact. Random trees
    make it a RAT-SPN (Peharz et al. 2019), evaluated in logarithms by matrix products as an Einsum
    network (Peharz et al. 2020) with the low-rank layers of Mari et al. (2023). Learnt trees match
    features with much mutual information first, so that they share a region early.

    It learns best at a learning rate of 0.1.

    Args:
        n_features: Number ``G`` of features.
        likelihood: The distribution of a count in a state. `NegativeBinomial` if None.
        n_sums: Number ``K`` of distributions of each region.
        n_trees: Number of trees. Learnt ones differ, as the mutual information is perturbed.
        regions: "learnt" or "random".

    Raises:
        ValueError: A number is below 1, regions are neither, or the likelihood is one of counts
            given their total.
    """

    order: Tensor

    def __init__(
        self,
        n_features: int,
        likelihood: Likelihood | None = None,
        n_sums: int = 16,
        n_trees: int = 2,
        regions: str = "learnt",
    ) -> None:
        super().__init__()
        for name, number in (("n_sums", n_sums), ("n_trees", n_trees)):
            if number < 1:
                raise ValueError(f"{name} is {number}: it must be 1 or more")
        if regions not in REGIONS:
            raise ValueError(f"regions is {regions!r}: it must be one of {', '.join(REGIONS)}")
        self.n_features, self.n_sums, self.n_trees = n_features, n_sums, n_trees
        self.regions = regions
        self.likelihood = leaf_likelihood(likelihood, n_features)
        self.lumped_from = self.likelihood.lumped_from
        n_outputs = self.likelihood.outputs_per_feature * n_features
        self.numbers_per_draw = n_trees * n_sums * max(n_outputs, n_positions(n_features))
        self.outputs = nn.Parameter(torch.randn(n_trees * n_sums, n_outputs))
        sizes = [n_positions(n_features) // 2]
        while sizes[-1] > 1:
            sizes.append(sizes[-1] // 2)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(n_trees * size, n_sums, n_sums)) for size in sizes[:-1]
        )
        self.root = nn.Parameter(torch.zeros(n_trees, n_sums))
        orders = [random_order(n_features) for _ in range(n_trees)]
        self.register_buffer("order", torch.stack(orders))

    def distribution(self) -> CircuitCounts:
        """See `JointModel.distribution`."""
        layers = Layers(
            [weights.softmax(1) for weights in self.weights],
            self.root.flatten().log_softmax(0).view_as(self.root),
        )
        return CircuitCounts(self.likelihood(self.outputs, None), layers, self.order)

    @torch.no_grad()
    def learn(self, batches: Iterable[Batch]) -> None:
        """Learn the regions. See `Model.learn`."""
        if self.regions == "random":
            return
        seen = CoOccurrence(self.n_features, STATES)
        for batch in batches:
            seen.add(batch.counts)
        information = torch.as_tensor(seen.mutual_information(PSEUDO_COUNT)).fill_diagonal_(0)
        orders = [learnt_order(information) for _ in range(self.n_trees)]
        self.order.copy_(torch.stack(orders))

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start the states of each feature around its mean count."""
        mean = positive_means(batch)
        for row in self.outputs:
            spread = (INITIAL_SPREAD * torch.randn_like(mean)).exp()
            row.copy_(self.likelihood.initial_outputs(mean * spread))

    @torch.no_grad()
    def feature_tree(self) -> FeatureTree:
        """Return the regions of the tree of largest weight. See `Model.feature_tree`.

        A feature is at the node of its pair, and a link says how much the states of a region and of
        one of its parts tell of each other.
        """
        tree = int(self.root.logsumexp(-1).argmax())
        counts = self.distribution()
        sizes = [len(weights) // self.n_trees for weights in self.weights] + [1]
        starts = np.cumsum([0, *sizes])
        parents = np.concatenate(
            [start + np.arange(n) // 2 for start, n in zip(starts[1:], sizes, strict=True)]
        )
        parents[-1] = -1
        information = [each.cpu().numpy() for each in counts.layers.information(tree)]
        pairs = counts.pairs[tree].cpu().numpy()
        # regions of empty positions alone are left out
        kept = np.isin(np.arange(len(parents)), pairs)
        for node, parent in enumerate(parents[:-1]):
            kept[parent] |= kept[node]
        number = np.append(np.cumsum(kept) - 1, -1)  # that of the root's parent is -1
        return FeatureTree(
            number[parents[kept]], number[pairs], np.concatenate([*information, [0.0]])[kept]
        )


class CircuitCounts(LeafDistribution):
    """The counts of a `Circuit`.

    Args:
        leaves: Independent counts in each of ``R * K`` states, tree by tree.
        layers: The sums and products over the regions of ``R`` trees.
        order: The feature at each position of each tree, ``G`` or more where there is none; shape
            ``(R, N)``.
        validate_args: See `LeafDistribution`.
    """

    def __init__(
        self,
        leaves: CountDistribution,
        layers: Layers,
        order: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        n_trees, n = order.shape
        first_pairs = torch.arange(n_trees, device=order.device).unsqueeze(-1) * (n // 2)
        self.layers = layers
        self.pairs = torch.argsort(order)[:, : leaves.event_shape[0]] // 2
        places = Places(first_pairs + self.pairs, layers.n_pairs)
        super().__init__(leaves, places, validate_args)

    def log_evidence(self, log_nodes: Tensor) -> Tensor:
        """See `LeafDistribution.log_evidence`."""
        return self.layers.log_evidence(self.layers.upward(log_nodes)[-1])

    def draw_states(self, log_nodes: Tensor) -> Tensor:
        """See `LeafDistribution.draw_states`."""
        tree, states = self.layers.downward(self.layers.upward(log_nodes))
        n_sums = self.layers.log_root.shape[-1]
        return n_sums * tree.unsqueeze(-1) + states.gather(-1, self.pairs[tree])
