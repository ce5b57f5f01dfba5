"""What the guides with an encoder have in common, whatever family q(z | x) is of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from anndata import AnnData
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from typer.testing import CliRunner

from vae4counts.data import Batch
from vae4counts.guides import GUIDES, Encoder, guide_for
from vae4counts.guides.amortised import AmortisedGuide
from vae4counts.inference import Run, fit
from vae4counts.inference.cli import app
from vae4counts.models import GMVAE, VAE, MLPDecoder
from vae4counts.models.likelihoods import Poisson
from vae4counts.models.priors import GaussianMixture, StandardNormal

KINDS = [name for name, kind in GUIDES.items() if issubclass(kind, AmortisedGuide)]
LIBRARIES = ["observed", "latent"]


def smooth_pair(kind: str, library: str) -> tuple[VAE, Any]:
    """A pair in float64 with parameters far from their start, whose objective is smooth."""
    decoder = MLPDecoder((5,), norm="layer", activation="silu")
    model = VAE(7, GaussianMixture(2, 3), Poisson(), decoder, library)
    encoder = Encoder((6,), norm="layer", activation="silu", dropout=0.0)
    guide = guide_for(model, kind, encoder)
    for part in (model, guide):
        part.double()
        for parameter in part.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    if library == "latent":
        model.library.loc.fill_(1.5)
    return model, guide


def drawn(guide: Any, batch: Batch) -> tuple[Any, torch.Tensor]:
    """The distribution of ``z``, and a draw."""
    site = poutine.trace(guide).get_trace(batch).nodes["z"]
    return site["fn"], site["value"]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_that_of_finite_differences(
    kind: str, library: str, counts: Any, batch_of: Callable[..., Batch]
) -> None:
    """In random directions, with the same noise."""
    batch = batch_of(counts.clip(max=9), dtype=torch.float64)
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(
        *smooth_pair(kind, library)
    )

    def loss() -> torch.Tensor:
        torch.manual_seed(2)
        return elbo(batch)

    loss().backward()
    for parameter in elbo.parameters():
        start, direction = parameter.data.clone(), torch.randn_like(parameter)
        sides = []
        for h in (1e-5, -1e-5):
            parameter.data.copy_(start + h * direction)
            sides.append(loss().item())
        parameter.data.copy_(start)
        slope = (sides[0] - sides[1]) / 2e-5
        assert parameter.grad is not None
        expected = (parameter.grad * direction).sum().item()
        assert slope == pytest.approx(expected, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_density_does_not_depend_on_how_counts_are_stored(
    kind: str, library: str, batch: Batch
) -> None:
    _, guide = smooth_pair(kind, library)
    guide.eval()
    noise = torch.randn(12, dtype=torch.float64) if library == "latent" else None
    z = torch.randn(12, 2, dtype=torch.float64)
    sparse, dense = (
        guide.distribution(guide.encoder(counts), noise).log_prob(z)
        for counts in (batch.counts.double(), batch.counts.to_dense().double())
    )
    torch.testing.assert_close(sparse, dense)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_draws_and_their_density_are_in_float32_under_autocast(
    kind: str, library: str, batch: Batch
) -> None:
    model = VAE(7, StandardNormal(2), library=library)
    guide = guide_for(model, kind).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        q, z = drawn(guide, batch)
        density = q.log_prob(z)
    assert z.dtype == density.dtype == torch.float32
    assert (z != z.bfloat16()).any()
    # of what was drawn, and not of what bfloat16 made of it
    torch.testing.assert_close(q.log_prob(z.clone()), density, rtol=1e-4, atol=1e-4)
    if kind == "full-covariance":
        noise = torch.linalg.solve_triangular(q.scale_tril, (z - q.loc).unsqueeze(-1), upper=False)
        assert (noise != noise.bfloat16()).any()


@pytest.mark.parametrize("kind", KINDS)
def test_one_latent(kind: str, batch: Batch) -> None:
    model = VAE(7, StandardNormal(1))
    pair = (model, guide_for(model, kind))
    loss = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(*pair)(batch)
    loss.backward()
    assert loss.isfinite()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full-covariance", "flow"])
def test_fit_save_load_and_ask(kind: str, adata: AnnData, tmp_path: Any) -> None:
    model = GMVAE(7, GaussianMixture(2, 3), decoder="linear", library="latent")
    guide = guide_for(model, kind, Encoder((8,)))
    run = fit(model, guide, adata, epochs=2, device="cpu", progress=False)
    run.save(tmp_path / "run")
    loaded = Run.load(tmp_path / "run")
    assert type(loaded.guide) is GUIDES[kind]
    assert loaded.evaluate(adata, num_samples=5) == run.evaluate(adata, num_samples=5)
    run.annotate(adata)
    means = adata.obsm["X_vae"].copy()
    loaded.annotate(adata)
    assert (adata.obsm["X_vae"] == means).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full-covariance", "flow"])
def test_on_the_command_line(kind: str, adata: AnnData, tmp_path: Any) -> None:
    adata.write_h5ad(tmp_path / "a.h5ad")
    options = ["--guide", kind, "--epochs", "2", "--latents", "2"]
    words = ["fit", str(tmp_path / "a.h5ad"), "--out", str(tmp_path / "out"), *options]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert type(Run.load(tmp_path / "out").guide) is GUIDES[kind]


@pytest.mark.slow
def test_zuko_is_not_imported_before_a_guide_is_made() -> None:
    code = """
import sys
import vae4counts
from vae4counts.guides import GUIDES, Encoder
from vae4counts.inference.cli import main
assert "flow" in list(GUIDES)
sys.argv = ["vae4counts", "fit", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code
assert "zuko" not in sys.modules
from vae4counts.guides import FlowGuide
assert "zuko" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert "full-covariance" in done.stdout
