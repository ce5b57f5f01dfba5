"""A masked autoencoder: a network whose outputs see only the inputs before them in an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from vae4counts.models.networks.sparse_linear import SparseLinear, sparse_product


@dataclass(frozen=True, slots=True)
class OrderedNetwork:
    """A `MaskedNetwork` in one order, its weights masked.

    Attributes:
        order: The features in their order, shape ``(G,)``.
        first: Weights and bias of the first hidden layer, ``(G, H)`` and ``(H,)``.
        between: Weights and bias of each further one.
        direct: From inputs to outputs, ``(G, O, G)``.
        last: From the last hidden layer to outputs, ``(H, O, G)``.
        bias: Of the outputs, ``(O, G)``.
        dropout: Applied to each hidden layer.
    """

    order: Tensor
    first: tuple[Tensor, Tensor]
    between: Sequence[tuple[Tensor, Tensor]]
    direct: Tensor
    last: Tensor
    bias: Tensor
    dropout: nn.Module

    def __call__(self, inputs: Tensor, feature: int | None = None) -> Tensor:
        """Return the outputs of all features, or of one.

        Args:
            inputs: CSR or dense, shape ``(B, G)``.
            feature: The position of a feature; None for all.

        Returns:
            Shape ``(B, O * G)``, or ``(B, O)`` for one feature.
        """
        weight, bias = self.first
        hidden = self.dropout(torch.relu(sparse_product(inputs, weight) + bias))
        for weight, bias in self.between:
            hidden = self.dropout(torch.relu(hidden @ weight + bias))
        chosen = slice(None) if feature is None else feature
        last, direct, bias = (w[..., chosen] for w in (self.last, self.direct, self.bias))
        return hidden @ last.flatten(1) + sparse_product(inputs, direct.flatten(1)) + bias.flatten()


class MaskedNetwork(nn.Module):
    """A network whose outputs for a feature see only the features before it (Germain et al. 2015).

    In an order, every hidden unit has a degree ``d``: it sees the inputs at positions up to ``d``
    and hidden units of degrees up to ``d``, and the outputs at positions above ``d`` see it.
    Outputs see the inputs before them also directly. Several orders share the weights.

    Args:
        n_features: Number ``G`` of features.
        n_outputs: Number ``O`` of outputs of each feature.
        hidden: Sizes of the hidden layers.
        n_orders: Number of orders, drawn at random.
        dropout: Share of hidden units that are dropped in training.
    """

    positions: Tensor
    degrees: Tensor

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        hidden: Sequence[int],
        n_orders: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.shape = n_outputs, n_features
        self.first = SparseLinear(n_features, hidden[0])
        self.first_bias = nn.Parameter(torch.zeros(hidden[0]))
        self.between = nn.ModuleList(nn.Linear(*sizes) for sizes in pairwise(hidden))
        self.last = SparseLinear(hidden[-1], n_outputs * n_features)
        self.direct = SparseLinear(n_features, n_outputs * n_features)
        nn.init.zeros_(self.direct.weight)
        self.bias = nn.Parameter(torch.zeros(n_outputs * n_features))
        self.dropout = nn.Dropout(dropout)
        positions = [torch.randperm(n_features) for _ in range(n_orders)]
        self.register_buffer("positions", torch.stack(positions))
        for i, size in enumerate(hidden):
            spread = torch.arange(size) * max(1, n_features - 1) // size
            degrees = [spread[torch.randperm(size)] for _ in range(n_orders)]
            self.register_buffer(f"degrees_{i}", torch.stack(degrees))

    @property
    def n_orders(self) -> int:
        """The number of orders."""
        return len(self.positions)

    def in_order(self, number: int) -> OrderedNetwork:
        """Return the network in one of its orders."""
        n = 1 + len(self.between)
        position = self.positions[number]
        degrees = [self.get_buffer(f"degrees_{i}")[number] for i in range(n)]
        between = []
        for layer, (below, above) in zip(self.between, pairwise(degrees), strict=True):
            linear = cast(nn.Linear, layer)
            between.append((linear.weight.t() * (below.unsqueeze(-1) <= above), linear.bias))
        return OrderedNetwork(
            order=torch.argsort(position),
            first=(self.first.weight * (position.unsqueeze(-1) <= degrees[0]), self.first_bias),
            between=between,
            direct=self._outputs(self.direct, position.unsqueeze(-1) < position),
            last=self._outputs(self.last, degrees[-1].unsqueeze(-1) < position),
            bias=self.bias.unflatten(-1, self.shape),
            dropout=self.dropout,
        )

    def _outputs(self, layer: SparseLinear, mask: Tensor) -> Tensor:
        return layer.weight.unflatten(-1, self.shape) * mask.unsqueeze(1)
