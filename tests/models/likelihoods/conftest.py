"""Every registered likelihood with every extent of its parameters, and values and inputs for it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from vae4counts.data.counts.support import BINARY, COUNTS, SHARES, Support
from vae4counts.models.likelihoods import LIKELIHOODS, FeatureDistribution, Likelihood
from vae4counts.models.likelihoods.base import EXTENTS

N_ROWS, N_FEATURES = 4, 5


@dataclass(frozen=True)
class Case:
    """A registered likelihood and the extents of its parameters."""

    name: str
    extents: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.name, *self.extents.values()])

    @property
    def given_total(self) -> bool:
        return LIKELIHOODS[self.name].library_is_total

    @property
    def support(self) -> Support:
        return LIKELIHOODS[self.name].support

    @property
    def is_dense(self) -> bool:
        """Whether values are numbers, zeros like any other, some of which may be missing."""
        return self.support.missing

    def within(self, counts: Tensor) -> Tensor:
        """Turn counts into values that the likelihood accepts."""
        return within(self.support, counts)

    def make(self, n_features: int = N_FEATURES, dtype: torch.dtype = torch.float64) -> Likelihood:
        """Make the likelihood, with random values of its own parameters."""
        likelihood = LIKELIHOODS[self.name](**self.extents)
        likelihood.build(n_features)
        for parameter in likelihood.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        return likelihood.to(dtype)

    def outputs(
        self, *lead: int, n_features: int = N_FEATURES, dtype: torch.dtype = torch.float64
    ) -> Tensor:
        """Draw decoder outputs of shape ``(*lead, outputs_per_feature * n_features)``."""
        size = LIKELIHOODS[self.name](**self.extents).outputs_per_feature * n_features
        return torch.randn(*lead, size, dtype=dtype)

    def distribution(self, *lead: int, library: Tensor | None = None) -> FeatureDistribution:
        """Make a distribution of this batch shape."""
        with torch.no_grad():
            return self.make()(self.outputs(*lead), library)


@dataclass(frozen=True)
class Problem:
    """A likelihood and its inputs: its log-probability is a function of those with a gradient."""

    likelihood: Likelihood
    outputs: Tensor
    library: Tensor | None
    counts: Tensor

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Outputs, the library unless it is fixed, and the likelihood's own parameters."""
        fixed = self.library is None or self.likelihood.library_is_total
        tensors = [self.outputs] if fixed else [self.outputs, self.library]
        tensors += list(self.likelihood.parameters())
        return tuple(tensor.detach().clone().requires_grad_() for tensor in tensors)

    def unpack(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """Return outputs, library and own parameters by name, from `inputs`."""
        names = [name for name, _ in self.likelihood.named_parameters()]
        own = dict(zip(names, inputs[len(inputs) - len(names) :], strict=True))
        library = inputs[1] if len(inputs) - len(names) == 2 else self.library
        return inputs[0], library, own

    def log_prob(self, *inputs: Tensor, counts: Tensor | None = None) -> Tensor:
        """Return what the likelihood computes, for CSR counts unless others are given."""
        outputs, library, own = self.unpack(inputs)
        distribution = functional_call(self.likelihood, own, (outputs, library))
        return distribution.log_prob(self.counts.to_sparse_csr() if counts is None else counts)


def made_counts(dtype: torch.dtype = torch.float64) -> Tensor:
    """Make counts of shape ``(N_ROWS, N_FEATURES)``: many zeros, an empty row, a large count."""
    counts = torch.poisson(torch.rand(N_ROWS, N_FEATURES)) * 2
    counts[1] = 0
    counts[2, 0] = 30
    return counts.to(dtype)


def _cases() -> Iterator[Case]:
    for name, kind in LIKELIHOODS.items():
        arguments = inspect.signature(kind).parameters.values()
        extended = [argument.name for argument in arguments if argument.default in EXTENTS]
        for extents in product(EXTENTS, repeat=len(extended)):
            yield Case(name, dict(zip(extended, extents, strict=True)))


CASES = list(_cases())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with a `case` argument for each case."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=str)


def within(support: Support, counts: Tensor) -> Tensor:
    """Turn counts into values of this support, zeros included."""
    if support is BINARY:
        return counts.clamp(max=1)
    return counts / (1 + counts) if support is SHARES else counts


def made_values(support: Support, dtype: torch.dtype = torch.float64) -> Tensor:
    """Make values of this support, as `made_counts`; with missing entries where there can be."""
    values = within(support, made_counts(dtype))
    if support.missing:
        values[0, 1] = values[3] = torch.nan
    if support is SHARES:
        values[2, :3] = torch.tensor([0, 1, 1e-4])
    return values


@pytest.fixture
def counts(request: pytest.FixtureRequest) -> Tensor:
    """Values of the support of the test's case, counts if it has none, in float64."""
    has_case = "case" in request.fixturenames
    return made_values(request.getfixturevalue("case").support if has_case else COUNTS)


@pytest.fixture(params=["rows", "lead", "rows-by-one", "no-library"])
def problem(request: pytest.FixtureRequest, case: Case) -> Any:
    """Make a case with its inputs in a type of float; by where the batch axes are."""
    if request.param == "no-library" and case.given_total:
        pytest.skip("models counts given their total")

    def make(dtype: torch.dtype = torch.float64) -> Problem:
        lead = {"lead": (2, N_ROWS), "rows-by-one": (3, 1)}.get(request.param, (N_ROWS,))
        counts = made_values(case.support, dtype)
        library = counts.nansum(-1, keepdim=True).abs() + (not case.given_total)
        likelihood, outputs = case.make(dtype=dtype), case.outputs(*lead, dtype=dtype)
        return Problem(
            likelihood, outputs, None if request.param == "no-library" else library, counts
        )

    return make
