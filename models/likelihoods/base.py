"""The base classes of likelihoods: modules that return a distribution over counts or other values.

A new likelihood of counts that are independent given its parameters takes three parts: a `Family`
(``log p(0)`` and ``log p(x) - log p(0)``, see ``sparse.py``), a subclass of `CountDistribution`
that names the family, its moments and how to sample, and a subclass of `Likelihood` that makes the
distribution from decoder outputs. One of numbers that are not counts has a `DenseDistribution` and
states which values it accepts (`support`). A line in ``registry.py`` makes it known by name and has
the generic tests cover it.
"""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vae4counts.data.counts.support import COUNTS, Support
from vae4counts.models.config import Configured
from vae4counts.models.covariates import levels_by
from vae4counts.models.numerics import SMALLEST_RATE as SMALLEST_RATE
from vae4counts.models.numerics import at_least_float32, column_means, first_order, log2_rates

from .distribution import FeatureDistribution

LARGEST_LOG_RATE = 20.0
NO_LEVELS: Mapping[str, int] = MappingProxyType({})
EXTENTS = ("shared", "feature", "observation")


class Likelihood(Configured, nn.Module, abc.ABC):
    """p(values | decoder outputs, library): a module that returns a `FeatureDistribution`.

    The first outputs of the decoder are the log-rates of counts, or what the means of other values
    are a function of. A further parameter (a dispersion, a gate) has
    an *extent*: "shared" by all counts, one for each "feature", or one for each "observation" and
    feature; the last is a decoder output, the others are parameters of the likelihood. These may
    have values of their own for each level of a categorical covariate.

    Attributes:
        support: The values that it accepts, and whether they are counts. Those that are not have
            no library size.
        inputs: How an encoder scales such values unless told otherwise: a name in
            `vae4counts.guides.INPUTS`.
        outputs_per_feature: Number of decoder outputs for each feature.
        library_is_total: Whether the counts are modelled *given* their total, so that the
            library size must be the observed one.
        reads_rates: Whether the first ``G`` outputs are the features' log-rates, or for values
            that are not counts their means or logits.
        lumped_from: The count from which on all counts are one class; None for no such count.
        comparable_per_output: By how much `comparable` changes per unit of one of these outputs;
            None where `rates` depend on other outputs too.
    """

    support: ClassVar[Support] = COUNTS
    inputs: ClassVar[str] = "log1p"
    library_is_total: bool = False
    reads_rates: bool = True
    lumped_from: int | None = None
    comparable_per_output: float | None = 1 / math.log(2)

    def __init__(self) -> None:
        super().__init__()
        self.outputs_per_feature = 1
        self.extents: dict[str, str] = {}
        self.by: str | None = None

    def declare(self, name: str, extent: str) -> None:
        """Add a further parameter. Called by the constructor, in the order of `split`.

        Raises:
            ValueError: The extent is not one of the three.
        """
        if extent not in EXTENTS:
            raise ValueError(f"{name} is {extent!r}: it must be one of {', '.join(EXTENTS)}")
        self.extents[name] = extent
        self.outputs_per_feature += extent == "observation"

    def build(self, n_features: int, n_levels: Mapping[str, int] = NO_LEVELS) -> None:
        """Make the parameters that are not decoder outputs. Called once, by the model.

        Args:
            n_features: Number ``G`` of features.
            n_levels: The number of levels of each categorical covariate of the model.

        Raises:
            ValueError: The likelihood is part of another model; or there is no such covariate as
                its parameters are to have levels of, or nothing that could have them.
        """
        self.claim()
        self.n_features = n_features
        levels = () if self.by is None else (levels_by(self.by, n_levels),)
        sizes = {"shared": 1, "feature": n_features}
        self.own = nn.ParameterDict(
            {
                name: nn.Parameter(torch.zeros(*levels, sizes[extent]))
                for name, extent in self.extents.items()
                if extent in sizes
            }
        )
        if levels and not self.own:
            raise ValueError(
                f"by is {self.by!r}, but all parameters of {type(self).__name__} are outputs of "
                "the decoder, which sees the covariates"
            )

    def given(self, covariates: Mapping[str, Tensor]) -> Likelihood:
        """Return the likelihood with its parameters of the levels of each observation.

        Args:
            covariates: Values of the covariates, shape ``(*batch,)`` each; read only by a
                likelihood whose parameters have levels.
        """
        if self.by is None:
            return self
        levels = covariates[self.by]
        chosen = copy.copy(self)
        own = {name: nn.functional.embedding(levels, table) for name, table in self.own.items()}
        chosen.__dict__["own"] = own  # found before the module's own tables
        return chosen

    @torch.no_grad()
    def start(self, values: Tensor) -> Tensor:
        """Start at training observations: set own parameters, and say where a decoder starts.

        The latents then explain deviations from the means of the features.

        Args:
            values: The table's, as in a batch: CSR, or dense with NaN where entries are missing;
                shape ``(B, G)``.

        Returns:
            Decoder outputs for the decoder's bias, shape ``(outputs_per_feature * G,)``.
        """
        return self.smoothed_outputs(column_means(values))

    def smoothed_outputs(self, mean: Tensor) -> Tensor:
        """Return decoder outputs that give certain means, those of counts made positive.

        Args:
            mean: See `initial_outputs`; 0 or more for counts.
        """
        if self.support.counts:
            mean = mean + 0.1 * mean.mean().clamp_min(1e-3) / len(mean)
        return self.initial_outputs(mean)

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """Return decoder outputs that give certain means.

        Args:
            mean: Mean of each feature's values, shape ``(G,)``; positive for counts.

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
        """Return the expected counts, extra zeros left out; the mean of what has no rates.

        Args:
            outputs: See `forward`.
            library: See `forward`.

        Returns:
            Shape ``(*batch, G)``.
        """
        if not (self.reads_rates and self.support.counts):
            return self(outputs, library).mean
        return rates(self.split(outputs)[0], library)

    def comparable(self, means: Tensor, added: Tensor | float = 0.0) -> Tensor:
        """Return expected values on the scale on which they are compared.

        That of counts is log2, so that a difference is a log2 fold change. Shares override it by
        log2 odds, and real numbers by standard deviations of the training data.

        Args:
            means: Expected values, shape ``(*batch, G)``.
            added: What is added to those of counts first, broadcastable to ``(G,)``.
        """
        return log2_rates(means, added)

    @abc.abstractmethod
    def forward(self, outputs: Tensor, library: Tensor | None) -> FeatureDistribution:
        """Return the distribution of the values.

        Args:
            outputs: Decoder outputs, shape ``(*batch, outputs_per_feature * G)``.
            library: Expected total count, shape ``(*batch, 1)``, or None for a model without
                a library size. Values that are not counts do not depend on it.
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
