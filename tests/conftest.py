"""Fixtures for all tests: synthetic data, small instances, every pair of the registries."""

from __future__ import annotations

import gc
import inspect
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyro
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

from vae4counts import models
from vae4counts.data import Batch
from vae4counts.data.counts.batch import COUNTS, Table
from vae4counts.data.counts.support import BINARY, SHARES, Support
from vae4counts.guides import GUIDES, INPUTS, Encoder, Guide, guide_for
from vae4counts.inference.parallel.threads import kept_threads
from vae4counts.models import GMVAE, VAE, Covariates, Factor, Model, Number, start_from_data
from vae4counts.models.joint import JOINT_MODELS
from vae4counts.models.library import LIBRARIES
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.networks import DECODERS
from vae4counts.models.priors import PRIORS, MixturePrior

N_FEATURES = 7
SIZES = {"n_features": N_FEATURES, "n_latent": 2, "n_components": 3, "hidden": (8,)}
Pair = tuple[Model, Guide]
COVARIATES = Covariates(
    [Factor("site", ["x", "y"]), Factor("donor", ["1", "2", "3"], embedding=2)],
    [Number("depth", mean=0.5, deviation=0.3)],
    [[0.5, 0, 1], [0.3, 1, 0], [0.2, 1, 2]],
)
MODELS: dict[str, type[Model]] = {
    "vae": models.VAE,
    "gmvae": models.GMVAE,
    "count-vae": models.CountVAE,
    "count-gmvae": models.CountGMVAE,
    "count-mixture": models.CountMixture,
    "gaussian-mixture": models.GaussianMixtureModel,
    **JOINT_MODELS,
}


def small(kind: Callable[..., Any], **given: Any) -> Any:
    """Make a small instance, with those of the given arguments that its constructor takes."""
    names = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in (SIZES | given).items() if name in names})


@dataclass(frozen=True)
class Spec:
    """A model/guide pair, by the names of its parts."""

    model: str
    prior: str
    guide: str
    likelihood: str = "negative-binomial"
    library: str | None = "observed"
    decoder: str = "mlp"
    inputs: str | None = None
    covariates: str = "none"

    def make_model(self) -> Model:
        kind = MODELS[self.model]
        named = inspect.signature(kind).parameters
        told = self.covariates != "none"
        parts: dict[str, Any] = {"decoder": small(DECODERS[self.decoder])}
        parts |= {"prior": small(PRIORS[self.prior])} if "prior" in named else {}
        likelihood = small(LIKELIHOODS[self.likelihood], **({"by": "site"} if told else {}))
        parts |= {"likelihood": likelihood, "library": self.library}
        return small(kind, **parts, **({"covariates": COVARIATES} if told else {}))

    def make(self) -> Pair:
        model = self.make_model()
        seen = COVARIATES if self.covariates == "seen by both" else None
        encoder = small(Encoder, inputs=self.inputs, covariates=seen)
        return model, guide_for(model, self.guide, encoder)

    @property
    def support(self) -> Support:
        """The values that the model accepts."""
        return LIKELIHOODS[self.likelihood].support

    @property
    def possible(self) -> bool:
        """Whether there is such a model and a guide of this kind for it."""
        mixture = issubclass(PRIORS[self.prior], MixturePrior)
        if issubclass(MODELS[self.model], GMVAE) and not mixture:
            return False
        if self.library == "latent" and not issubclass(MODELS[self.model], VAE):
            return False
        if LIKELIHOODS[self.likelihood].library_is_total and self.library != "observed":
            return False
        if not self.support.counts and self.library is not None:
            return False
        if self.covariates == "seen by both" and PRIORS[self.prior].needs_posterior:
            return False
        return GUIDES[self.guide].fits(self.make_model())


SOME_GUIDES = ("marginal", "joint", "exact")


