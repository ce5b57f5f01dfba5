"""What a run says of data: annotations for scanpy, draws for ArviZ, loadings."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData, concat, read_h5ad

from vae4counts.data import Batch, CountLoader
from vae4counts.guides import Guide, guide_for
from vae4counts.inference import Run, fit
from vae4counts.inference.posterior import arviz as arviz_module
from vae4counts.inference.posterior import draws as draws_module
from vae4counts.inference.posterior.arviz_export import to_arviz
from vae4counts.inference.posterior.samplers import FromGuide
from vae4counts.models import VAE, CountMixture


def test_annotation(run: Run, adata: AnnData) -> None:
    run.annotate(adata)
    assert adata.obsm["X_vae"].shape == (100, 2)
    shares = adata.obsm["responsibilities"]
    assert shares.shape == (100, 3)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    assert set(adata.obs["component"].cat.categories) <= {"0", "1", "2"}
    assert (adata.obs["component"].astype(int) == shares.argmax(1)).all()
    assert adata.obs["component_entropy"].between(0, np.log(3) + 1e-6).all()
    table = run.loadings()
    assert table is not None
    assert list(table.index) == list(adata.var_names)
    weight = run.model.decoder.output.weight.detach().numpy()
    np.testing.assert_allclose(adata.varm["loadings"], weight - weight.mean(0), atol=1e-6)
    assert json.loads(adata.uns["vae4counts"]["model"]) == run.model.config()
    means, _ = run.guide.posterior(counts_of(adata))
    np.testing.assert_allclose(adata.obsm["X_vae"], means.detach(), rtol=1e-4, atol=1e-5)


def test_the_record_of_an_annotation_is_small_and_plain(
    run: Run, adata: AnnData, tmp_path: Path
) -> None:
    run.annotate(adata)
    record = adata.uns["vae4counts"]
    text = json.dumps(record)  # nothing but text and lists
    assert len(text) < 5_000
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = read_h5ad(tmp_path / "a.h5ad").uns["vae4counts"]
    assert {**again, "written": list(again["written"])} == record


def test_a_run_says_what_it_is(run: Run) -> None:
    rest = {name: value for name, value in vars(run).items() if name != "metrics"}
    training = {"epoch_kept": 2}
    elbo = run.history.validation_elbo[1]
    kept = f"of which epoch 2 was kept: validation ELBO {elbo:.2f} nats"
    assert repr(Run(**rest, metrics=training)).splitlines() == [
        "Run",
        f"    model     {run.model.title}",
        "    guide     MarginalGuide",
        "    data      100 observations x 7 features (80 train, 10 validation, 10 test)",
        f"    training  {len(run.history)} epochs, {kept}",
        "    held out  not evaluated yet",
        "    next      run.evaluate(adata), .annotate, .check, .interpret, .report; "
        "run.save(directory)",
    ]
    assert "ELBO -1.50 nats" in repr(Run(**rest, metrics=training | {"elbo": -1.5}))
    exact = training | {"elbo": -1.5, "log_likelihood": -1.25}
    assert "log-likelihood -1.25 nats" in Run(**rest, metrics=exact)._repr_html_()
    assert "epoch" in repr(Run(**rest, metrics={}))  # as of older versions


def counts_of(adata: AnnData) -> torch.Tensor:
    return next(iter(CountLoader(adata, batch_size=100, shuffle=False))).counts


def test_repeated_names_of_features(adata: AnnData) -> None:
    adata.var_names = ["a", "a", "b", "c", "d", "e", "f"]
    model = VAE(7, decoder="linear")
    run = fit(model, guide_for(model), adata, epochs=1, progress=False, device="cpu")
    run.annotate(adata)
    assert adata.varm["loadings"].shape == (7, 10)


def test_posterior_for_arviz(run: Run, adata: AnnData) -> None:
    posterior = run.posterior(adata, num_samples=6)
    sites = posterior["posterior"]
    assert set(sites.data_vars) == {"z", "component", "library"}
    assert sites["z"].dims == ("chain", "draw", "obs", "latent")
    assert sites["z"].shape == (1, 6, 100, 2)
    assert sites["component"].dims == ("chain", "draw", "obs")
    assert list(sites["z"].coords["obs"].values) == list(adata.obs_names)
    assert set(np.unique(sites["component"])) <= {0, 1, 2}
    assert posterior["log_likelihood"]["counts"].shape == (1, 6, 100)


def test_posterior_of_a_mixture_without_a_network(adata: AnnData) -> None:
    model = CountMixture(7, 3)
    run = fit(model, guide_for(model), adata, epochs=2, progress=False, device="cpu")
    posterior = run.posterior(adata, num_samples=4)
    assert set(posterior["posterior"].data_vars) == {"component"}
    run.annotate(adata)
    assert "X_vae" not in adata.obsm
    assert run.loadings() is None


@pytest.mark.parametrize("limit", [10**9, 20 * 30])
def test_components_are_drawn_together_with_z(
    limit: int,
    few: Batch,
    a_pair: Callable[..., tuple[VAE, Guide]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In each draw the component is one that its own z speaks for."""
    monkeypatch.setattr(draws_module, "CHUNK_NUMBERS", limit)
    model, guide = a_pair("mixture", "marginal", n_latent=1, wide=True)
    with torch.no_grad():
        model.prior.loc.copy_(torch.tensor([[-9.0], [0.0], [9.0]]))
        model.prior.log_scale.fill_(-1)
        guide.head.linear.weight.zero_()
        guide.head.linear.bias.copy_(torch.tensor([0.0, 9.0]))
    names = [f"x{i}" for i in range(5)]
    drawn: Any = to_arviz(
        model, FromGuide(model.eval(), guide.eval()), [few], names, list("abcd"), 200
    )["posterior"]
    z, component = drawn["z"].values[..., 0], drawn["component"].values
    assert z.shape == component.shape == (1, 200, 5)
    nearest = np.abs(z[..., None] - np.array([-9, 0, 9])).argmin(-1)
    clear = np.abs(np.abs(z) - 4.5) > 0.5
    assert (component == nearest)[clear].all()
    assert len(np.unique(component)) == 3


def test_fitted_data_are_known_by_names_and_counts(run: Run, adata: AnnData) -> None:
    assert run.knows(adata)
    further = adata[:, :1].copy()
    further.var_names = ["further"]
    wider = concat([adata, further], axis="var", merge="same")
    assert run.knows(wider)
    other = adata.copy()
    assert run.layer is not None
    other.layers[run.layer] = other.layers[run.layer] * 2
    assert not run.knows(other)
    assert not run.knows(adata[::-1])
    renamed = adata.copy()
    renamed.obs_names = [f"new-{name}" for name in adata.obs_names]
    assert run.evaluate(renamed, num_samples=2).n == adata.n_obs
    assert "n_test" not in run.metrics


def test_the_converter_does_without_torch() -> None:
    """So that it can be tried with a newer ArviZ in a small environment."""
    source = Path(arviz_module.__file__).read_text(encoding="utf-8")
    imported = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    }
    packages = {str(name).split(".")[0] for name in imported}
    assert packages == {
        "__future__",
        "arviz",
        "collections",
        "numpy",
        "typing",
        "xarray",
    }
