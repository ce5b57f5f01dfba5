"""The base class of models: what a model declares, and what it can be asked."""

from __future__ import annotations

import abc
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import constraints

from vae4counts.data.counts.batch import COUNTS, Batch
from vae4counts.models.config import Configured, with_own_parts
from vae4counts.models.covariates import At, Columns, Covariates
from vae4counts.models.feature_tree import FeatureTree
from vae4counts.models.labels import Labels
from vae4counts.models.numerics import log2_rates
from vae4counts.models.sites import OBSERVATIONS, Latent, Observed, plate_sites

if TYPE_CHECKING:
    from vae4counts.models.library import Library
    from vae4counts.models.priors import MixturePrior

Posterior = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A map from counts to means and standard deviations of q(z | x), each ``(B, L)``."""


class NotInModelError(ValueError):
    """A question about something that a model does not have."""


def observations(batch: Batch) -> pyro.plate:
    """Return the plate over the observations of a data set, subsampled to the batch."""
    return pyro.plate(OBSERVATIONS, batch.n_observations, subsample=batch.index, dim=-1)


def start_from_data(module: nn.Module, batch: Batch) -> None:
    """Initialise every part of a model or guide from a shuffled batch of training observations."""
    for part, own in with_own_parts(module, batch):
        if isinstance(part, Configured):
            part.initialise(own)


class Model(Configured, nn.Module, abc.ABC):
    """p(values, latents): a Pyro model of a batch.

    A subclass sets `n_features` and `numbers_per_draw` and defines `latents` (as a property or an
    attribute of the class) and `forward`. Everything else has a default: the answer of a model
    that has no latent space and cannot do what is asked.

    Attributes:
        n_features: Number ``G`` of features.
        covariates: What the model is told about each observation; nothing by default.
        labels: Which classes the components are, known of some observations in training; None for
            components that are no known classes.
        numbers_per_draw: How many numbers the model computes for one draw of the latents of one
            observation. It bounds the memory of everything that draws.
        holds_counts: Whether the observed site holds counts: its log-probability is then one of
            counts, and its draws are counts.
        given_library: Whether the model is conditioned on each observation's total count, which it
            then does not have to explain.
        given_total: Whether the counts are modelled given that they add up to that total, which
            their log-probability then has no part of.
        scales_with_library: Whether a library size scales the expected counts.
        n_latent: Dimension ``L`` of the latent space, the site ``"z"``; None without one.
        rotation_invariant: Whether rotating ``z`` leaves its prior as it is.
        lumped_from: The count from which on all counts are one class; None for no such count.
        reads_counts: Whether `forward` reads observed values other than by ``obs=``, as an
            autoregressive model does. Such a model overrides `draw`, and has no distribution of
            counts given its latents alone.
    """

    n_features: int
    numbers_per_draw: int
    holds_counts: bool = True
    given_library: bool = False
    given_total: bool = False
    scales_with_library: bool = False
    n_latent: int | None = None
    rotation_invariant: bool = False
    lumped_from: int | None = None
    reads_counts: bool = False
    labels: Labels | None = None

    def __init__(self) -> None:
        super().__init__()
        self.covariates = Covariates()

    @property
    @abc.abstractmethod
    def latents(self) -> Sequence[Latent]:
        """The latent sites inside the observation plate, in the model's order."""

    @abc.abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Sample the latents and observe each table at the site of its name, with ``obs=``.

        A model that reads observed values in any other way sets `reads_counts` and overrides
        `draw`, which otherwise draws replicates by making the observed sites unobserved.

        Returns:
            The values of the observed site.
        """

    def check(self) -> None:
        """Check that the model declares what it must.

        Raises:
            NotInModelError: It does not set `n_features` or `numbers_per_draw`; or has
                `reads_counts`, but does not override `draw`.
        """
        for name in ("n_features", "numbers_per_draw"):
            if not isinstance(getattr(self, name, None), numbers.Integral):
                raise NotInModelError(f"{type(self).__name__} must set {name}, a whole number")
        if self.reads_counts and type(self).draw is Model.draw:
            raise NotInModelError(f"{type(self).__name__} reads counts, and must override draw")

    @property
    def tables(self) -> Sequence[str]:
        """The names of the observed sites, which are those of the batch's tables."""
        return (COUNTS,)

    @property
    def table_sizes(self) -> Mapping[str, int]:
        """The number of features of each table; together they are the model's, in this order.

        Raises:
            NotInModelError: There are several tables, and the model does not say.
        """
        if len(self.tables) > 1:
            raise NotInModelError(f"{type(self).__name__} has several tables: define table_sizes")
        return {self.tables[0]: self.n_features}

    def observed(self, table: str) -> Observed:  # noqa: ARG002
        """Return what the model declares of a table: of its only one, what its attributes say."""
        return Observed(self.holds_counts, self.given_library, self.given_total, self.lumped_from)

    @property
    def supports(self) -> Mapping[str, constraints.Constraint]:
        """The values that each table may hold: counts unless overridden."""
        return dict.fromkeys(self.tables, constraints.nonnegative_integer)

    @property
    def encoder_inputs(self) -> Mapping[str, str]:
        """The name in `INPUTS` of the scaling that suits each table as an encoder's input."""
        return dict.fromkeys(self.tables, "log1p")

    @property
    def latent_libraries(self) -> Mapping[str, Library]:
        """The library sizes that are latent, by table: none unless overridden."""
        return {}

    @property
    def library_sizes(self) -> Mapping[str, Tensor]:
        """Typical library sizes of the tables that have one, 1 where that is not known."""
        return {COUNTS: torch.ones(())} if self.scales_with_library else {}

    @property
    def title(self) -> str:
        """A name for the model in messages and reports."""
        return type(self).__name__

    @property
    def is_exact(self) -> bool:
        """Whether the model sums every latent out, so that nothing is left to a guide."""
        return all(latent.states is not None for latent in self.latents)

    @torch.no_grad()
    def draw(
        self, batch: Batch, num_samples: int, given: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Draw every site that is not given, observed sites included.

        Args:
            batch: The observations. Only what the model is conditioned on, as a library size, is
                read.
            num_samples: Number ``S`` of draws for each observation.
            given: Draws of latents to condition on, each of shape ``(S, B, ...)``. None draws new
                observations from the model.

        Returns:
            The values of each site, shape ``(S, B, ...)``; counts are dense, ``(S, B, G)``.

        Raises:
            NotInModelError: The model has `reads_counts`, but does not say how to draw.
        """
        if self.reads_counts:
            raise NotInModelError(f"{type(self).__name__} reads counts, and must override draw")
        unobserved = poutine.uncondition(pyro.plate("samples", num_samples, dim=-2)(self))
        conditioned = poutine.condition(unobserved, data=dict(given or {}))
        trace: Any = poutine.trace(conditioned).get_trace(batch)
        return {name: trace.nodes[name]["value"] for name in plate_sites(trace)}

    def state_probabilities(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:  # noqa: ARG002
        """Return p(state | latents) of the enumerated sites of which the tables tell nothing more.

        None of them unless overridden. A site is left out if a table depends on it directly.

        Args:
            latents: Draws of the latents that are not enumerated, shape ``(S, B, ...)``.

        Returns:
            By site, shape ``(S, B, K)``.
        """
        return {}

    def rates(
        self,
        z: Tensor,  # noqa: ARG002
        library: Tensor | float | None,  # noqa: ARG002
        at: At | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Return the counts expected at given latents, extra zeros left out.

        Args:
            z: Latents, shape ``(*batch, L)``.
            library: Library sizes in counts, shape ``(*batch, 1)``, or one number for all; of a
                model of several tables, ``(*batch, M)``. Ignored by a table without a library size.
            at: Values at which covariates are held; the others are averaged over the training
                observations, see `Covariates.held`.

        Returns:
            Shape ``(*batch, G)``: of the features of all tables, one table after the other.

        Raises:
            NotInModelError: The model has no latent space.
        """
        raise NotInModelError(f"{type(self).__name__} has no latent space to decode")

    def comparable(self, means: Tensor, added: Tensor | float = 0.0) -> Tensor:
        """Return expected values of all features on the scale on which they are compared.

        log2 of counts, so that a difference is a log2 fold change; other values as they are unless
        overridden.

        Args:
            means: Expected values, shape ``(*batch, G)``.
            added: What is added to those of counts first, broadcastable to ``(G,)``.
        """
        return log2_rates(means, added) if self.holds_counts else means

    def given_latents(
        self,
        table: str,  # noqa: ARG002
        z: Tensor,  # noqa: ARG002
        library: Tensor | None,  # noqa: ARG002
        columns: Columns,  # noqa: ARG002
    ) -> Any:
        """Return the distribution of a table's values at given latents.

        Args:
            table: The name of the table.
            z: Latents, shape ``(*batch, L)``.
            library: Library sizes in counts, shape ``(*batch, 1)``; ignored by a table without.
            columns: Values of the covariates, broadcastable to ``(*batch,)``.

        Returns:
            A distribution of batch shape ``(*batch,)`` and event shape ``(G,)``.

        Raises:
            NotInModelError: The model has no latent space.
        """
        raise NotInModelError(f"{type(self).__name__} has no latent space to decode")

    def rate_scores(self, z: Tensor, library: Tensor | None, batch: Batch) -> Tensor:  # noqa: ARG002
        """Return the derivatives of ``log p(values | z)`` by the expected values of each feature.

        Args:
            z: Latents, shape ``(B, L)``.
            library: Library sizes of all tables, shape ``(B, M)``; None for a model without.
            batch: The observations.

        Returns:
            In nats per unit of `comparable`, shape ``(B, G)``; 0 where a table is absent, NaN for
            features whose expected values no single output of a decoder gives.

        Raises:
            NotInModelError: The model has no latent space.
        """
        raise NotInModelError(f"{type(self).__name__} has no latent space to decode")

    @property
    def mixture_prior(self) -> MixturePrior | None:
        """The prior of ``z`` if it is a mixture of Gaussians, else None."""
        return None

    def loadings(self) -> Tensor | None:
        """Return the loadings of a linear decoder, shape ``(G, L)``; None for other models."""
        return None

    def feature_tree(self) -> FeatureTree | None:
        """Return the tree of features that the model has found; None for other models."""
        return None

    def pure_topics(self) -> Tensor | None:
        """Return the latents of observations of one topic alone, shape ``(K, L)``.

        None for a model without topics. The `rates` there are those of the topics.
        """
        return None

    def topic_shares(self, z: Tensor) -> Tensor:  # noqa: ARG002
        """Return the share of each topic in the counts expected at given latents.

        Args:
            z: Latents, shape ``(*batch, L)``.

        Returns:
            Shape ``(*batch, K)``, adding up to 1.

        Raises:
            NotInModelError: The model has no topics.
        """
        raise NotInModelError(f'{self.title} has no topics: use the decoder "topics"')

    @property
    def flips(self) -> bool:
        """Whether `flip` can change the signs of latents."""
        return False

    def flip(self, signs: Tensor) -> None:  # noqa: ARG002
        """Multiply the latents by signs and leave the distribution of the counts as it is.

        Args:
            signs: 1 or -1 for each latent, shape ``(L,)``.

        Raises:
            NotInModelError: The model has no `flips`.
        """
        raise NotInModelError(f"{self.title} cannot change the signs of its latents")

    @property
    def turns(self) -> bool:
        """Whether `turn` can express the latents in other axes."""
        return False

    def turn(self, axes: Tensor) -> None:  # noqa: ARG002
        """Express the latents in other axes, and leave the distribution of the counts as it is.

        What were latents ``z`` are then ``z @ axes``.

        Args:
            axes: An orthogonal matrix, an axis a column, shape ``(L, L)``.

        Raises:
            NotInModelError: The model does not turn, see `turns`.
        """
        raise NotInModelError(f"{self.title} cannot turn its latents to other axes")

    def learn(self, batches: Iterable[Batch]) -> None:
        """Learn from all training observations what is not found by gradients: a structure, tables.

        Called before the first step, and before parts are initialised from data. Does nothing
        unless overridden. A model that then has nothing left to train has only parameters that
        need no gradient.

        Args:
            batches: The training observations in batches; each pass over them begins anew.
        """

    def plain_twin(self) -> Model | None:
        """Return a simpler model to train first, which shares all parameters but the prior's.

        None for a model that is trained from the start.
        """
        return None

    def groups(self, z: Tensor, seed: int, known: Tensor | None = None) -> Tensor | None:  # noqa: ARG002
        """Find groups of latents that were learnt by the plain twin, for the prior to start at.

        Args:
            z: Draws of the latents of training observations, shape ``(n, L)``.
            seed: Seed of all random choices.
            known: The component of each one's label, -1 without a label, int64, shape ``(n,)``;
                given to a model with `labels`.

        Returns:
            The share of each group in each draw, summing to 1, shape ``(n, n_groups)``; None if the
            prior starts at no groups.
        """
        return None

    def start_at(self, z: Tensor, shares: Tensor) -> None:
        """Set the prior's parameters from `groups` of latents. Does nothing unless overridden.

        Args:
            z: The latents, shape ``(n, L)``.
            shares: The share of each group in each, shape ``(n, n_groups)``.
        """

    def share_posterior(self, posterior: Posterior) -> None:
        """Give the guide's map from counts to q(z | x) to a prior that is made of it."""
