"""A layer of a discrete flow: states permuted modulo ``K``, each as those before it tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from vae4counts.models.joint.masked_network import MaskedNetwork


def affine_maps(n_states: int) -> Tensor:
    r"""Return all maps :math:`s \mapsto (\mu + \sigma s) \bmod K` that have an inverse.

    These are the ones whose ``sigma`` has no divisor in common with ``K``. The first is the
    identity. Of 2 or 3 states they are all permutations; shifts alone would be half of those of 3.

    Args:
        n_states: Number ``K`` of states.

    Returns:
        Permutation matrices, shape ``(A, K, K)``: 1 at ``[a, s, t]`` if map ``a`` takes ``s`` to
        ``t``.
    """
    states = torch.arange(n_states)
    units = [scale for scale in range(1, n_states + 1) if math.gcd(scale, n_states) == 1]
    images = [(shift + scale * states) % n_states for scale in units for shift in range(n_states)]
    return one_hot(torch.stack(images), n_states).float()


class ModularLayer(nn.Module):
    r"""One layer of a discrete flow (Tran et al. 2019), in an order of the features.

    .. math:: y_j = (\mu_j + \sigma_j s_j) \bmod K, \qquad
              (\mu_j, \sigma_j) = \arg\max \mathrm{network}(s_{<j})_j

    A permutation of the states changes no volume: there is no Jacobian. States are one-hot, so
    that in training gradients pass straight through: the derivative of the choice is taken for
    that of ``softmax(outputs / temperature)``.

    Args:
        n_features: Number ``G`` of features.
        n_states: Number ``K`` of states.
        hidden: Sizes of the hidden layers of the network.
        dropout: Share of hidden units that are dropped in training.
        temperature: The temperature; the smaller, the closer to the choice and the fewer features
            have a gradient.
    """

    maps: Tensor
    levels: Tensor

    def __init__(
        self,
        n_features: int,
        n_states: int,
        hidden: Sequence[int],
        dropout: float,
        temperature: float,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.register_buffer("maps", affine_maps(n_states), persistent=False)
        self.register_buffer("levels", torch.arange(float(n_states)), persistent=False)
        self.network = MaskedNetwork(n_features, len(self.maps), hidden, 1, dropout)
        nn.init.ones_(self.network.bias[:n_features])  # start near the identity
        self.numbers_per_row = n_features * (len(self.maps) + n_states**2) + sum(hidden)

    def forward(self, states: Tensor) -> Tensor:
        """Map states, one-hot, shape ``(B, G, K)``, all features at once."""
        outputs = self.network.in_order(0)(states @ self.levels)
        outputs = outputs.unflatten(-1, (len(self.maps), -1)).transpose(-2, -1)
        moved = torch.einsum("bga,akl->bgkl", self._choose(outputs), self.maps)
        return torch.einsum("bgk,bgkl->bgl", states, moved)

    @torch.no_grad()
    def inverse(self, states: Tensor) -> Tensor:
        """Map states back, one-hot, shape ``(B, G, K)``, one feature after the other."""
        network, found = self.network.in_order(0), torch.zeros_like(states)
        for feature in network.order.tolist():
            chosen = self._choose(network(found @ self.levels, feature))
            moved = torch.einsum("ba,akl->bkl", chosen, self.maps)
            found[:, feature] = torch.einsum("bl,bkl->bk", states[:, feature], moved)
        return found

    def _choose(self, outputs: Tensor) -> Tensor:
        """Return the largest output as one-hot, of the last axis."""
        chosen = one_hot(outputs.argmax(-1), outputs.shape[-1]).to(outputs.dtype)
        if not self.training:
            return chosen
        shares = (outputs / self.temperature).softmax(-1)
        return chosen + shares - shares.detach()
