"""Distributions over counts whose latent structure is summed out: mixtures, trees, circuits."""

from __future__ import annotations

import abc
import copy

import torch
from torch import Tensor

from vae4counts.models.joint.distribution import NO_SHAPE, OneForAll, dense_counts
from vae4counts.models.joint.leaves import Places, log_leaves, log_nodes
from vae4counts.models.likelihoods.distribution import CountDistribution, Shape

# No leaf is less likely than the likeliest of its feature by more nats: where the others speak for
# it, its share must not underflow in float64.
DEEPEST = 300.0


class LeafDistribution(OneForAll, abc.ABC):
    r"""Counts that are independent given which of ``H`` leaves each of them comes from.

    .. math:: p(x) = \sum_h p(h_1, ..., h_G) \prod_g p_{g h_g}(x_g)

    How the leaves are chosen together is the structure: a subclass defines `log_evidence`, which
    passes messages from the leaves to the root, and `draw_states`. All else follows: what is not
    observed has leaves of 1, and with ``r_gh = d log p(x) / d log p_gh(x_g)``, the probability of a
    leaf given all counts, by one backward pass,

    .. math:: \log p(x_d | x_{-d}) = -\log \sum_h r_{dh} / p_{dh}(x_d), \qquad
              E[x_d | \mathrm{observed}] = \sum_h r_{dh} E_{dh}[x_d].

    Args:
        leaves: The leaves, of batch shape ``(H,)``, each of independent counts.
        places: Where the leaves are attached to the structure.
        validate_args: Whether to check that values are counts. Pyro's own switch if None.
    """

    def __init__(
        self, leaves: CountDistribution, places: Places, validate_args: bool | None = None
    ) -> None:
        self.leaves, self.places = leaves, places
        super().__init__(NO_SHAPE, leaves.event_shape, validate_args=validate_args)

    @abc.abstractmethod
    def log_evidence(self, log_nodes: Tensor) -> Tensor:
        """Pass messages from the leaves to the root, in the dtype of the leaves.

        Args:
            log_nodes: The log-probability of what is known of the counts at each node under each
                of its states, shape ``(N, B, K)``; 0 where nothing is known.

        Returns:
            The log-probability of all of it, shape ``(B,)``.
        """

    @abc.abstractmethod
    def draw_states(self, log_nodes: Tensor) -> Tensor:
        """Draw the leaf of each feature given what is known of the counts.

        Args:
            log_nodes: See `log_evidence`.

        Returns:
            Numbers of leaves, int64, shape ``(B, G)``.
        """

    def log_leaves(self, values: Tensor) -> Tensor:
        """Return log-probabilities of counts ``(B, G)`` under each leaf, shape ``(B, G, H)``."""
        return log_leaves(self.leaves, values)

    def log_prob(self, value: Tensor) -> Tensor:
        """See `JointDistribution.log_prob`."""
        if self._validate_args:
            self.leaves._validate_sample(value)
        rows = value if value.dim() == 2 else value.reshape(-1, value.shape[-1])
        found = self.log_evidence(log_nodes(self.leaves, rows, self.places))
        return self._over_batch(found.reshape(value.shape[:-1]))

    def log_marginal(
        self, values: Tensor, observed: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """See `JointDistribution.log_marginal`."""
        known = self._known(values, observed, present)
        return self._over_batch(self.log_evidence(self.places.join(known)))

    @torch.no_grad()
    def leave_one_out(self, values: Tensor) -> Tensor:
        """See `JointDistribution.leave_one_out`."""
        known = self._floored(self.log_leaves(values).double())
        log_shares = self._log_shares(known)
        found = -(log_shares - known).logsumexp(-1)
        return self._over_batch(found, 1)

    @torch.no_grad()
    def expected_given(
        self, values: Tensor, observed: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `JointDistribution.expected_given`."""
        known = self._floored(self._known(values, observed, present).double())
        shares = self._log_shares(known).exp()
        shape = (self.leaves.batch_shape.numel(), self.event_shape[0])
        mean = self.leaves.mean.expand(shape).t().to(shares)
        here = -torch.expm1(self._log_zero().to(shares))
        answers = ((shares * each).sum(-1) for each in (mean, here))
        expected, presence = (self._over_batch(answer, 1) for answer in answers)
        return expected, presence

    @property
    def mean(self) -> Tensor:
        """Expected counts, shape ``(*batch_shape, G)``."""
        expected, _ = self.expand(()).expected_given(*self._nothing(1))
        return expected[0].to(self.leaves.parameters[0]).expand(*self.batch_shape, -1)

    @torch.no_grad()
    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:
        """See `JointDistribution.log_prob_at`."""
        no_values, nothing = self._nothing(1)
        log_shares = self._log_shares(self._known(no_values, nothing, None).double())[0, columns]
        wanted = no_values.expand(values.shape[:-1].numel(), -1).clone()
        wanted[:, columns] = values.to(wanted).reshape(-1, len(columns))
        known = self.log_leaves(wanted)[:, columns]
        found = (known + log_shares).logsumexp(-1).to(wanted)
        return found.reshape(values.shape).expand(*self.batch_shape, -1)

    @torch.no_grad()
    def sample_given(
        self, values: Tensor, observed: Tensor, sample_shape: Shape = NO_SHAPE
    ) -> Tensor:
        """See `JointDistribution.sample_given`."""
        n = torch.Size(sample_shape).numel()
        values = dense_counts(values).repeat(n, 1)
        observed = observed.expand(len(values) // n, -1).repeat(n, 1)
        states = self.draw_states(self.places.join(self._known(values, observed)))
        drawn = self._draw_from(states).to(values.dtype)
        shape = torch.broadcast_shapes(self.batch_shape, (len(values) // n,))
        filled = torch.where(observed, values, drawn)
        return filled.reshape(*sample_shape, -1, values.shape[-1]).expand(*sample_shape, *shape, -1)

    @torch.no_grad()
    def sample(self, sample_shape: Shape = NO_SHAPE) -> Tensor:
        """Draw dense counts of shape ``(*sample_shape, *batch_shape, G)``."""
        shape = self._extended_shape(sample_shape)
        n = shape[:-1].numel()
        states = self.draw_states(self.places.join(self._known(*self._nothing(n))))
        return self._draw_from(states).reshape(shape)

    def _draw_from(self, states: Tensor) -> Tensor:
        """Draw counts ``(B, G)`` from the leaves of these numbers."""
        n_leaves, features = self.leaves.batch_shape.numel(), self.event_shape[0]
        columns = torch.arange(features, device=states.device)
        chosen = copy.copy(self.leaves)
        chosen.parameters = [
            parameter.expand(n_leaves, features)[states, columns]
            for parameter in self.leaves.parameters
        ]
        return chosen.expand((len(states),)).sample()

    def _known(self, values: Tensor, observed: Tensor, present: Tensor | None = None) -> Tensor:
        """The leaves of what is known of the counts."""
        observed = observed.unsqueeze(-1)
        known = torch.where(observed, self.log_leaves(values), 0.0)
        if present is None:
            return known
        here = torch.log(-torch.expm1(self._log_zero())).clamp_min(-DEEPEST)
        return torch.where(present.unsqueeze(-1) & ~observed, here, known)

    def _log_zero(self) -> Tensor:
        """Log-probabilities of a count of zero under each leaf, shape ``(G, H)``."""
        return self.log_leaves(self._nothing(1)[0])[0]

    def _log_shares(self, known: Tensor) -> Tensor:
        """Return log-probabilities of each leaf given what is known, shape ``(B, G, H)``."""
        known = known.detach().requires_grad_()
        with torch.enable_grad():
            evidence = self.log_evidence(self.places.join(known))
            (shares,) = torch.autograd.grad(evidence.sum(), known)
        return shares.log()

    def _floored(self, known: Tensor) -> Tensor:
        return known.maximum(known.amax(-1, keepdim=True) - DEEPEST)

    def _nothing(self, n: int) -> tuple[Tensor, Tensor]:
        """Counts of which none is observed, ``n`` rows of them."""
        zeros = self.leaves.parameters[0].new_zeros((n, self.event_shape[0]))
        return zeros, torch.zeros_like(zeros, dtype=torch.bool)
