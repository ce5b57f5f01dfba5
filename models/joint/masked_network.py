"""A masked autoencoder: a network each of whose outputs sees the inputs before it in an order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vae4counts.models.networks.sparse_linear import linear


@dataclass(frozen=True, slots=True)
class Masks:
    """Which weights of a `MaskedNetwork` an order leaves.

    Attributes:
        first: From inputs to the first hidden layer, ``(G, H)``.
        between: Between hidden layers, ``(H, H)`` each.
        last: From the last hidden layer to an output of each feature, ``(H, G)``.
    """

    first: Tensor
    between: Sequence[Tensor]
    last: Tensor


class MaskedNetwork(nn.Module):
    """A network whose outputs for a feature see only the features before it (Germain et al. 2015).

    In each of several orders of the features, every hidden unit has a degree ``d``: it sees the
    inputs at the first ``d + 1`` positions, hidden units of the same degree or a lower one, and is
    seen by the outputs at positions above ``d``. Weights are shared by the orders.

    Args:
        n_features: Number ``G`` of features.
        n_outputs: Number of outputs of each feature.
        hidden: Sizes of the hidden layers.
        n_orders: Number of orders, drawn at random. The first is that of the columns if there is
            one only.
    """

    order: Tensor
    degrees: Tensor