def _specs() -> Iterator[Spec]:
    """Yield every model with every prior, one with every guide; then its other parts varied."""
    for model, kind in MODELS.items():
        takes_prior = "prior" in inspect.signature(kind).parameters
        # those that sample the component, and one that sums it out: others differ in q(z | x) alone
        guides = GUIDES if model == "vae" else SOME_GUIDES
        for prior in PRIORS if takes_prior else ["gaussian-mixture"]:
            yield from (Spec(model, prior, guide) for guide in guides)
        yield from (Spec(model, "gaussian-mixture", guide, library="latent") for guide in guides)
    for guide in SOME_GUIDES:
        base = ("vae", "gaussian-mixture", guide)
        for likelihood in LIKELIHOODS:
            yield from (Spec(*base, likelihood, library) for library in LIBRARIES)
        yield from (Spec(*base, decoder=decoder) for decoder in DECODERS)
        yield from (Spec(*base, inputs=inputs) for inputs in INPUTS)
    for told in ("seen by the model", "seen by both"):
        yield from (Spec("vae", prior, "marginal", covariates=told) for prior in PRIORS)
        yield from (Spec("vae", "gaussian-mixture", guide, covariates=told) for guide in GUIDES)
    for likelihood, kind in LIKELIHOODS.items():
        library = "observed" if kind.support.counts else None
        base = ("gmvae", "gaussian-mixture", "marginal", likelihood, library)
        yield Spec(*base, covariates=told)
    for decoder in DECODERS:
        yield Spec("gmvae", "gaussian-mixture", "marginal", decoder=decoder, covariates=told)


SPECS = {
    "/".join(str(part) for part in vars(spec).values()): spec for spec in _specs() if spec.possible
}


def prepare(pair: Pair, batch: Batch) -> None:
    """Start a pair from data, as fitting does."""
    for module in pair:
        start_from_data(module, batch)


def make_batch(counts: Any, *, n_observations: int | None = None, dtype: Any = None) -> Batch:
    """Make a batch of all rows of a matrix, as if drawn from ``n_observations`` observations."""
    dense = torch.as_tensor(np.asarray(counts), dtype=dtype or torch.float32)
    rows = torch.arange(len(dense))
    return Batch.of_counts(
        counts=dense.to_sparse_csr(),
        library=dense.sum(-1),
        index=rows,
        n_observations=n_observations or len(dense),
        covariates={"site": rows % 2, "donor": rows % 3, "depth": rows / len(dense)},
    )


def with_values(batch: Batch, support: Support) -> Batch:
    """Return a batch with values of another support, made of its counts; one of them missing."""
    if support.counts:
        return batch
    counts = batch.counts.to_dense()
    if support is BINARY:
        table = Table(counts.clamp(max=1).to_sparse_csr())
    else:
        values = counts / (1 + counts) if support is SHARES else torch.log1p(counts) - 1
        values[-1, 0] = torch.nan
        table = Table(values)
    return replace(batch, tables={COUNTS: table})


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Start each test at the same random state, with Pyro's checks on.

    What a test calls may start numba, which changes the number of threads.
    """
    torch.manual_seed(0)
    with pyro.validation_enabled(True), kept_threads():
        yield


@pytest.fixture(autouse=True, scope="session")
def _heard() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, which a shell turns off for background processes."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(params=SPECS.values(), ids=list(SPECS))
def spec(request: pytest.FixtureRequest) -> Spec:
    """Each pair of the registries, by name."""
    return request.param


@pytest.fixture(params=MODELS.values(), ids=list(MODELS))
def model_kind(request: pytest.FixtureRequest) -> type[Model]:
    """Each class of models."""
    return request.param


@pytest.fixture(scope="session")
def specs() -> list[Spec]:
    """All pairs of the registries."""
    return list(SPECS.values())


@pytest.fixture
def pair(spec: Spec, batch: Batch) -> Pair:
    """Each pair of the registries, started from the batch."""
    made = spec.make()
    prepare(made, batch)
    return made


@pytest.fixture
def counts() -> np.ndarray:
    """A matrix of counts, mostly zeros, with an empty row and some large counts."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.5, 1.5, size=(12, N_FEATURES)))
    counts[3] = 0
    counts[5, 2] = 400
    return counts


