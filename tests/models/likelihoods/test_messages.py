"""Values and arguments that are refused, and how a likelihood describes itself."""

import json
from typing import Any

import pyro
import pytest
import torch

from vae4counts.data.counts.support import BINARY, COUNTS, REAL, SHARES
from vae4counts.models.config import from_config
from vae4counts.models.likelihoods import LIKELIHOODS, Categorical, Multinomial, PoissonCounts

REFUSED = {
    COUNTS: ("whole numbers, 0 or more", [-1, 0.5, torch.nan, torch.inf]),
    BINARY: ("0 or 1", [-1, 0.5, 2, torch.nan, torch.inf]),
    REAL: ("finite numbers", [torch.inf, -torch.inf]),
    SHARES: ("numbers between 0 and 1", [-0.1, 1.1, 2, torch.inf]),
}


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
def test_values_outside_the_support(case: Any, sparse: bool) -> None:
    distribution = case.distribution(1, library=torch.tensor([[1.0]], dtype=torch.float64))
    description, refused = REFUSED[case.support]
    for value in refused:
        values = torch.tensor([[1.0, value, 0, 0, 0]])
        with pytest.raises(ValueError, match=f"values must be {description}"):
            distribution.log_prob(values.to_sparse_csr() if sparse else values)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
def test_values_of_other_features(case: Any, sparse: bool) -> None:
    distribution = case.distribution(1, library=torch.tensor([[1.0]], dtype=torch.float64))
    values = torch.tensor([[1.0, 0, 0, 0]])
    with pytest.raises(ValueError, match=r"values of 4 features .* distribution over 5"):
        distribution.log_prob(values.to_sparse_csr() if sparse else values)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "csr"])
def test_nothing_is_checked_where_checks_are_off(case: Any, sparse: bool) -> None:
    counts = torch.tensor([[1.0, 0.5, 0, 0, 0]])
    with pyro.validation_enabled(False):
        distribution = case.distribution(1, library=counts.sum(-1, keepdim=True).double())
        for each in (distribution, distribution.expand([1])):
            assert each.log_prob(counts.to_sparse_csr() if sparse else counts).isfinite().all()


def test_checks_are_switched_by_the_constructor() -> None:
    counts = torch.tensor([0.5])
    with pyro.validation_enabled(True):
        unchecked = PoissonCounts(torch.ones(1), validate_args=False)
        assert unchecked.expand([2]).log_prob(counts).isfinite().all()
    with pyro.validation_enabled(False):
        checked = PoissonCounts(torch.ones(1), validate_args=True)
        with pytest.raises(ValueError, match="whole numbers"):
            checked.expand([2]).log_prob(counts)


def test_unknown_extents_list_the_known(case: Any) -> None:
    for argument in case.extents:
        with pytest.raises(ValueError, match=f"{argument} is 'gene'.*shared, feature, observation"):
            LIKELIHOODS[case.name](**{argument: "gene"})


def test_multinomial_needs_a_total() -> None:
    likelihood = Multinomial()
    likelihood.build(5)
    with pytest.raises(ValueError, match="library='observed'"):
        likelihood(torch.zeros(1, 5), None)


@pytest.mark.parametrize("n_classes", [1, 0, -3])
def test_categorical_needs_two_classes(n_classes: int) -> None:
    with pytest.raises(ValueError, match=f"n_classes is {n_classes}: it must be 2 or more"):
        Categorical(n_classes)


def test_configuration_builds_an_equal_likelihood(case: Any) -> None:
    likelihood = case.make()
    config = json.loads(json.dumps(likelihood.config()))
    built = from_config(config)
    assert type(built) is type(likelihood)
    assert built.config() == config
    assert config["type"] == f"{type(likelihood).__module__}.{type(likelihood).__name__}"
    assert config.items() >= case.extents.items()
    built.build(5)
    built.load_state_dict(likelihood.state_dict())
    assert built.outputs_per_feature == likelihood.outputs_per_feature


def test_repr_states_the_arguments(case: Any) -> None:
    text = repr(case.make())
    assert text.startswith(type(case.make()).__name__)
    assert all(f"{name}={extent!r}" in text for name, extent in case.extents.items())


def test_own_parameters_have_the_size_of_their_extent(case: Any) -> None:
    sizes = {"shared": 1, "feature": 5}
    own = {name: parameter.numel() for name, parameter in case.make().own.items()}
    assert own == {name: sizes[e] for name, e in case.extents.items() if e in sizes}


def test_initial_outputs_give_the_mean(case: Any) -> None:
    likelihood = LIKELIHOODS[case.name](**case.extents)
    likelihood.build(5)
    mean = torch.tensor([0.1, 0.2, 0.12, 0.15, 0.3])
    assert likelihood.start(torch.stack([0.5 * mean, 1.5 * mean])).isfinite().all()
    outputs = likelihood.initial_outputs(mean)
    assert outputs.shape == (likelihood.outputs_per_feature * 5,)
    library = mean.sum().reshape(1, 1) if case.given_total else None
    found = likelihood(outputs[None], library).mean[0]
    # the gate removes 5 % of the counts, and the last class lumps all larger counts
    torch.testing.assert_close(found, mean, rtol=0.06, atol=1e-4)
