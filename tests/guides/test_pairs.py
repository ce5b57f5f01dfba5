"""Every pair of the registries can be trained, described, saved and printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from safetensors.torch import load, save

from vae4counts.data import Batch
from vae4counts.guides import GUIDES, INPUTS, Guide, guide_for
from vae4counts.models import VAE, Model, from_config
from vae4counts.models.library import LIBRARIES
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.networks import DECODERS
from vae4counts.models.priors import PRIORS, VampPrior

Pair = tuple[Model, Guide]


def loss(pair: Pair, batch: Batch) -> torch.Tensor:
    torch.manual_seed(1)
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)
    if not any(p.requires_grad for part in pair for p in part.parameters()):
        return torch.tensor(elbo.loss(*pair, batch))  # of a model that only learns from all data
    return elbo(*pair)(batch)


def test_every_parameter_gets_a_gradient(pair: Pair, batch: Batch) -> None:
    value = loss(pair, batch)
    assert value.shape == ()
    assert value.isfinite()
    if value.requires_grad:
        value.backward()
    modules = {"model": pair[0], "guide": pair[1]}
    named = [(f"{m}.{n}", p) for m in modules for n, p in modules[m].named_parameters()]
    assert named
    for name, parameter in ((n, p) for n, p in named if p.requires_grad):
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_sites_have_one_value_for_each_observation(pair: Pair, batch: Batch) -> None:
    model, guide = pair
    drawn = poutine.trace(guide).get_trace(batch)
    traced = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(batch)
    traced.compute_log_prob()
    sites = {name for name in traced.nodes if traced.nodes[name]["type"] == "sample"}
    assert sites <= {"z", "component", "library", "counts", "weights", "observations"}
    for name in sites - {"observations", "weights"}:
        assert traced.nodes[name]["log_prob"].shape == (len(batch),), name
    if "z" in sites:
        assert traced.nodes["z"]["value"].shape == (len(batch), model.prior.n_latent)
    assert set(drawn.stochastic_nodes) <= sites


def test_description_builds_an_equal_pair(pair: Pair, batch: Batch) -> None:
    written = json.loads(json.dumps([part.config() for part in pair]))
    model, guide = from_config(written)
    assert [model.config(), guide.config()] == [part.config() for part in pair]
    for built, part in zip((model, guide), pair, strict=True):
        assert type(built) is type(part)
        shapes = {name: value.shape for name, value in part.state_dict().items()}
        assert {name: value.shape for name, value in built.state_dict().items()} == shapes


def test_saved_state_gives_the_same_loss_to_the_last_bit(pair: Pair, batch: Batch) -> None:
    states = [load(save(part.state_dict())) for part in pair]
    torch.manual_seed(99)
    model, guide = from_config([part.config() for part in pair])
    guide.attach(model)
    model.load_state_dict(states[0])
    guide.load_state_dict(states[1])
    for built, part in zip((model, guide), pair, strict=True):
        built.eval(), part.eval()
    assert torch.equal(loss((model, guide), batch), loss(pair, batch))


def test_repr_names_the_parts(pair: Pair) -> None:
    for part in pair:
        shown = repr(part)
        assert shown.startswith(type(part).__name__)
        assert all(type(child).__name__ in shown for child in part.children())


def test_batch_of_one_observation(pair: Pair, batch_of: Callable[..., Any]) -> None:
    value = loss(pair, batch_of([[0, 3, 0, 0, 1, 0, 0]], n_observations=5))
    if value.requires_grad:
        value.backward()
    assert value.isfinite()


def test_registries_are_all_covered(specs: list[Any]) -> None:
    covered = {part for spec in specs for part in vars(spec).values()}
    for registry in (PRIORS, LIKELIHOODS, GUIDES, DECODERS, LIBRARIES, INPUTS):
        # the guide of several tables is in test_product.py
        assert set(registry) - {"product"} <= covered


def test_a_vamp_prior_is_one_density_while_it_trains(batch: Batch) -> None:
    """It has no dropout, no batch changes its moments, and the guide keeps its own modes."""
    model = VAE(7, VampPrior(2, 3))
    guide = guide_for(model)
    model.prior.initialise(batch)
    guide.train()
    guide.encoder.layers[1].eval()
    modes = [module.training for module in guide.modules()]
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    first, again = model.prior.components(), model.prior.components()
    assert all(map(torch.equal, first, again))
    assert all(value.equal(before[name]) for name, value in guide.state_dict().items())
    assert [module.training for module in guide.modules()] == modes
    settled = guide.eval().posterior(torch.nn.functional.softplus(model.prior.pseudo_inputs))
    assert all(map(torch.equal, first, settled))
