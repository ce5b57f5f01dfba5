"""Weights of the KL terms: which sites they concern, how they grow, and when they reach 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO

from vae4counts.data import Batch
from vae4counts.data.counts.batch import Table
from vae4counts.guides import Guide, guide_for
from vae4counts.inference.fitting.handlers import CyclicalAnnealing, KLWarmUp
from vae4counts.models import GMVAE, Model
from vae4counts.models.priors import GaussianMixture


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100, 2000])
def test_weight_grows_from_above_0_to_exactly_1(steps: int) -> None:
    warm_up = KLWarmUp(steps)
    weights = []
    for _ in range(steps + 3):
        weights.append(warm_up.kl_weight)
        assert warm_up.finished == (len(weights) > steps)
        warm_up.step()
    assert weights[0] == 1 / steps
    assert weights == sorted(weights)
    assert all(weight < 1 for weight in weights[: steps - 1])
    assert weights[steps - 1 :] == [1.0] * 4


def test_no_steps_are_no_warm_up() -> None:
    warm_up = KLWarmUp(0)
    assert warm_up.kl_weight == 1
    warm_up.step()
    assert warm_up.finished


def scales(call: Callable[[Batch], Any], batch: Batch, warm_up: KLWarmUp) -> dict[str, float]:
    with warm_up:
        nodes = poutine.trace(call).get_trace(batch).nodes
    return {name: node["scale"] for name, node in nodes.items() if node["type"] == "sample"}


@pytest.mark.parametrize("guide", ["marginal", "joint"])
def test_every_latent_is_tempered_in_model_and_guide_and_counts_never(
    guide: str, batch: Batch
) -> None:
    model = GMVAE(7, GaussianMixture(2, 3, concentration=2.0), library="latent")
    q = guide_for(model, guide)
    warm_up = KLWarmUp(5)
    warm_up.step()
    size = batch.n_observations / len(batch)
    in_model, in_guide = scales(model, batch, warm_up), scales(q, batch, warm_up)
    for site in ("z", "component", "library"):
        assert in_model[site] == pytest.approx(0.4 * size)
    assert in_model["counts"] == size
    assert in_model["weights"] == 1
    sampled = {"z", "library"} | ({"component"} if guide == "joint" else set())
    assert set(in_guide) - {"observations"} == sampled
    for site in sampled:
        assert in_guide[site] == pytest.approx(0.4 * size)


def test_pairs_are_tempered_alike(pair: tuple[Model, Guide], batch: Batch) -> None:
    """The loss is linear in the weight, and at full weight it is the untempered one."""
    if not poutine.trace(pair[1]).get_trace(batch).stochastic_nodes:
        pytest.skip("nothing is sampled, so that there is nothing to temper")
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(*pair)
    elbo.double().eval()
    table = batch.tables["counts"]
    library = None if table.library is None else table.library.double()
    doubled = replace(batch, tables={"counts": Table(table.values.double(), library)})

    def loss(warm_up: KLWarmUp | None) -> torch.Tensor:
        torch.manual_seed(2)
        if warm_up is None:
            return elbo(doubled).detach()
        with warm_up:
            return elbo(doubled).detach()

    warm_up = KLWarmUp(4)
    tempered = []
    for _ in range(4):
        tempered.append(loss(warm_up))
        warm_up.step()
    torch.testing.assert_close(tempered[3], loss(None), rtol=0, atol=0)
    growth = torch.stack(tempered).diff()
    torch.testing.assert_close(growth, growth[:1].expand(3), rtol=1e-6, atol=1e-6)
    assert growth[0] != 0


def test_reconstruction_is_not_changed(batch: Batch) -> None:
    model = GMVAE(7, GaussianMixture(2, 3))
    guide = guide_for(model).eval()
    parts = []
    for steps in (1, 1000):
        torch.manual_seed(1)
        with KLWarmUp(steps), pyro.poutine.trace() as trace:
            guide(batch)
        torch.manual_seed(1)
        with KLWarmUp(steps):
            replayed = poutine.trace(poutine.replay(model, trace.trace)).get_trace(batch)
        replayed.compute_log_prob()
        parts.append(replayed.nodes["counts"]["log_prob_sum"])
    assert torch.equal(parts[0], parts[1])


def test_cycles_rise_rest_and_end() -> None:
    handler = CyclicalAnnealing(steps=8, cycles=2)
    weights = []
    for _ in range(10):
        assert handler.finished == (len(weights) >= 8)
        weights.append(handler.kl_weight)
        handler.step()
    assert weights == [0.5, 1, 1, 1, 0.5, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("cycles", [4, 0])
def test_too_few_steps_for_the_cycles(cycles: int) -> None:
    with pytest.raises(ValueError, match=f"{cycles} cycles need .* steps or more, not 7"):
        CyclicalAnnealing(7, cycles)


def test_handlers_say_how_they_were_made() -> None:
    made = [KLWarmUp(7), CyclicalAnnealing(100, cycles=5)]
    said = ["KLWarmUp(steps=7)", "CyclicalAnnealing(steps=100, cycles=5)"]
    assert list(map(repr, made)) == said
