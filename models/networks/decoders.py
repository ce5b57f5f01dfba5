"""Decoders: from latents to a likelihood's outputs."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from vae4counts.models.config import Configured
from vae4counts.models.networks.mlp import MLP, check_layers
from vae4counts.models.networks.parts import nonnegative_parts

# Below this a topic's part is not told from none, and its logarithm is finite.
SMALLEST_PART = 1e-30
# The latent of a topic that has all of an observation, those of the others being 0.
PURE_LATENT = 50.0


class Decoder(Configured, nn.Module, abc.ABC):
    """A map from latents to a likelihood's outputs: hidden layers, then a linear output layer.

    Covariates enter beside the latents, and beside the hidden units: the output layer has an
    offset for each of them, so that what differs between batches need not pass through the units.

    Attributes:
        needs_counts: Whether it makes sense for a likelihood of counts alone.
    """

    needs_counts: bool = False

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

    def start(self, values: Tensor, outputs_of: Callable[[Tensor], Tensor]) -> None:
        """Start the weights from data, with a bias that gives the means. Does nothing by default.

        Args:
            values: Values of training observations in random order, CSR or dense, ``(B, G)``.
            outputs_of: From means, shape ``(G,)``, to the outputs that give them.
        """

    def loadings(self) -> Tensor | None:
        """Return the change of the outputs per unit of each latent, ``(n_outputs, L)``.

        None for a decoder that is not linear.
        """
        return None

    def flip(self, signs: Tensor) -> None:
        """Multiply the latents by signs, shape ``(L,)``; only for a decoder with `loadings`."""

    @property
    def first_layer(self) -> nn.Linear | None:
        """The linear layer that reads the latents; None if anything else is done to them."""
        return None

    @property
    def turns(self) -> bool:
        """Whether `turn` can express the latents in other axes: not by a frozen layer."""
        return self.first_layer is not None and self.first_layer.weight.requires_grad

    @torch.no_grad()
    def turn(self, axes: Tensor) -> None:
        """Express the latents ``z`` in other axes, as ``z @ axes``; the outputs stay as they are.

        Args:
            axes: An orthogonal matrix, shape ``(L, L)``; only for a decoder that `turns`.
        """
        if self.first_layer is None:
            raise NotImplementedError(f"{type(self).__name__} cannot turn the latents")
        weight = self.first_layer.weight[:, : self.n_latent]
        weight.copy_(weight @ axes)

    def pure_topics(self) -> Tensor | None:
        """Return the latents of one topic alone, shape ``(K, L)``; None without topics."""
        return None

    def topic_shares(self, z: Tensor, n_features: int) -> Tensor:
        """Return the share of each topic in the expected counts; only with `pure_topics`.

        Args:
            z: Latents, shape ``(*batch, L)``.
            n_features: How many of the outputs, the first ones, are log-rates.

        Returns:
            Shape ``(*batch, K)``, adding up to 1.
        """
        raise NotImplementedError(f"{type(self).__name__} has no topics")

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

    @property
    def first_layer(self) -> nn.Linear:
        """See `Decoder.first_layer`."""
        return cast(nn.Linear, self.layers[0])

    def hidden_units(self, inputs: Tensor) -> Tensor:
        """See `Decoder.hidden_units`."""
        rows = inputs.reshape(-1, inputs.shape[-1])  # batch normalisation needs a matrix
        return self.layers(rows).view(*inputs.shape[:-1], self.n_hidden)


class LinearDecoder(Decoder):
    """A linear map, whose weights are the loadings of the latents (Svensson et al. 2020).

    The loading ``W_jl`` is the change of feature ``j``'s log-rate per unit of latent ``l``, in a
    model with a library size up to a constant that all features share.
    """

    def loadings(self) -> Tensor:
        """See `Decoder.loadings`: the weights of the latents."""
        return self.output.weight[:, : self.n_latent]

    @property
    def first_layer(self) -> nn.Linear:
        """See `Decoder.first_layer`: the only one."""
        return self.output

    def flip(self, signs: Tensor) -> None:
        """See `Decoder.flip`."""
        self.loadings().mul_(signs)

    def _build_hidden(self, n_inputs: int) -> int:
        return n_inputs - self.n_covariates

    def hidden_units(self, inputs: Tensor) -> Tensor:
        """See `Decoder.hidden_units`: the latents."""
        return inputs[..., : self.n_latent]


class TopicDecoder(Decoder):
    r"""A mixture of topics, each a distribution over the features (Blei et al. 2003).

    .. math:: \exp(\mathrm{outputs}_j) = \sum_k \theta_k e^{w_{jk} + b_j},
              \qquad \theta = \mathrm{softmax}(z)

    Parts that add up, none of them negative. A topic's distribution over the features is
    proportional to :math:`e^{w_{jk} + b_j}`; its sum over the features, the size of the topic, says
    how large its share of the expected counts is where all :math:`\theta_k` are equal. Covariates
    have offsets that multiply the expected counts.

    Topics start at `nonnegative_parts` of the training observations: from random ones, several of
    them become alike.
    """

    needs_counts = True

    def forward(self, inputs: Tensor) -> Tensor:
        """See `Decoder.forward`."""
        z, design = inputs[..., : self.n_latent], inputs[..., self.n_latent :]
        topics = self._log_topics()
        largest = topics.detach().max()
        mixed = z.softmax(-1) @ (topics - largest).exp()
        outputs = mixed.clamp_min(SMALLEST_PART).log() + largest
        if self.n_covariates:
            outputs = outputs + design @ self.output.weight[:, self.n_latent :].T
        return outputs

    @torch.no_grad()
    def start(self, values: Tensor, outputs_of: Callable[[Tensor], Tensor]) -> None:
        """See `Decoder.start`: at parts of the observations."""
        parts = nonnegative_parts(values, self.n_latent).to(self.output.bias)
        for weight, part in zip(self.output.weight.T, parts, strict=False):  # covariates come after
            weight.copy_(outputs_of(part) - self.output.bias)

    def pure_topics(self) -> Tensor:
        """See `Decoder.pure_topics`."""
        weight = self.output.weight
        return PURE_LATENT * torch.eye(self.n_latent, dtype=weight.dtype, device=weight.device)

    def topic_shares(self, z: Tensor, n_features: int) -> Tensor:
        """See `Decoder.topic_shares`: softmax of ``z`` and the logarithms of the topics' sizes."""
        return (z + self._log_topics()[:, :n_features].logsumexp(-1)).softmax(-1)

    def _log_topics(self) -> Tensor:
        """The outputs of each topic alone, ``(K, n_outputs)``."""
        return self.output.weight[:, : self.n_latent].T + self.output.bias

    def _build_hidden(self, n_inputs: int) -> int:
        return n_inputs - self.n_covariates

    def hidden_units(self, inputs: Tensor) -> Tensor:
        """See `Decoder.hidden_units`: the shares of topics of equal size."""
        return inputs[..., : self.n_latent].softmax(-1)


DECODERS: dict[str, type[Decoder]] = {
    "mlp": MLPDecoder,
    "linear": LinearDecoder,
    "topics": TopicDecoder,
}
