"""The base classes of likelihoods: modules that return a distribution over counts.

A new likelihood of counts that are independent given its parameters takes three parts: a `Family`
(``log p(0)`` and ``log p(x) - log p(0)``, see ``sparse.py``), a subclass of `CountDistribution`
that names the family, its moments and how to sample, and a subclass of `Likelihood` that makes the
distribution from decoder outputs. A line in ``registry.py`` makes it known by name and has the
generic tests cover it.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias, TypeVar

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor, nn

from vae4counts.models.config import Configured
from vae4counts.models.joint.distribution import JointDistribution
from vae4counts.models.numerics import at_least_float32, first_order

from .nonzeros import NonZeros
from .sparse import Family, log_prob

Self = TypeVar("Self", bound="CountDistribution")
Shape: TypeAlias = torch.Size | list[int] | tuple[int, ...]

# Expected counts below this are treated as this: the logarithm of a rate that underflowed would be
# -inf and its gradient NaN.
SMALLEST_RATE = 1e-20
LARGEST_LOG_RATE = 20.0
NO_SHAPE = torch.Size()
EXTENTS = ("shared", "feature", "observation")

_broadcast = lru_cache(torch.broadcast_shapes)  # takes longer than a small batch's softmax


class CountDistribution(JointDistribution, abc.ABC):
    """A distribution over one observation's ``G`` counts, independent given the parameters.

    Args:
        parameters: Tensors that broadcast to ``(*batch_shape, G)``, in the order of the `family`'s.
        validate_args: Whether to check that values are counts. Pyro's own switch if None.
    """

    family: ClassVar[Family]
    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, *parameters: Tensor, validate_args: bool | None = None) -> None:
        self.parameters: Sequence[Tensor] = parameters
        shape = _broadcast(*(parameter.shape for parameter in parameters))
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Vectors of counts."""
        return constraints.independent(constraints.nonnegative_integer, 1)

    def expand(self: Self, batch_shape: Shape, _instance: Self | None = None) -> Self:
        """Expand the batch shape; the parameters stay as they are and broadcast lazily."""
        new = self._get_checked_instance(type(self), _instance)
        new.parameters = self.parameters
        TorchDistribution.__init__(
            new, torch.Size(batch_shape), self.event_shape, validate_args=False
        )
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of each observation, in nats.

        Args:
            value: Counts: a sparse CSR tensor of shape ``(B, G)``, or a dense tensor of shape
                ``(*sample_shape, *batch_shape, G)``.

        Returns:
            Shape ``batch_shape``, broadcast with the batch shape of ``value``.

        Raises:
            ValueError: Values are checked, and are not whole numbers of 0 or more, or there are
                more or fewer of them than features.
        """
        if self._validate_args:
            self._validate_sample(value)
        shape = _broadcast(self.batch_shape, value.shape[:-1])
        value = value.to(self.parameters[0].dtype)
        if value.dim() == 2 and value.shape[:1] == shape[-1:]:
            return self._log_prob(NonZeros.of(value), self.parameters).expand(shape)
        # any other shape (samples, or one row of counts for many of parameters) as one long batch
        dense = value if value.layout == torch.strided else value.to_dense()
        counts = NonZeros.of(dense.expand(*shape, -1).reshape(-1, value.shape[-1]))
        rows = [self._rows(parameter, shape) for parameter in self.parameters]
        return self._log_prob(counts, rows).reshape(shape)

    def _log_prob(self, counts: NonZeros, parameters: Sequence[Tensor]) -> Tensor:
        return log_prob(self.family, counts, *parameters)

    def _rows(self, parameter: Tensor, batch_shape: torch.Size) -> Tensor:
        """Return a parameter for a batch of this shape, as ``(rows or 1, G or 1)``."""
        if parameter.shape[:-1].numel() != 1:
            parameter = parameter.expand(*batch_shape, -1)
        return parameter.reshape(-1, parameter.shape[-1])

    def log_prob_at(self, columns: Tensor, values: Tensor) -> Tensor:
        """See `JointDistribution.log_prob_at`."""
        shape = (*self.batch_shape, self.event_shape[0])
        parameters = [parameter.expand(shape)[..., columns] for parameter in self.parameters]
        zero, _ = self.family.zero(*parameters)
        # a ratio is defined for counts above zero only
        counts = values.to(parameters[0].dtype).clamp_min(1).expand_as(parameters[0])
        ratio, _ = self.family.ratio(counts, *parameters)
        return zero + torch.where(values > 0, ratio, torch.zeros_like(ratio))

    def sample(self, sample_shape: Shape = NO_SHAPE) -> Tensor:
        """Draw dense counts of shape ``(*sample_shape, *batch_shape, G)``."""
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            return self._draw(shape)

    @abc.abstractmethod
    def _draw(self, shape: torch.Size) -> Tensor:
        """Draw counts of this shape; called without gradients."""

    def _validate_sample(self, value: Tensor) -> None:
        if value.shape[-1:] != self.event_shape:
            raise ValueError(
                f"counts of {value.shape[-1]} features were given to a distribution over "
                f"{self.event_shape[0]} features"
            )
        entries = value if value.layout == torch.strided else value.values()
        if not bool(((entries >= 0) & (entries % 1 == 0)).all()):
            raise ValueError("counts must be whole numbers, 0 or more")


class Likelihood(Configured, nn.Module, abc.ABC):
    """p(counts | decoder outputs, library): a module that returns a `CountDistribution`.

    The first outputs of the decoder are the rates. A further parameter (a dispersion, a gate) has
    an *extent*: "shared" by all counts, one for each "feature", or one for each "observation" and
    feature; the last is a decoder output, the others are parameters of the likelihood.

    Attributes:
        outputs_per_feature: Number of decoder outputs for each feature.
        library_is_total: Whether the counts are modelled *given* their total, so that the
            library size must be the observed one.
        reads_rates: Whether the first ``G`` outputs are the features' log-rates.
        lumped_from: The count from which on all counts are one class; None for no such count.
    """

    library_is_total: bool = False
    reads_rates: bool = True
    lumped_from: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.outputs_per_feature = 1
        self.extents: dict[str, str] = {}

    def declare(self, name: str, extent: str) -> None:
        """Add a further parameter. Called by the constructor, in the order of `split`.

        Raises:
            ValueError: The extent is not one of the three.
        """
        if extent not in EXTENTS:
            raise ValueError(f"{name} is {extent!r}: it must be one of {', '.join(EXTENTS)}")
        self.extents[name] = extent
        self.outputs_per_feature += extent == "observation"

    def build(self, n_features: int) -> None:
        """Make the parameters that are not decoder outputs. Called once, by the model.

        Raises:
            ValueError: The likelihood is part of another model.
        """
        self.claim()
        self.n_features = n_features
        sizes = {"shared": 1, "feature": n_features}
        self.own = nn.ParameterDict(
            {
                name: nn.Parameter(torch.zeros(sizes[extent]))
                for name, extent in self.extents.items()
                if extent in sizes
            }
        )

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """Return decoder outputs that give certain mean counts, for the decoder's bias to start at.

        Args:
            mean: Mean count of each feature, shape ``(G,)``, positive.

        Returns:
            Shape ``(outputs_per_feature * G,)``.
        """
        return torch.cat([mean.log(), mean.new_zeros((self.outputs_per_feature - 1) * len(mean))])

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        arguments = list(self.config().items())[1:]
        return ", ".join(f"{name}={value!r}" for name, value in arguments)

    def split(self, outputs: Tensor) -> list[Tensor]:
        """Split decoder outputs into those of the rate and each further parameter, by `declare`.

        A parameter that is not a decoder output is the likelihood's own. All are in float32 or
        wider, whatever the decoder computes in.
        """
        outputs = at_least_float32(outputs)
        one = self.outputs_per_feature == 1  # the backward pass of a chunk is a copy
        parts = iter([outputs] if one else outputs.chunk(self.outputs_per_feature, dim=-1))
        rate = next(parts)
        return [rate, *(self.own[n] if n in self.own else next(parts) for n in self.extents)]

    def rates(self, outputs: Tensor, library: Tensor | None) -> Tensor:
        """Return the expected counts, extra zeros left out; the mean if not `reads_rates`.

        Args:
            outputs: See `forward`.
            library: See `forward`.

        Returns:
            Shape ``(*batch, G)``.
        """
        if not self.reads_rates:
            return self(outputs, library).mean
        return rates(self.split(outputs)[0], library)

    @abc.abstractmethod
    def forward(self, outputs: Tensor, library: Tensor | None) -> CountDistribution:
        """Return the distribution of the counts.

        Args:
            outputs: Decoder outputs, shape ``(*batch, outputs_per_feature * G)``.
            library: Expected total count, shape ``(*batch, 1)``, or None for a model without
                a library size.
        """


def rates(outputs: Tensor, library: Tensor | None) -> Tensor:
    """Return expected counts, ``library * softmax(outputs)``; ``exp(outputs)`` without library.

    Args:
        outputs: Log-rates, shape ``(*batch, G)``.
        library: Library sizes, shape ``(*batch, 1)``, or None.
    """
    if library is None:
        return outputs.clamp(max=LARGEST_LOG_RATE).exp()
    return _Shares.apply(outputs, library.to(outputs.dtype))


class _Shares(torch.autograd.Function):
    """``m = library * softmax(outputs)``, keeping one array of this size where autograd keeps two.

    With ``g`` the gradient by ``m``, the gradient by the library is ``s = sum_j g_j m_j / library``
    and that by the outputs is ``m (g - s)``.
    """

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, library: Tensor) -> Tensor:
        shares = torch.softmax(outputs, dim=-1)
        wider = library.dim() > outputs.dim() or library.shape[:-1] != outputs.shape[:-1]
        mean = shares * library if wider else shares.mul_(library)
        ctx.save_for_backward(mean, library)
        ctx.shape = outputs.shape
        return mean

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        mean, library = ctx.saved_tensors
        by_outputs = gradient * mean
        by_library = by_outputs.sum(-1, keepdim=True) / library.clamp_min(SMALLEST_RATE)
        by_outputs.addcmul_(mean, by_library, value=-1)
        return by_outputs.sum_to_size(ctx.shape), by_library.sum_to_size(library.shape)
