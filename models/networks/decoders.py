"""Decoders: from latents to a likelihood's outputs."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae4counts.models.config import Configured
from vae4counts.models.networks.mlp import MLP, check_layers


class Decoder(Configured, nn.Module, abc.ABC):
    """A map from latents to a likelihood's outputs: hidden layers, then a linear output layer.

    Covariates enter beside the latents, and beside the hidden units: the output layer has an
    offset for each of them, so that what differs between batches need not pass through the units.
    """

    def build(self, n_latent: int, n_outputs: int, n_covariates: int = 0) -> None:
        """Make the layers. Called once, by the model.

        Args:
            n_latent: Number ``L`` of latents.
            n_outputs: Number of outputs.
            n_covariates: Number ``C`` of columns of the covariates' design.

        Raises:
            ValueError: The decoder is part of another model.
        """
        self.claim()
        self.n_latent, self.n_covariates = n_latent, n_covariates
        self.n_hidden = self._build_hidden(n_latent + n_covariates)
        self.output = nn.Linear(self.n_hidden + n_covariates, n_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map latents and covariates ``(*batch, L + C)`` to outputs ``(*batch, n_outputs)``."""
        hidden = self.hidden_units(inputs)
        if self.n_covariates:
            hidden = torch.cat([hidden, inputs[..., self.n_latent :]], -1)
        return self.output(hidden)

    def loadings(self) -> Tensor | None:
        """Return the change of the outputs per unit of each latent, ``(n_outputs, L)``.

        None for a decoder that is not linear.
        """
        return None

    def flip(self, signs: Tensor) -> None:
        """Multiply the latents by signs, shape ``(L,)``; only for a decoder with `loadings`."""

    @abc.abstractmethod
    def _build_hidden(self, n_inputs: int) -> int:
        """Make the layers before the output layer and return their width."""

    @abc.abstractmethod
    def hidden_units(self, inputs: Tensor) -> Tensor:
        """Return the inputs of the output layer, covariates left out, ``(*batch, n_hidden)``."""


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

    def _build_hidden(self, n_inputs: int) -> int:
        first = nn.Linear(n_inputs, self.hidden[0])
        self.layers = MLP(first, self.hidden, self.norm, self.activation, self.dropout)
        return self.hidden[-1]

    def hidden_units(self, inputs: Tensor) -> Tensor:
        """See `Decoder.hidden_units`."""
        rows = inputs.reshape(-1, inputs.shape[-1])  # batch normalisation needs a matrix
        return self.layers(rows).view(*inputs.shape[:-1], -1)


class LinearDecoder(Decoder):
    """A linear map, whose weights are the loadings of the latents (Svensson et al. 2020).

    The loading ``W_jl`` is the change of feature ``j``'s log-rate per unit of latent ``l``, in a
    model with a library size up to a constant that all features share.
    """

    def loadings(self) -> Tensor:
        """See `Decoder.loadings`: the weights of the latents."""
        return self.output.weight[:, : self.n_latent]

    def flip(self, signs: Tensor) -> None:
        """See `Decoder.flip`."""
        self.loadings().mul_(signs)

    def _build_hidden(self, n_inputs: int) -> int:
        return n_inputs - self.n_covariates

    def hidden_units(self, inputs: Tensor) -> Tensor:
        """See `Decoder.hidden_units`: the latents."""
        return inputs[..., : self.n_latent]


DECODERS: dict[str, type[Decoder]] = {"mlp": MLPDecoder, "linear": LinearDecoder}
