"""Discrete flows: independent states, made dependent by permutations that networks choose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from vae4counts.data.counts.batch import Batch
from vae4counts.models.joint.distribution import NO_SHAPE, OneForAll, dense_counts
from vae4counts.models.joint.each_state import leave_one_out_by_trying
from vae4counts.models.joint.log_probs import log_probs
from vae4counts.models.joint.model import JointModel
from vae4counts.models.joint.modular_layer import ModularLayer
from vae4counts.models.joint.tail import Tail, check_states
from vae4counts.models.likelihoods.distribution import CountDistribution, Shape
from vae4counts.models.likelihoods.negative_binomial import NegativeBinomialCounts
from vae4counts.models.networks.mlp import check_widths

# Weights grow with the square of the number of features, and so does what `leave_one_out` costs.
MAX_FEATURES = 100
# Of the log-probabilities that training starts at: where states are equally likely, no permutation
# is better than another, and networks would have no gradient.
ASYMMETRY = 0.1


class DiscreteFlow(JointModel):
    r"""A discrete flow of counts cut to few states (Tran et al. 2019), for up to 100 features.

    Counts are cut to ``K`` states ``s``: 0, 1, ... and "K-1 or more"; what is beyond ``K-1``
    follows a tail of its own. Layers permute the states of an observation until they are
    independent. A permutation changes no volume, so that

    .. math:: p(x) = \prod_j p_j(f(s)_j) \prod_j p(x_j | s_j), \qquad
              f = f_L \circ \cdots \circ f_1

    exactly. Each of the ``L`` layers is autoregressive, in an order of its own drawn at random; see
    `ModularLayer`.

    What a layer can do is to move a feature's likely states, given others, to where they are likely
    given nothing. It gains only where others change which state is the likeliest: in sparse counts,
    where that is nearly always 0, it learns much less than a tree does. It is strong where features
    determine each other, as parities do.

    Args:
        n_features: Number ``G`` of features, up to 100.
        n_states: Number ``K`` of states, 2 or more.
        tail: "negative-binomial" or "geometric"; None takes all counts from ``K-1`` on as one.
        hidden: Sizes of the hidden layers of each layer's network.
        n_layers: Number ``L`` of layers.
        dropout: Share of hidden units that are dropped in training.
        temperature: Of the gradients that pass straight through choices of permutations.

    Raises:
        ValueError: There are more than 100 features, fewer than 2 states, no layer or no hidden
            layer, the tail is unknown, or the temperature is not above 0.
    """

    def __init__(
        self,
        n_features: int,
        n_states: int = 3,
        tail: str | None = "negative-binomial",
        hidden: Sequence[int] = (100,),
        n_layers: int = 4,
        dropout: float = 0.0,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        if n_features > MAX_FEATURES:
            raise ValueError(
                f"n_features is {n_features}: a discrete flow is for {MAX_FEATURES} at most. Take "
                "the most common ones, or another model, such as LatentTree"
            )
        check_states(n_states, tail)
        if n_layers < 1:
            raise ValueError(f"n_layers is {n_layers}: it must be 1 or more")
        check_widths(hidden)
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}: it must be above 0")
        self.n_features, self.n_states, self.tail = n_features, n_states, tail
        self.hidden, self.n_layers = tuple(hidden), n_layers
        self.dropout, self.temperature = dropout, temperature
        self.lumped_from = n_states - 1 if tail is None else None
        layers = [
            ModularLayer(n_features, n_states, hidden, dropout, temperature)
            for _ in range(n_layers)
        ]
        self.layers = nn.ModuleList(layers)
        self.logits = nn.Parameter(ASYMMETRY * torch.randn(n_features, n_states))
        self.rest = nn.Parameter(torch.ones(2, n_features), requires_grad=False)
        self.numbers_per_draw = layers[0].numbers_per_row

    def distribution(self) -> DiscreteFlowCounts:
        """See `JointModel.distribution`: in training, its gradients pass straight through."""
        tail = None if self.tail is None else NegativeBinomialCounts(*self.rest)
        layers = cast(Sequence[ModularLayer], self.layers)
        return DiscreteFlowCounts(layers, self.logits.log_softmax(-1), tail)

    @torch.no_grad()
    def learn(self, batches: Iterable[Batch]) -> None:
        """Find the tail. See `Model.learn`."""
        if self.tail is None:
            return
        tail = Tail(self.n_features, self.n_states - 1)
        for batch in batches:
            tail.add(batch.counts)
        self.rest.copy_(torch.as_tensor(tail.moments(self.tail)))

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start near independent states as often as they are seen, one more time each."""
        states = dense_counts(batch.counts).clamp_max(self.n_states - 1)
        seen = torch.stack([(states == k).sum(0) for k in range(self.n_states)], dim=-1)
        self.logits.copy_((seen + 1).log() + ASYMMETRY * torch.randn_like(self.logits))


