"""A fit that was stopped continues so that only the clock can tell."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData

from vae4counts.data import load
from vae4counts.guides import guide_for
from vae4counts.inference import (
    Balance,
    CheckpointError,
    Checkpoints,
    Compute,
    CyclicalAnnealing,
    FitInterrupted,
    KLWarmUp,
    Run,
    Schedule,
    SplitOptions,
    fit,
)
from vae4counts.inference.fitting.step import Steps
from vae4counts.models import GMVAE, VAE, Model
from vae4counts.models.priors import GaussianMixture, StandardNormal, VampPrior

pytestmark = pytest.mark.slow

QUICK = {"epochs": 6, "batch_size": 16, "progress": False, "device": "cpu"}


class Chance(KLWarmUp):
    """A handler that draws from all global random states, and stops the fit after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self.drawn = 0.0

    def step(self) -> None:
        super().step()
        self.drawn += random.random() + np.random.rand() + torch.rand(()).item()  # noqa: NPY002, S311

    def penalty(self) -> float:
        return self.drawn

    def state(self) -> dict[str, Any]:
        return {**super().state(), "drawn": self.drawn}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.drawn = state["drawn"]


def schedule(**options: Any) -> Schedule:
    return Schedule(patience=2, **options)


def mixture() -> Model:
    return GMVAE(7, GaussianMixture(2, 3), library="latent")


def plain() -> Model:
    return VAE(7, StandardNormal(2))


def vamp() -> Model:
    return GMVAE(7, VampPrior(2, 3))


FITS: dict[str, tuple[Callable[[], Model], str, dict[str, Any]]] = {
    "plain": (plain, "marginal", {}),
    "mixture": (mixture, "marginal", {}),
    "joint": (mixture, "joint", {"schedule": schedule(handlers=[Balance(0.1)])}),
    "vamp": (vamp, "marginal", {}),
    "handlers": (
        plain,
        "marginal",
        {"schedule": schedule(handlers=[CyclicalAnnealing(20), Chance(4)])},
    ),
    "restarts": (mixture, "marginal", {"schedule": schedule(restarts=3), "epochs": 15}),
    "bf16": (plain, "marginal", {"compute": Compute(precision="bf16-mixed")}),
}


def fitted(kind: str, adata: AnnData, **settings: Any) -> Run:
    torch.manual_seed(0)
    make, guide, own = FITS[kind]
    model = make()
    options = {**QUICK, "learning_rate": 1e-3, "schedule": schedule(), **own, **settings}
    return fit(model, guide_for(model, guide), adata, **options)


