"""Each input scaling equals its dense formula, on sparse and dense counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vae4counts.data import Batch
from vae4counts.guides import INPUTS, Encoder, InputScaling, guide_for
from vae4counts.guides.inputs import InputLayer
from vae4counts.models import GMVAE
from vae4counts.models.likelihoods import LIKELIHOODS


def per_library(x: np.ndarray) -> np.ndarray:
    total = x.sum(1, keepdims=True)
    return np.divide(1e4 * x, total, out=np.zeros_like(x), where=total > 0)


def standardise(x: np.ndarray) -> np.ndarray:
    deviation = x.std(0)
    varies = deviation > 1e-6
    return np.where(varies, (x - x.mean(0)) / np.where(varies, deviation, 1), 0)


# The formula that each name stands for.
FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "log1p": np.log1p,
    "counts-per-scale": per_library,
    "log1p-counts-per-scale": lambda x: np.log1p(per_library(x)),
    "standardised": standardise,
}
COMBINED = [
    ((False, True, True), lambda x: standardise(np.log1p(x))),
    ((True, False, True), lambda x: standardise(per_library(x))),
    ((True, True, True), lambda x: standardise(np.log1p(per_library(x)))),
]
CASES = [(INPUTS[name](), formula) for name, formula in FORMULAS.items()]
CASES += [(InputScaling(*switches), formula) for switches, formula in COMBINED]


@pytest.fixture(params=["mostly zeros", "all zero"])
def x(request: pytest.FixtureRequest, counts: np.ndarray) -> np.ndarray:
    """Counts with an empty row, an empty feature and a constant one; or zeros only."""
    counts = counts.astype(float)
    counts[:, 4] = 0
    constant = np.full((len(counts), 1), 3.0)
    constant[3] = 3 if request.param == "all zero" else 0
    together = np.hstack([counts, constant])
    return np.zeros_like(together) if request.param == "all zero" else together


def test_every_name_has_a_formula() -> None:
    assert set(FORMULAS) == set(INPUTS)


@pytest.mark.parametrize(("scaling", "formula"), CASES)
@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_scaling_equals_the_formula(
    scaling: InputScaling,
    formula: Callable[[np.ndarray], np.ndarray],
    layout: str,
    x: np.ndarray,
    batch_of: Callable[..., Batch],
) -> None:
    batch = batch_of(x, dtype=torch.float64)
    scaling.build(8)
    scaling.double().initialise(batch)
    given = batch.counts if layout == "sparse" else batch.counts.to_dense()
    scaled = scaling(given)
    assert scaled.layout == given.layout
    shift = 0 if scaling.shift is None else scaling.shift
    np.testing.assert_allclose(scaled.to_dense() - shift, formula(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("scaling", "formula"), CASES)
def test_first_layer_equals_the_product_with_the_formula(
    scaling: InputScaling,
    formula: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    batch_of: Callable[..., Batch],
) -> None:
    batch = batch_of(x, dtype=torch.float64)
    scaling.build(8)
    layer = InputLayer(scaling.double(), 8, 3).double()
    torch.nn.init.normal_(layer.bias)
    scaling.initialise(batch)
    inputs = torch.as_tensor(formula(x))
    wanted = inputs @ layer.linear.weight + layer.bias
    torch.testing.assert_close(layer(batch.counts), wanted)
    torch.testing.assert_close(layer(batch.counts.to_dense()), wanted)
    layer(batch.counts).square().sum().backward()
    torch.testing.assert_close(layer.linear.weight.grad, (2 * inputs.T @ wanted).detach())


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("library", [False, True])
def test_constant_features_are_scaled_to_zero_in_float32(
    library: bool, log: bool, batch_of: Callable[..., Batch]
) -> None:
    x = np.tile([0, 1, 3, 7, 20, 1000], (1437, 1)).astype(np.float32)
    x[5, 3] = np.nextafter(x[5, 3], np.float32(8))  # as a vectorised log1p may round
    scaling = InputScaling(library, log, standardise=True)
    scaling.build(6)
    batch = batch_of(x)
    scaling.initialise(batch)
    assert (scaling(batch.counts).to_dense() - scaling.shift == 0).all()


@pytest.mark.parametrize("inputs", INPUTS)
def test_counts_are_left_as_they_were(inputs: str, batch: Batch) -> None:
    before = batch.counts.to_dense().clone()
    encoder = Encoder(hidden=(4,), inputs=inputs)
    encoder.build(7)
    encoder.inputs.initialise(batch)
    encoder(batch.counts).sum().backward()
    assert torch.equal(batch.counts.to_dense(), before)
    assert batch.counts.grad is None


def test_moments_travel_with_the_state_once(batch: Batch) -> None:
    encoder = Encoder(hidden=(4,), inputs="standardised")
    encoder.build(7)
    encoder.inputs.initialise(batch)
    held = [name for name, value in encoder.state_dict().items() if value.shape == (7,)]
    assert held == ["inputs.mean", "inputs.deviation"]


@pytest.mark.parametrize("inputs", ["standardised", "identity"])
def test_missing_entries_read_as_the_mean(inputs: str) -> None:
    x = torch.randn(20, 4, dtype=torch.float64) * 3 - 5
    x[::3, 1], x[:, 3] = torch.nan, torch.nan
    scaling = INPUTS[inputs]()
    scaling.build(4)
    layer = InputLayer(scaling.double(), 4, 3).double()
    if inputs == "standardised":
        scaling.start(x)
    wanted = torch.zeros(20, 4, dtype=torch.float64)
    for j in range(3):
        there = ~x[:, j].isnan()
        known = x[there, j]
        standard = (known - known.mean()) / known.std(correction=0)
        wanted[there, j] = known if inputs == "identity" else standard
    torch.testing.assert_close(layer(x), wanted @ layer.linear.weight + layer.bias)


def test_values_outside_the_domain_of_a_logarithm_are_not_taken_for_missing() -> None:
    scaling = INPUTS["log1p"]()
    assert scaling(torch.tensor([[-3.0, torch.nan]])).isnan().tolist() == [[True, False]]


@pytest.mark.parametrize("kind", ["marginal", "joint"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_encoders_scale_as_the_likelihood_wants(kind: str, likelihood: str) -> None:
    scalings = {"counts": "log1p", "bernoulli": "identity"}
    made = LIKELIHOODS[likelihood]()
    name = "counts" if made.support.counts else likelihood
    wanted = INPUTS[scalings.get(name, "standardised")]().config()
    model = GMVAE(5, likelihood=made)
    assert guide_for(model, kind).encoder.inputs.config() == wanted
    assert guide_for(model, kind, Encoder(hidden=(4,))).encoder.inputs.config() == wanted
    chosen = guide_for(model, kind, Encoder(inputs="counts-per-scale")).encoder.inputs
    assert chosen.config() == INPUTS["counts-per-scale"]().config()
