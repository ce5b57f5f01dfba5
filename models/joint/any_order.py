"""Any-order models: each count given any others, which are an input of the network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae4counts.data.counts.batch import Batch
from vae4counts.models.joint.distribution import NO_SHAPE, OneForAll, dense_counts
from vae4counts.models.joint.independent import leaf_likelihood, positive_means
from vae4counts.models.joint.log_probs import log_probs
from vae4counts.models.joint.model import JointModel
from vae4counts.models.likelihoods import CountDistribution, Likelihood
from vae4counts.models.likelihoods.distribution import Shape
from vae4counts.models.networks import MLP
from vae4counts.models.networks.mlp import check_widths


class AnyOrder(JointModel):
    r"""One network for the conditionals of all orders (Uria et al. 2014, Hoogeboom et al. 2022).

    .. math:: p(x_j | x_{known}) = \mathrm{likelihood}(x_j \mid
              \mathrm{network}(\log(1 + x) \odot \mathrm{known}, \mathrm{known}))

    The joint distribution is a mixture over ``M`` orders drawn at random, in each of which the
    features come in steps: those of a step are independent given those before it. What is observed
    comes first in every order, so that marginals and draws given any of the counts cost no more
    than a log-probability. They are what the network says, and agree with each other and with the
    mixture as far as it has learnt to.

    A training step takes a random step of a random order for each observation, which is an
    unbiased estimate of a bound of the log-probability.

    Args:
        n_features: Number ``G`` of features.
        likelihood: The distribution of a count given known ones. `NegativeBinomial` if None.
        hidden: Sizes of the hidden layers.
        n_orders: Number ``M`` of orders.
        n_steps: Most steps of an order: with as many as features, each is one feature. A
            log-probability takes a pass of the network for each step of each order.
        dropout: Share of hidden units that are dropped in training.

    Raises:
        ValueError: There is no order, no step or no hidden layer, or the likelihood is one of
            counts given their total.
    """

    positions: Tensor

    def __init__(
        self,
        n_features: int,
        likelihood: Likelihood | None = None,
        hidden: Sequence[int] = (500, 500),
        n_orders: int = 2,
        n_steps: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        for name, number in (("n_orders", n_orders), ("n_steps", n_steps)):
            if number < 1:
                raise ValueError(f"{name} is {number}: it must be 1 or more")
        check_widths(hidden)
        self.n_features, self.hidden, self.dropout = n_features, tuple(hidden), dropout
        self.n_orders, self.n_steps = n_orders, n_steps
        self.likelihood = leaf_likelihood(likelihood, n_features)
        self.lumped_from = self.likelihood.lumped_from
        n_outputs = self.likelihood.outputs_per_feature * n_features
        self.numbers_per_draw = n_outputs + 2 * n_features + sum(hidden)
        first = nn.Linear(2 * n_features, hidden[0])
        self.network = MLP(first, hidden, norm="layer", activation="relu", dropout=dropout)
        self.output = nn.Linear(hidden[-1], n_outputs)
        orders = [torch.randperm(n_features) for _ in range(n_orders)]
        self.register_buffer("positions", torch.stack(orders))

    def distribution(self) -> AnyOrderCounts:
        """See `JointModel.distribution`: in training, a bound of its log-probability."""
        kind = AnyOrderBound if self.training else AnyOrderCounts
        return kind(self)

    def conditionals(self, values: Tensor, known: Tensor) -> CountDistribution:
        """Return the distribution of each count given the known ones.

        Args:
            values: Dense counts, shape ``(B, G)``; read where they are known.
            known: Which are known, bool, shape ``(B, G)``.
        """
        inputs = torch.cat([torch.log1p(values) * known, known.to(values.dtype)], dim=-1)
        return self.likelihood(self.output(self.network(inputs)), None)

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Start at independent counts of the mean counts, as far as outputs are small."""
        mean = positive_means(batch)
        self.output.weight.mul_(0.1)
        self.output.bias.copy_(self.likelihood.initial_outputs(mean))


