"""Decoders: from latents to a likelihood's outputs."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from torch import Tensor, nn

from vae4counts.models.config import Configured
from vae4counts.models.networks.mlp import MLP, check_layers


class Decoder(Configured, nn.Module, abc.ABC):
    """A map from latents to a likelihood's outputs: hidden layers, then a linear output layer."""

    def build(self, n_latent: int, n_outputs: int) -> None:
        """Make the layers. Called once, by the model.

        Raises:
            ValueError: The decoder is part of another model.
        """
        self.claim()
        self.output = nn.Linear(self._build_hidden(n_latent), n_outputs)

    def loadings(self) -> Tensor | None:
        """Return the change of the outputs per unit of each latent, ``(n_outputs, L)``.

        None for a decoder that is not linear.
        """
        return None

    def flip(self, signs: Tensor) -> None:
        """Multiply the latents by signs, shape ``(L,)``; only for a decoder with `loadings`."""

    @abc.abstractmethod
    def _build_hidden(self, n_latent: int) -> int:
        """Make the layers before the output layer and return their width."""

    @abc.abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Map latents ``(*batch, n_latent)`` to outputs ``(*batch, n_outputs)``."""


class MLPDecoder(Decoder):
    """A multilayer perceptron.

    Args:
        hidden: Widths of the hidden layers.
        norm: One of "layer", "batch", "rms", "none".
        activation: One of "softplus", "relu", "gelu", "silu". Softplus is smooth, so that
            posteriors are close to Gaussian; by rectified units they get kinks.
        dropout: Fraction of units dropped in training.

    Raises:
        ValueError: An unknown name, or no hidden layer.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        norm: str = "batch",
        activation: str = "softplus",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_layers(hidden, norm, activation)
        self.hidden, self.norm = tuple(hidden), norm
        self.activation, self.dropout = activation, dropout

    def _build_hidden(self, n_latent: int) -> int:
        first = nn.Linear(n_latent, self.hidden[0])
        self.layers = MLP(first, self.hidden, self.norm, self.activation, self.dropout)
        return self.hidden[-1]

    def forward(self, z: Tensor) -> Tensor:
        """See `Decoder.forward`."""
        rows = z.reshape(-1, z.shape[-1])  # batch normalisation needs a matrix
        return self.output(self.layers(rows)).view(*z.shape[:-1], -1)


class LinearDecoder(Decoder):
    """A linear map, whose weights are the loadings of the latents (Svensson et al. 2020).

    The loading ``W_jl`` is the change of feature ``j``'s log-rate per unit of latent ``l``, in a
    model with a library size up to a constant that all features share.
    """

    def loadings(self) -> Tensor:
        """See `Decoder.loadings`: the weights."""
        return self.output.weight

    def flip(self, signs: Tensor) -> None:
        """See `Decoder.flip`."""
        self.output.weight.mul_(signs)

    def _build_hidden(self, n_latent: int) -> int:
        return n_latent

    def forward(self, z: Tensor) -> Tensor:
        """See `Decoder.forward`."""
        return self.output(z)


DECODERS: dict[str, type[Decoder]] = {"mlp": MLPDecoder, "linear": LinearDecoder}
