"""The base class of models whose counts depend on a tree of states."""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from vae4counts.models.feature_tree import FeatureTree
from vae4counts.models.joint.model import JointModel
from vae4counts.models.joint.tree import Levels, TreeDistribution


class TreeModel(JointModel, abc.ABC):
    """Counts that depend on a tree, which is found by `learn`.

    Attributes:
        parents: The parent of each node, -1 for the root, shape ``(N,)``.
        nodes: The node whose state each feature depends on, shape ``(G,)``.
    """

    parents: Tensor
    nodes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._known: tuple[Tensor, Tensor, Levels] | None = None

    @abc.abstractmethod
    def distribution(self) -> TreeDistribution:
        """See `JointModel.distribution`."""

    @property
    def levels(self) -> Levels:
        """The tree by levels, worked out anew only when it has changed."""
        known, device = self._known, self.parents.device
        if (
            known is None
            or known[0].device != device
            or not (torch.equal(known[0], self.parents) and torch.equal(known[1], self.nodes))
        ):
            levels = Levels.of(self.parents, self.nodes)
            known = self._known = self.parents.clone(), self.nodes.clone(), levels
        return known[2]

    @torch.no_grad()
    def feature_tree(self) -> FeatureTree:
        """See `Model.feature_tree`."""
        information = self.distribution().information().cpu().numpy()
        return FeatureTree(self.parents.cpu().numpy(), self.nodes.cpu().numpy(), information)
