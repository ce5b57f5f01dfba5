"""The phases of a fit: restarts to choose from, each from new parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from anndata import AnnData

from vae4counts.guides import guide_for
from vae4counts.inference import Schedule, fit
from vae4counts.inference.fitting.history import EpochRecord
from vae4counts.inference.fitting.loop import TrainingLoop
from vae4counts.inference.fitting.resumption import ResumableFit
from vae4counts.models import GMVAE, VAE
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