class AnyOrderCounts(OneForAll):
    """The counts of an `AnyOrder` model.

    Args:
        model: The model.
        validate_args: Whether to check that values are counts. Pyro's own switch if None.
    """

    def __init__(self, model: AnyOrder, validate_args: bool | None = None) -> None:
        self.model = model
        self.n_steps = min(model.n_steps, model.n_features)
        event_shape = torch.Size((model.n_features,))
        super().__init__(NO_SHAPE, event_shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """See `JointDistribution.log_prob`."""
        rows = self._dense(value).reshape(-1, value.shape[-1])
        found = self._of_rows(rows).reshape(value.shape[:-1])
        return self._over_batch(found)

    def log_marginal(
        self, values: Tensor, observed: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """See `JointDistribution.log_marginal`.

        Raises:
            NotInModelError: Of some counts it is known only that they are 1 or more.
        """
        values = self._counts_alone(values, present)
        found = self._in_all_orders(values, observed.expand_as(values))
        return self._over_batch(found)

    @torch.no_grad()
    def leave_one_out(self, values: Tensor) -> Tensor:
        """See `JointDistribution.leave_one_out`: that of the orders in which the count is last."""
        values = self._dense(values)
        found = torch.empty_like(values)
        for feature in range(values.shape[-1]):
            known = torch.ones_like(values, dtype=torch.bool)
            known[:, feature] = False
            column = torch.tensor([feature], device=values.device)
            counts = self.model.conditionals(values, known)
            found[:, feature] = counts.log_prob_at(column, values[:, column]).squeeze(-1)
        return self._over_batch(found, 1)

    @torch.no_grad()
    def expected_given(
        self, values: Tensor, observed: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `JointDistribution.expected_given`.

        Raises:
            NotInModelError: Of some counts it is known only that they are 1 or more.
        """
        values = self._counts_alone(values, present)
        found = self.model.conditionals(values, observed.expand_as(values))
        shape = torch.broadcast_shapes(self.batch_shape, values.shape[:-1])
        return found.expand(shape).expected_given(values, observed)

    @torch.no_grad()
    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:
        """See `JointDistribution.log_prob_at`."""
        return self._independent().log_prob_at(columns, values)

    @property
    def mean(self) -> Tensor:
        """Expected counts, shape ``(*batch_shape, G)``."""
        with torch.no_grad():
            return self._independent().mean

    @torch.no_grad()
    def sample_given(
        self, values: Tensor, observed: Tensor, sample_shape: Shape = NO_SHAPE
    ) -> Tensor:
        """See `JointDistribution.sample_given`."""
        values = self._dense(values)
        shape = torch.broadcast_shapes(self.batch_shape, values.shape[:-1])
        shape = torch.Size((*sample_shape, *shape, values.shape[-1]))
        known = observed.expand_as(values).expand(shape).reshape(-1, shape[-1])
        drawn = values.expand(shape).reshape(-1, shape[-1]).clone()
        orders = torch.randint(self.model.n_orders, (len(drawn),), device=drawn.device)
        steps = torch.where(known, -1, self._steps[orders])
        for step in range(self.n_steps):
            new = self.model.conditionals(drawn, steps < step).sample().to(drawn.dtype)
            drawn = torch.where(steps == step, new, drawn)
        return drawn.reshape(shape)

    def sample(self, sample_shape: Shape = NO_SHAPE) -> Tensor:
        """Draw dense counts of shape ``(*sample_shape, *batch_shape, G)``."""
        n = self._extended_shape(sample_shape)[:-1].numel()
        values = self.model.output.bias.new_zeros(n, *self.event_shape)
        nothing = torch.zeros_like(values, dtype=torch.bool)
        drawn = self.expand(NO_SHAPE).sample_given(values, nothing)
        return drawn.reshape(self._extended_shape(sample_shape))

    @property
    def _steps(self) -> Tensor:
        """The step of each feature in each order, shape ``(M, G)``."""
        return self.model.positions * self.n_steps // self.event_shape[0]

    def _of_rows(self, values: Tensor) -> Tensor:
        return self._in_all_orders(values, torch.ones_like(values, dtype=torch.bool))

    def _in_all_orders(self, values: Tensor, observed: Tensor) -> Tensor:
        """Return the log-probability of the observed counts ``(B, G)``, shape ``(B,)``."""
        by_order = []
        for steps in self._steps:
            found = values.new_zeros(len(values))
            for step in range(self.n_steps):
                counts = self.model.conditionals(values, observed & (steps < step))
                unwanted = ~observed | (steps != step)
                found = found + log_probs(counts, values).masked_fill(unwanted, 0.0).sum(-1)
            by_order.append(found)
        return torch.stack(by_order).logsumexp(0) - math.log(len(by_order))

    def _independent(self) -> CountDistribution:
        """Return the distribution of each count where nothing is known."""
        values = self.model.output.bias.new_zeros(self.event_shape)
        nothing = torch.zeros_like(values, dtype=torch.bool)
        return self.model.conditionals(values, nothing).expand(self.batch_shape)

    def _counts_alone(self, values: Tensor, present: Tensor | None) -> Tensor:
        """Return dense counts, of which none may be known only to be 1 or more."""
        if present is not None and present.any():
            raise self._cannot("answers where a count is only known to be 1 or more")
        return self._dense(values)

    def _dense(self, values: Tensor) -> Tensor:
        return dense_counts(values).to(self.model.output.bias.dtype)


class AnyOrderBound(AnyOrderCounts):
    r"""What training maximises: an estimate of a bound of the log-probability.

    In an order drawn for each observation, the features that come at or after a step ``t`` take
    turns in being first, as all orders of them are equally likely. With ``s_t`` features in each of
    ``T`` steps, ``n_t`` of them before ``t``, and ``t`` drawn at random, the estimate is

    .. math:: T \frac{s_t}{G - n_t} \sum_{j \text{ from } t \text{ on}}
              \log p(x_j | x_{\text{before } t}).
    """

    def _of_rows(self, values: Tensor) -> Tensor:
        n, n_features = values.shape
        starts = torch.arange(self.n_steps + 1, device=values.device) * n_features
        starts = -(-starts // self.n_steps)  # the positions p with p * T // G >= t
        step = torch.randint(self.n_steps, (n, 1), device=values.device)
        before, size = starts[step], starts[step + 1] - starts[step]
        order = torch.rand_like(values).argsort(-1)
        is_before = torch.arange(n_features, device=values.device) < before
        known = torch.empty_like(is_before).scatter_(-1, order, is_before)
        log_p = log_probs(self.model.conditionals(values, known), values)
        weights = self.n_steps * size / (n_features - before)
        return (weights * log_p.masked_fill(known, 0.0)).sum(-1)
