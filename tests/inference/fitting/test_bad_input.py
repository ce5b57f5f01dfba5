"""What cannot be fitted or evaluated is refused in one plain line, before anything is changed."""

from __future__ import annotations

from typing import Any

import anndata
import numpy as np
import pytest
import torch
from anndata import AnnData

from vae4counts.data import DataError, UnknownName
from vae4counts.guides import (
    IncompatiblePairError,
    JointGuide,
    MarginalGuide,
    guide_for,
)
from vae4counts.inference import FreeNats, Run, Schedule, SettingsError, fit
from vae4counts.models import GMVAE, VAE, CountMixture, GaussianMixtureModel, Model
from vae4counts.models.priors import GaussianMixture, VampPrior


def refused(adata: AnnData, model: Model | None = None, **settings: Any) -> None:
    """Fit, and make sure that the error is one line and that nothing was changed."""
    model = VAE(7) if model is None else model
    guide = settings.pop("guide", None) or guide_for(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises((ValueError, KeyError)) as caught:
        fit(model, guide, adata, progress=False, **{"epochs": 1, "device": "cpu"} | settings)
    assert all(torch.equal(before[name], v) for name, v in model.state_dict().items())
    assert "\n" not in str(caught.value)
    raise caught.value


@pytest.mark.parametrize(
    "model",
    [
        GMVAE(7, GaussianMixture(2, 81)),
        GMVAE(7, VampPrior(2, 81)),
        CountMixture(7, 81),
        GaussianMixtureModel(7, 81),
    ],
    ids=lambda model: type(model).__name__,
)
def test_more_components_than_observations(model: Model, adata: AnnData) -> None:
    with pytest.raises(ValueError, match="81 states of 'component' but there are only 80 training"):
        refused(adata, model)


@pytest.mark.slow
def test_as_many_components_as_observations_is_allowed(adata: AnnData) -> None:
    model = GMVAE(7, GaussianMixture(2, 24))
    run = fit(model, guide_for(model), adata[:30].copy(), epochs=1, progress=False, device="cpu")
    assert len(run.split.train) == 24
    assert np.isfinite(run.evaluate(adata, num_samples=2).elbo)


def test_another_number_of_features(adata: AnnData) -> None:
    with pytest.raises(ValueError, match="the model has 9 features but the data have 7"):
        refused(adata, VAE(9))


@pytest.mark.parametrize(
    ("model", "guide", "what"),
    [
        (VAE(7), JointGuide(7, 10, 3), "JointGuide does not fit VAE with StandardNormal"),
        (VAE(7), MarginalGuide(7, 3), "n_latent=3 but the model has 10"),
        (VAE(7), MarginalGuide(8, 10), "n_features=8 but the model has 7"),
        (VAE(7, library="latent"), MarginalGuide(7, 10), "latent_library=False"),
        (VAE(7), MarginalGuide(7, 10, latent_library=True), "latent_library=True"),
        (GMVAE(7, GaussianMixture(2, 3)), JointGuide(7, 2, 4), "n_components=4"),
        (CountMixture(7, 3), MarginalGuide(7, 10), "MarginalGuide does not fit CountMixture"),
    ],
)
def test_guides_made_for_another_model(model: Model, guide: Any, what: str, adata: AnnData) -> None:
    with pytest.raises(IncompatiblePairError, match=what):
        refused(adata, model, guide=guide)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": -3}, "epochs is -3"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"device": "tpu"}, "'tpu'.*auto, cpu, cuda"),
        ({"schedule": Schedule(warm_up_steps=1000)}, "would never reach 1"),
        (
            {"schedule": Schedule(handlers=[FreeNats(0.1)])},
            r"FreeNats.*guide_for\(model, 'joint'\)",
        ),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], what: str, adata: AnnData) -> None:
    with pytest.raises(ValueError, match=what):
        refused(adata, **settings)


def test_a_device_that_does_not_exist(adata: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="torch finds no CUDA device"):
        refused(adata, device="cuda")


def test_names_that_are_not_there(adata: AnnData) -> None:
    with pytest.raises(UnknownName, match=r"layer 'counts'.*'raw'"):
        refused(adata, layer="counts")
    with pytest.raises(UnknownName, match=r"label column 'cell_type'.*'group'"):
        refused(adata, label="cell_type")
    with pytest.raises(KeyError):
        refused(adata, label="cell_type")


@pytest.mark.parametrize(("value", "what"), [(-1, "negative"), (0.5, "fractional"), (np.nan, "")])
def test_values_that_are_no_counts(value: float, what: str, adata: AnnData) -> None:
    adata.X = adata.X.toarray()
    adata.X[3, 2] = value
    with pytest.raises(DataError, match=f"{what}.*cell3.*gene2|cell3.*gene2.*{what}"):
        refused(adata)


def test_too_few_observations() -> None:
    with pytest.raises(DataError, match="2 observations cannot be split"):
        refused(AnnData(np.ones((2, 7))))


def test_guide_of_a_vamp_prior_need_not_be_attached_by_hand(adata: AnnData) -> None:
    model = GMVAE(7, VampPrior(2, 3))
    used, _ = MarginalGuide(7, 2), guide_for(model)
    run = fit(model, used, adata, epochs=1, progress=False, device="cpu")
    inputs = torch.nn.functional.softplus(run.model.prior.pseudo_inputs)
    assert torch.equal(run.model.prior.components()[0], run.guide.posterior(inputs)[0])


def test_missing_features(run: Run, adata: AnnData) -> None:
    with pytest.raises(DataError, match=r"2 of the model's 7 features .* missing.*'gene0'"):
        run.evaluate(adata[:, 2:].copy())
    with pytest.raises(DataError, match="missing"):
        run.annotate(adata[:, 2:].copy())


def test_missing_layer_or_label_at_evaluation(run: Run, adata: AnnData) -> None:
    with pytest.raises(UnknownName, match=r"label column 'x'.*'group'"):
        run.evaluate(adata, label="x")
    del adata.layers["raw"]
    with pytest.raises(UnknownName, match="layer 'raw'"):
        run.evaluate(adata)


def test_features_are_found_by_name(run: Run, adata: AnnData) -> None:
    wanted = run.evaluate(adata, num_samples=5)
    shuffled = adata[:, [3, 1, 6, 0, 2, 5, 4]].copy()
    with pytest.warns(UserWarning, match="not in the model's order: they are matched by name"):
        assert run.evaluate(shuffled, num_samples=5) == wanted
    more = AnnData(np.ones((100, 2)), obs=adata.obs, layers={"raw": np.ones((100, 2))})
    wider = anndata.concat([more, adata], axis="var", merge="first")
    assert run.evaluate(wider, num_samples=5) == wanted
    run.annotate(wider)
    table = run.loadings()
    assert table is not None
    assert np.isnan(wider.varm["loadings"][:2]).all()
    np.testing.assert_array_equal(wider.varm["loadings"][2:], table.to_numpy())
