"""The phases of a fit: restarts to choose from, each from new parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from anndata import AnnData

from tests.several_tables import some_tables, three_modalities
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import Schedule, fit
from vae4counts.inference.fitting.history import EpochRecord
from vae4counts.inference.fitting.loop import TrainingLoop
from vae4counts.inference.fitting.resumption import ResumableFit
from vae4counts.inference.fitting.start import start_from_data
from vae4counts.models import GMVAE, VAE, Labels
from vae4counts.models.priors import GaussianMixture, StandardNormal

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"layer": "raw", "progress": False, "device": "cpu"}


@pytest.mark.parametrize("kind", ["marginal", "joint"])
def test_training_continues_from_the_best_of_the_restarts(kind: str, adata: AnnData) -> None:
    torch.manual_seed(0)
    model = GMVAE(7, GaussianMixture(2, 3))
    run = fit(
        model, guide_for(model, kind), adata, epochs=20, schedule=Schedule(restarts=3), **QUICK
    )
    short = run.history[run.history.phase == "restart"]
    full = run.history[run.history.phase == "full"]
    assert len(short) + (run.history.phase == "plain").sum() == 4
    assert len(full) == 16
    assert (full.kl_weight == 1).all()
    assert run.settings["schedule"]["restarts"] == 3


def test_rare_tables_start_at_as_many_observations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vae4counts.inference.fitting.start.MOMENT_OBSERVATIONS", 5)
    tables, model = some_tables(), three_modalities()
    guide = guide_for(model, "product", Encoder((6,), norm="none"))
    seen: dict[str, int] = {}
    for name, modality in model.modalities.items():
        monkeypatch.setattr(
            modality,
            "initialise",
            lambda own, name=name: seen.update({name: len(own.index.unique())}),
        )
    start_from_data(model, guide, tables, seed=0)
    assert min(seen.values()) >= 5


def test_one_epoch_is_spent_on_choosing(adata: AnnData) -> None:
    model = VAE(7, StandardNormal(2))
    run = fit(model, guide_for(model), adata, epochs=1, schedule=Schedule(restarts=2), **QUICK)
    assert list(run.history.phase) == ["restart"]


def test_a_restart_has_new_parameters_and_the_best_are_kept(
    adata: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, elbos = [], iter([1.0, 5.0, 3.0, 0.0])

    def trained(_: ResumableFit, make: Callable[[], TrainingLoop], __: Any) -> list[EpochRecord]:
        training = make()
        states.append(training.model.decoder.output.weight.detach().clone())
        return [EpochRecord(training.phase.name, 1, 1, 1.0, 0.0, next(elbos), 0.0, 1.0)]

    monkeypatch.setattr(ResumableFit, "train", trained)
    torch.manual_seed(0)
    model = VAE(7, StandardNormal(2))
    fit(model, guide_for(model), adata, epochs=10, schedule=Schedule(restarts=3), **QUICK)
    assert len(states) == 4
    for i in range(3):
        assert torch.equal(states[3], states[i]) == (i == 1)


@pytest.mark.parametrize(("unlabelled", "plain"), [(0.0, 10), (0.5, 13), (0.9, 15)])
def test_the_plain_twin_trains_longer_where_few_are_labelled(
    unlabelled: float, plain: int, adata: AnnData
) -> None:
    adata.obs["kind"] = ["x", "y"] * (adata.n_obs // 2)
    adata.obs.iloc[: int(unlabelled * adata.n_obs), adata.obs.columns.get_loc("kind")] = ""
    model = GMVAE(7, GaussianMixture(2, 2), labels=Labels.of(adata, "kind"))
    run = fit(model, guide_for(model), adata, epochs=20, **QUICK)
    assert (run.history.phase == "plain").sum() == pytest.approx(plain, abs=1)