class DiscreteFlowCounts(OneForAll):
    """The counts of a `DiscreteFlow`.

    Args:
        layers: Those from the states of the counts to independent ones.
        log_base: Log-probabilities of the independent states, shape ``(G, K)``.
        tail: The distribution of what counts of the last state have beyond it; None takes them as
            one.
        validate_args: Whether to check that values are counts. Pyro's own switch if None.
    """

    def __init__(
        self,
        layers: Sequence[ModularLayer],
        log_base: Tensor,
        tail: CountDistribution | None,
        validate_args: bool | None = None,
    ) -> None:
        self.layers, self.log_base, self.tail = layers, log_base, tail
        self.n_states = log_base.shape[-1]
        super().__init__(NO_SHAPE, log_base.shape[:1], validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """See `JointDistribution.log_prob`."""
        counts = dense_counts(value)
        return self._over_batch(self._log_states(counts) + self._log_tails(counts).sum(-1))

    def leave_one_out(self, values: Tensor) -> Tensor:
        """See `JointDistribution.leave_one_out`: by trying every state of every count."""
        counts = dense_counts(values)
        found = leave_one_out_by_trying(self._log_states, counts, self.n_states)
        return self._over_batch(found + self._log_tails(counts), 1)

    @torch.no_grad()
    def sample(self, sample_shape: Shape = NO_SHAPE) -> Tensor:
        """Draw dense counts of shape ``(*sample_shape, *batch_shape, G)``."""
        shape = self._extended_shape(sample_shape)
        n = shape[:-1].numel()
        drawn = torch.distributions.Categorical(logits=self.log_base).sample((n,))
        states = self._one_hot(drawn)
        for layer in reversed(self.layers):
            states = layer.inverse(states)
        counts = states.argmax(-1).to(states.dtype)
        if self.tail is not None:
            counts += self.tail.sample((n,)) * (counts == self.n_states - 1)
        return counts.reshape(shape)

    def _log_states(self, counts: Tensor) -> Tensor:
        """Return the log-probability of the states of counts ``(*shape, G)``, shape ``shape``."""
        states = self._one_hot(counts.reshape(-1, *self.event_shape))
        for layer in self.layers:
            states = layer(states)
        return (states * self.log_base).sum((-2, -1)).reshape(counts.shape[:-1])

    def _log_tails(self, counts: Tensor) -> Tensor:
        """Return the log-probability of each count given its state, in the shape of the counts."""
        rest = counts.to(self.log_base.dtype) - (self.n_states - 1)
        if self.tail is None:
            return torch.zeros_like(rest)
        return torch.where(rest >= 0, log_probs(self.tail, rest.clamp_min(0)), 0.0)

    def _one_hot(self, counts: Tensor) -> Tensor:
        states = counts.long().clamp_max(self.n_states - 1)
        return one_hot(states, self.n_states).to(self.log_base.dtype)
