"""The same on a CUDA device, and from there back to the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData
from pyro.infer import TraceEnum_ELBO

from tests.conftest import with_values
from vae4counts.data import Batch
from vae4counts.guides import INPUTS, Encoder, Guide, guide_for
from vae4counts.inference import Compute, Run, evaluate, fit
from vae4counts.models import GMVAE, CountMixture, Model
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.networks import SparseLinear
from vae4counts.models.priors import GaussianMixture, VampPrior

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (GMVAE(7, GaussianMixture(2, 3), library="latent"), "marginal"),
        (GMVAE(7, GaussianMixture(2, 3)), "joint"),
        (GMVAE(7, VampPrior(2, 3)), "marginal"),
        (CountMixture(7, 3), "exact"),
    ],
)
def test_fit_evaluate_save_and_load(
    model: Model, kind: str, precision: Any, adata: AnnData, tmp_path: Path
) -> None:
    guide = guide_for(model, kind)
    state = torch.cuda.get_rng_state()
    run = fit(
        model,
        guide,
        adata,
        epochs=2,
        device="cuda",
        compute=Compute(precision=precision),
        progress=False,
    )
    assert run.device.type == "cuda"
    assert np.isfinite(run.history.validation_elbo).all()
    result = run.evaluate(adata, num_samples=200)
    run.annotate(adata)
    run.posterior(adata, num_samples=3)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    run.save(tmp_path / "run")
    loaded = Run.load(tmp_path / "run")
    assert loaded.device.type == "cpu"
    for name, value in run.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value.cpu()), name
    again = loaded.evaluate(adata, num_samples=200)
    assert again.iw_log_likelihood == pytest.approx(result.iw_log_likelihood, abs=0.2)
    back = Run.load(tmp_path / "run", device="cuda").evaluate(adata, num_samples=200)
    assert back.elbo == pytest.approx(result.elbo, rel=1e-4)  # the same draws


def test_auto_is_cuda(adata: AnnData) -> None:
    model = GMVAE(7, GaussianMixture(2, 3))
    assert fit(model, guide_for(model), adata, epochs=1, progress=False).device.type == "cuda"


def test_sparse_product_and_its_gradient(batch: Batch) -> None:
    layer = SparseLinear(7, 5)
    gradients = []
    for device in ("cpu", "cuda"):
        layer.to(device).zero_grad()
        product = layer(batch.counts.to(device))
        product.square().sum().backward()
        assert layer.weight.grad is not None
        gradients.append((product.detach().cpu(), layer.weight.grad.cpu()))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("inputs", INPUTS)
def test_encoder(inputs: str, batch: Batch) -> None:
    encoder = Encoder((8,), inputs)
    encoder.build(7)
    encoder.eval().inputs.initialise(batch)
    on_cpu = encoder(batch.counts)
    on_cuda = encoder.cuda()(batch.to("cuda").counts)
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihood_and_its_gradient(name: str, batch: Batch) -> None:
    likelihood = LIKELIHOODS[name]()
    likelihood.build(7)
    batch = with_values(batch, likelihood.support)
    outputs = torch.randn(len(batch), 7 * likelihood.outputs_per_feature)
    results = []
    for device in ("cpu", "cuda"):
        given = outputs.to(device).requires_grad_()
        there = batch.to(device)
        library = there.library.unsqueeze(-1) if likelihood.support.counts else None
        distribution = likelihood.to(device)(given, library)
        log_prob = distribution.log_prob(there.counts)
        log_prob.sum().backward()
        assert given.grad is not None
        results.append((log_prob.detach().cpu(), given.grad.cpu()))
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-3)


def test_objective_of_a_pair(pair: tuple[Model, Guide], batch: Batch) -> None:
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(*pair).eval()
    elbo.cuda()
    there = batch.to("cuda")
    loss = elbo(there)
    loss.backward()
    assert loss.device.type == "cuda"
    assert all(p.grad is not None for p in elbo.parameters() if p.requires_grad)
    on_cuda = evaluate(*pair, [there], num_samples=3000)
    elbo.cpu()
    on_cpu = evaluate(*pair, [batch], num_samples=3000)
    assert on_cuda.elbo == pytest.approx(on_cpu.elbo, rel=0.02)