def same(first: Run, second: Run) -> bool:
    """Whether two runs are equal, bit for bit, in all but their seconds."""
    histories = [run.history.drop(columns="seconds") for run in (first, second)]
    clock = {"seconds": 0, "observations_per_second": 0}
    states = [
        torch.nn.ModuleDict({"model": run.model, "guide": run.guide}).state_dict()
        for run in (first, second)
    ]
    return (
        histories[0].equals(histories[1])
        and first.metrics | clock == second.metrics | clock
        and states[0].keys() == states[1].keys()
        and all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    )


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let a signal ask the process to stop in the middle of a step."""
    take, taken = Steps.take, 0

    def counted(self: Steps, batch: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken == steps:
            signal.raise_signal(signal.SIGTERM)
        return take(self, batch)

    monkeypatch.setattr(Steps, "take", counted)


# 5 steps an epoch: in an epoch, at its end, at the end of a training, in the last epoch
STOPS = [(kind, 13) for kind in FITS]
STOPS += [("plain", 5), ("mixture", 3), ("mixture", 10), ("mixture", 29)]
STOPS += [("restarts", 50)]


@pytest.fixture(scope="module")
def whole() -> dict[str, Run]:
    """Fits that are not stopped, of each kind that has been asked for."""
    return {}


@pytest.mark.parametrize(("kind", "steps"), STOPS)
def test_a_resumed_fit_is_the_fit_bit_for_bit(
    kind: str,
    steps: int,
    whole: dict[str, Run],
    adata: AnnData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind not in whole:
        whole[kind] = fitted(kind, adata)
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        with pytest.raises(FitInterrupted, match=f"stopped after step {steps}: .* saved in"):
            fitted(kind, adata, checkpoints=Checkpoints(tmp_path))
    torch.rand(7), random.seed(9)
    assert same(fitted(kind, adata, checkpoints=Checkpoints(tmp_path, resume=True)), whole[kind])


def test_another_number_of_threads_is_said(
    adata: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 13)
        with pytest.raises(FitInterrupted):
            fitted("plain", adata, checkpoints=Checkpoints(tmp_path), compute=Compute(threads=1))
    before = torch.get_num_threads()
    with pytest.warns(UserWarning, match="the number of threads was 1, and is 2: the result"):
        run = fitted(
            "plain",
            adata,
            checkpoints=Checkpoints(tmp_path, resume=True),
            compute=Compute(threads=2),
        )
    assert run.metrics["threads"] == 2
    assert torch.get_num_threads() == before


def test_counts_on_disk_are_taken_up_in_the_middle_of_an_epoch(
    adata: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata.write_h5ad(tmp_path / "counts.h5ad")
    on_disk = load(tmp_path / "counts.h5ad", out_of_core=True)
    whole = fitted("plain", on_disk)
    with monkeypatch.context() as patch:
        stop_after(patch, 13)
        with pytest.raises(FitInterrupted):
            fitted("plain", on_disk, checkpoints=Checkpoints(tmp_path / "state"))
    assert same(
        fitted("plain", on_disk, checkpoints=Checkpoints(tmp_path / "state", resume=True)), whole
    )


@pytest.mark.parametrize("every", [7, timedelta(microseconds=1)])
def test_checkpoints_change_nothing_and_the_last_two_are_kept(
    every: int | timedelta, adata: AnnData, tmp_path: Path
) -> None:
    run = fitted("mixture", adata, checkpoints=Checkpoints(tmp_path, every))
    assert same(run, fitted("mixture", adata))
    last = (28, 30) if every == 7 else (29, 30)  # one is written when training ends
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"step-{n:09d}" for n in last]
    assert same(fitted("mixture", adata, checkpoints=Checkpoints(tmp_path, resume=True)), run)


def test_the_seconds_of_all_processes_are_added_up(adata: AnnData, tmp_path: Path) -> None:
    fitted("plain", adata, checkpoints=Checkpoints(tmp_path, 29))
    path = tmp_path / "step-000000029" / "state.json"
    seconds = json.loads(path.read_text())["seconds"]
    run = fitted("plain", adata, checkpoints=Checkpoints(tmp_path, resume=True))
    assert run.metrics["seconds"] > seconds


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batch_size": 20}, "batch_size was 16, and is 20$"),
        ({"epochs": 9, "seed": 3}, "epochs was 6, and is 9; seed was 0, and is 3$"),
        (
            {"schedule": schedule(handlers=[KLWarmUp(3)])},
            r"schedule.handlers was \[\], and is \['KLWarmUp\(steps=3\)'\]$",
        ),
        ({"split": SplitOptions(test=0.2)}, "split.test was 0.1, and is 0.2$"),
    ],
)
def test_other_settings_are_another_fit(
    changed: dict[str, Any], said: str, adata: AnnData, tmp_path: Path
) -> None:
    fitted("plain", adata, checkpoints=Checkpoints(tmp_path, 25))
    with pytest.raises(CheckpointError, match=f"step-000000030 is of another fit: {said}"):
        fitted("plain", adata, checkpoints=Checkpoints(tmp_path, resume=True), **changed)


def test_other_data_and_other_models_are_another_fit(adata: AnnData, tmp_path: Path) -> None:
    fitted("plain", adata, checkpoints=Checkpoints(tmp_path, 25))
    renamed = adata.copy()
    renamed.obs_names = [f"x{i}" for i in range(100)]
    with pytest.raises(CheckpointError, match="another fit: data is not the same"):
        fitted("plain", renamed, checkpoints=Checkpoints(tmp_path, resume=True))
    with pytest.raises(CheckpointError, match="another fit: model is not the same"):
        fitted("mixture", adata, checkpoints=Checkpoints(tmp_path, resume=True))


def test_without_a_checkpoint_the_fit_begins(adata: AnnData, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="holds no checkpoint: the fit begins"):
        run = fitted("plain", adata, checkpoints=Checkpoints(tmp_path / "none", resume=True))
    assert same(run, fitted("plain", adata))


def test_checkpoints_of_another_fit_are_not_overwritten(adata: AnnData, tmp_path: Path) -> None:
    fitted("plain", adata, checkpoints=Checkpoints(tmp_path, 25))
    with pytest.raises(CheckpointError, match="continue from them with resume=True"):
        fitted("plain", adata, checkpoints=Checkpoints(tmp_path))


def test_a_signal_leaves_handlers_and_random_states_as_they_were(
    adata: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop_after(monkeypatch, 2)
    torch.manual_seed(5)
    model = plain()
    guide = guide_for(model)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    with pytest.raises(FitInterrupted):
        fit(model, guide, adata, checkpoints=Checkpoints(tmp_path), **QUICK)
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert before[2] == after[2]
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
