"""Shapes at public boundaries, checked at run time by ``pytest --shapes``.

jaxtyping says what the shapes are and beartype checks them. Neither is needed to use the package:
the annotations stand here, in a table, and its functions are replaced by checked ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from beartype import beartype
from jaxtyping import Float, Int, jaxtyped
from torch import Tensor

from vae4counts import guides, models
from vae4counts.data import Batch, CountMatrix
from vae4counts.guides.heads import GaussianHead
from vae4counts.models import Configured, Decoder, Model, priors
from vae4counts.models import likelihoods as families
from vae4counts.models.joint import JointDistribution

Latents = Float[Tensor, "*batch L"]
PerObservation = Float[Tensor, "*batch"]
Components = tuple[Float[Tensor, "K L"], Float[Tensor, "K L"]]
Gaussians = tuple[Float[Tensor, "B L"], Float[Tensor, "B L"]]
Counts = Float[Tensor, "B G"]

# Each class with a method and its annotations; subclasses that override the method are meant too.
SHAPES: list[tuple[type, str, dict[str, Any]]] = [
    (Batch, "to", {"return": Batch}),
    (CountMatrix, "batch", {"index": Int[Tensor, "B"], "return": Batch}),
    (Model, "rates", {"z": Latents, "return": Float[Tensor, "*batch G"]}),
    (Model, "loadings", {"return": Float[Tensor, "G L"] | None}),
    (Model, "turn", {"axes": Float[Tensor, "L L"]}),
    (Model, "groups", {"z": Float[Tensor, "n L"], "return": Float[Tensor, "n C"] | None}),
    (Model, "start_at", {"z": Float[Tensor, "n L"], "shares": Float[Tensor, "n C"]}),
    (priors.Prior, "log_prob", {"z": Latents, "return": PerObservation}),
    (priors.MixturePrior, "components", {"return": Components}),
    (priors.MixturePrior, "log_weights", {"return": Float[Tensor, "K"]}),
    (
        priors.MixturePrior,
        "responsibilities",
        {"z": Latents, "return": Float[Tensor, "*batch K"]},
    ),
    (Decoder, "forward", {"z": Latents, "return": Float[Tensor, "*batch O"]}),
    (families.Likelihood, "rates", {"return": Float[Tensor, "*batch G"]}),
    (families.Likelihood, "initial_outputs", {"mean": Float[Tensor, "G"]}),
    (
        JointDistribution,
        "log_prob_at",
        {
            "columns": Int[Tensor, "F"],
            "values": Float[Tensor, "F"],
            "return": Float[Tensor, "*batch F"],
        },
    ),
    (guides.Encoder, "forward", {"counts": Counts, "return": Float[Tensor, "B H"]}),
    (guides.MarginalGuide, "posterior", {"counts": Counts, "return": Gaussians}),
    (
        GaussianHead,
        "forward",
        {
            "features": Float[Tensor, "*batch H"],
            "return": tuple[Float[Tensor, "*batch N"], Float[Tensor, "*batch N"]],
        },
    ),
]


def checked(function: Callable[..., Any], annotations: dict[str, Any]) -> Callable[..., Any]:
    """Return a copy of a function that checks what it is given, and gives, by annotations."""
    assert isinstance(function, FunctionType)
    copy = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__, copy.__qualname__ = function.__kwdefaults__, function.__qualname__
    copy.__module__, copy.__doc__ = function.__module__, function.__doc__
    copy.__annotations__ = dict(annotations)
    return jaxtyped(copy, typechecker=beartype)


def _kinds(base: type) -> Iterator[type]:
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


@contextmanager
def checked_shapes() -> Iterator[int]:
    """Check all shapes of the table, inside a ``with`` block; gives how many methods there are."""
    for package in (guides, models, families, priors):
        for name in package.__all__:
            getattr(package, name)  # so that all subclasses are there
    assert len(Configured.registry) > 20
    replaced: list[tuple[Any, str, Any]] = []
    for base, name, shapes in SHAPES:
        for kind in _kinds(base):
            own = vars(kind).get(name)
            if isinstance(own, FunctionType):
                replaced.append((kind, name, own))
                setattr(kind, name, checked(own, shapes))
    try:
        yield len(replaced)
    finally:
        for kind, name, own in replaced:
            setattr(kind, name, own)
