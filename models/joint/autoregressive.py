"""Autoregressive models: each count given those before it, averaged over several orders."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vae4counts.data.counts.batch import Batch
from vae4counts.models.joint.distribution import NO_SHAPE, OneForAll, dense_counts
from vae4counts.models.joint.each_state import leave_one_out_by_trying
from vae4counts.models.joint.independent import leaf_likelihood, positive_means
from vae4counts.models.joint.masked_network import MaskedNetwork, OrderedNetwork
from vae4counts.models.joint.model import JointModel
from vae4counts.models.likelihoods import CountDistribution, Likelihood
from vae4counts.models.likelihoods.distribution import Shape
from vae4counts.models.networks.mlp import check_widths


class Autoregressive(JointModel):
    r"""A masked autoencoder (MADE, Germain et al. 2015), a mixture over orders of the features.

    .. math:: p(x) = \frac{1}{M} \sum_\sigma \prod_j
              \mathrm{likelihood}(x_{\sigma_j} \mid \mathrm{network}_\sigma(x_{\sigma_{<j}}))

    for ``M`` orders drawn at random, which share the weights of one network. Its inputs are
    ``log(1 + x)``. A training step takes one of the orders: its objective is a bound of the
    mixture's log-probability.

    It learns best at a learning rate of 0.005.

    Args:
        n_features: Number ``G`` of features.
        likelihood: The distribution of a count given those before it. `NegativeBinomial` if None.
        hidden: Sizes of the hidden layers.
        n_orders: Number ``M`` of orders.
        dropout: Share of hidden units that are dropped in training; more for fewer observations.

    Raises:
        ValueError: There is no order, a hidden layer has no unit or there is none, or the
            likelihood is one of counts given their total.
    """

    def __init__(
        self,
        n_features: int,
        likelihood: Likelihood | None = None,
        hidden: Sequence[int] = (500,),
        n_orders: int = 16,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if n_orders < 1:
            raise ValueError(f"n_orders is {n_orders}: it must be 1 or more")
        check_widths(hidden)
        self.n_features, self.hidden = n_features, tuple(hidden)
        self.n_orders, self.dropout = n_orders, dropout
        self.likelihood = leaf_likelihood(likelihood, n_features)
        self.lumped_from = self.likelihood.lumped_from
        n_outputs = self.likelihood.outputs_per_feature
        self.numbers_per_draw = n_outputs * n_features + sum(hidden)
        self.network = MaskedNetwork(n_features, n_outputs, hidden, n_orders, dropout)

    def distribution(self) -> AutoregressiveCounts:
        """See `JointModel.distribution`: in training, that of one of the orders."""
        n = self.n_orders
        orders = [int(torch.randint(n, ()))] if self.training else range(n)
        return AutoregressiveCounts([self.network.in_order(i) for i in orders], self.likelihood)

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start at independent counts of the mean counts, as far as outputs are small."""
        mean = positive_means(batch)
        self.network.bias.copy_(self.likelihood.initial_outputs(mean))


class AutoregressiveCounts(OneForAll):
    """The counts of an `Autoregressive` model.

    Args:
        networks: A network for each order.
        likelihood: From the outputs of a network to the distribution of each count.
        validate_args: Whether to check that values are counts. Pyro's own switch if None.
    """

    def __init__(
        self,
        networks: Sequence[OrderedNetwork],
        likelihood: Likelihood,
        validate_args: bool | None = None,
    ) -> None:
        self.networks, self.likelihood = networks, likelihood
        super().__init__(NO_SHAPE, networks[0].order.shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """See `JointDistribution.log_prob`."""
        rows = value if value.dim() == 2 else value.reshape(-1, value.shape[-1])
        inputs = torch.log1p(rows)
        by_order = torch.stack(
            [self._counts(network(inputs)).log_prob(rows) for network in self.networks]
        )
        found = by_order.logsumexp(0) - math.log(len(self.networks))
        found = found.reshape(value.shape[:-1])
        return self._over_batch(found)

    def leave_one_out(self, values: Tensor) -> Tensor:
        """See `JointDistribution.leave_one_out`: by trying every class of every count.

        Raises:
            NotInModelError: The likelihood has infinitely many classes.
        """
        last = self.likelihood.lumped_from
        if last is None:
            raise self._cannot("conditionals, unless the likelihood has few classes")
        found = leave_one_out_by_trying(self.log_prob, dense_counts(values), last + 1)
        return self._over_batch(found, 1)

    @torch.no_grad()
    def sample(self, sample_shape: Shape = NO_SHAPE) -> Tensor:
        """Draw dense counts of shape ``(*sample_shape, *batch_shape, G)``."""
        shape = self._extended_shape(sample_shape)
        drawn = self.networks[0].bias.new_zeros(shape[:-1].numel(), shape[-1])
        chosen = torch.randint(len(self.networks), (len(drawn),), device=drawn.device)
        for number in chosen.unique().tolist():
            rows = (chosen == number).nonzero().squeeze(-1)
            drawn[rows] = self._draw_in_order(self.networks[number], len(rows))
        return drawn.reshape(shape)

    def _draw_in_order(self, network: OrderedNetwork, n: int) -> Tensor:
        """Draw ``n`` rows of counts, one feature after the other."""
        n_features, n_outputs = self.event_shape[0], self.likelihood.outputs_per_feature
        counts = network.bias.new_zeros(n, n_features)
        inputs, outputs = torch.zeros_like(counts), counts.new_zeros(n, n_outputs, n_features)
        for feature in network.order.tolist():
            outputs[..., feature] = network(inputs, feature)
            drawn = _of_feature(self._counts(outputs.flatten(1)), feature).sample().squeeze(-1)
            counts[:, feature] = drawn
            inputs[:, feature] = drawn.log1p()
        return counts

    def _counts(self, outputs: Tensor) -> CountDistribution:
        return self.likelihood(outputs, None)


def _of_feature(counts: CountDistribution, feature: int) -> CountDistribution:
    """Return the distribution of one feature's counts, of event shape ``(1,)``."""
    chosen = copy.copy(counts)
    columns = slice(feature, feature + 1)
    chosen.parameters = [p if p.shape[-1] == 1 else p[..., columns] for p in counts.parameters]
    chosen._event_shape = torch.Size((1,))
    return chosen