@pytest.fixture
def batch(counts: np.ndarray, batch_of: Callable[..., Batch]) -> Batch:
    """All of `counts`, as a batch from a data set of 30 observations."""
    return batch_of(counts, n_observations=30)


@pytest.fixture(scope="session")
def two_groups() -> AnnData:
    """100 observations of 7 counts in two groups, with names, a label and a layer."""
    rng = np.random.default_rng(1)
    group = rng.integers(2, size=100)
    rates = np.array([[4, 4, 4, 0.3, 0.3, 0.3, 1], [0.3, 0.3, 0.3, 4, 4, 4, 1]])
    counts = sp.csr_matrix(rng.poisson(rates[group]).astype(np.float32))
    rows = np.arange(100)
    columns = {
        "group": np.array(["a", "b"])[group],
        "site": np.array(["x", "y"])[rows % 2],
        "donor": rows % 3 + 1,
        "depth": rows / 100,
    }
    obs = pd.DataFrame(columns, [f"cell{i}" for i in rows])
    var = pd.DataFrame(index=[f"gene{j}" for j in range(N_FEATURES)])
    return AnnData(counts, obs, var, layers={"raw": counts.copy()})


@pytest.fixture
def adata(two_groups: AnnData) -> AnnData:
    """`two_groups`, to change at will."""
    return two_groups.copy()


# What people call features, classes and files, and what has a meaning in some language.
NASTY = (
    "",
    " ",
    "_hidden",
    "$",
    "$x$",
    "$x^{$",
    r"a\$b$c",
    "[bold]",
    "[/]",
    "[link=x]",
    ":smile:",
    "</script><script>alert(1)</script>",
    "<!--",
    "a & b",
    'a"b',
    "{braces}",
    "%s",
    "a\nb",
    "a\tb\r",
    "\x1b[31mred",
    "zero\x00",
    "x" * 300,
    "Zählung Ω",
    "细胞",
    "خلية",
    "👩‍🔬",
    "\u202eleft",
    "no\xa0break",
    "surrogate\udc80",
    "-rf",
    "../up",
    "a/b",
    "1.0",
    "nan",
    "None",
    "'quoted'",
)


@pytest.fixture(scope="session")
def nasty() -> tuple[str, ...]:
    """Names that mean something to matplotlib, rich, HTML, a terminal or a shell."""
    return NASTY


@pytest.fixture(scope="session")
def make() -> Callable[..., Any]:
    """The function `small`."""
    return small


@pytest.fixture
def batch_of(request: pytest.FixtureRequest) -> Callable[..., Batch]:
    """The function `make_batch`; for a test of a pair, with values that its model accepts."""
    if "spec" not in request.fixturenames:
        return make_batch
    support = request.getfixturevalue("spec").support
    return lambda *args, **options: with_values(make_batch(*args, **options), support)


@pytest.fixture(scope="session")
def start() -> Callable[[Pair, Batch], None]:
    """The function `prepare`."""
    return prepare


@pytest.fixture(autouse=True, scope="module")
def _settled() -> None:
    """Exempt what has been imported and collected from garbage collection.

    Looking through it took a fifth of the tests' time. Once for each module, since the command
    ``fit`` makes all objects ordinary again when it ends.
    """
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that checks shapes at public boundaries, see `shapes.py`."""
    parser.addoption("--shapes", action="store_true", help="check shapes at public boundaries")


@pytest.fixture(autouse=True, scope="session")
def _shapes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check shapes in all tests where that is asked for."""
    if not request.config.getoption("--shapes"):
        yield
        return
    sys.path.insert(0, str(Path(__file__).parent))
    from shapes import checked_shapes

    with checked_shapes():
        yield
