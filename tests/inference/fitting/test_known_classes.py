"""Fits with partial labels: seen in training alone, predicted afterwards."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts.data import Batch, DataError, UnknownName, load
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import CheckpointError, Checkpoints, Run, SplitOptions, fit
from vae4counts.inference.fitting.options import SettingsError
from vae4counts.inference.fitting.step import Steps
from vae4counts.models import GMVAE, Covariates, Labels
from vae4counts.models.priors import GaussianMixture

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"epochs": 12, "batch_size": 16, "progress": False, "device": "cpu"}


@pytest.fixture
def typed() -> AnnData:
    """Four groups of 40 observations, of which 4 have a label in three of them."""
    rng = np.random.default_rng(0)
    group = np.arange(160) % 4
    rates = 0.5 + 6.0 * np.kron(np.eye(4), np.ones((1, 3)))
    adata = AnnData(rng.poisson(rates[group]).astype(np.float32))
    adata.obs_names = [f"o{i}" for i in range(160)]
    adata.obs["truth"] = np.array(["d", "a", "c", "b"])[group]
    shown = pd.Series(np.arange(160) < 32) & pd.Series(group > 0)
    adata.obs["type"] = adata.obs["truth"].where(shown.to_numpy())
    return adata


def fitted(adata: AnnData, n_components: int | None = None, **more: Any) -> Run:
    labels = Labels.of(adata, "type")
    prior = GaussianMixture(2, n_components or len(labels.classes))
    model = GMVAE(adata.n_vars, prior, labels=labels)
    return fit(model, guide_for(model, encoder=Encoder((16,))), adata, **(QUICK | more))


def test_classes_are_predicted_and_an_unknown_one_is_found(typed: AnnData, tmp_path: Path) -> None:
    run = fitted(typed, 4, label="truth")
    run.annotate(typed, num_samples=100)
    predicted = typed.obs["predicted_label"]
    assert set(predicted.cat.categories) == {"a", "b", "c", "unknown 1"}
    wanted = typed.obs["truth"].replace("d", "unknown 1")
    assert (predicted.astype(str) == wanted).mean() > 0.95
    probability = typed.obs["predicted_label_probability"]
    np.testing.assert_allclose(probability, typed.obsm["responsibilities"].max(1))
    found = run.evaluate(typed, num_samples=100)
    truth = typed.obs["truth"].to_numpy()[run.split.test]
    by_hand = (predicted.to_numpy()[run.split.test] == truth).mean()
    assert found.accuracy == run.metrics["accuracy"] == pytest.approx(by_hand)
    assert found.accuracy < 1  # there is no class "d"
    run.save(tmp_path / "run")
    again = Run.load(tmp_path / "run")
    assert again.model.labels.classes == ["a", "b", "c"]
    other = typed.copy()
    again.annotate(other, num_samples=100)
    pd.testing.assert_series_equal(other.obs["predicted_label"], predicted)
    names = again.interpret(typed).component_names(num_samples=16)
    assert list(names[:3]) == ["a", "b", "c"]


def test_only_training_sees_the_labels(typed: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Batch] = []
    forward = GMVAE.forward

    def noting(self: GMVAE, batch: Batch) -> Any:
        seen.append(batch)
        return forward(self, batch)

    monkeypatch.setattr(GMVAE, "forward", noting)
    run = fitted(typed)
    rows = {tuple(row) for batch in seen for row in batch.counts.to_dense().tolist()}
    everything = typed.X.tolist()
    test = {tuple(everything[row]) for row in run.split.test}
    assert all("type" in batch.covariates for batch in seen)
    assert not rows & test
    codes = torch.cat([batch.covariates["type"] for batch in seen])
    assert set(codes.tolist()) == {-1, 0, 1, 2}
    assert run.label == "type"
    seen.clear()
    run.evaluate(typed, num_samples=3)
    run.posterior(typed, 2)
    run.log_likelihoods(typed, 100)
    run.predictive(typed, 2)
    run.interpret(typed).component_profiles(num_samples=8)
    assert seen
    assert all("type" not in batch.covariates for batch in seen)
    # a question about data without the column has the same answer
    bare = AnnData(typed.X, typed.obs[["truth"]])
    wanted = run.evaluate(typed, label=None, num_samples=3).elbo
    assert run.evaluate(bare, label=None, num_samples=3).elbo == wanted
    with pytest.raises(UnknownName, match="label=None"):
        run.evaluate(bare)


def test_labels_of_the_wrong_classes_are_obeyed(typed: AnnData) -> None:
    """The components are the classes by their labels, not by chance."""
    names = dict(zip("abc", "bca", strict=True))
    typed.obs["type"] = typed.obs["type"].map(names)
    run = fitted(typed, 4)
    run.annotate(typed)
    known = typed.obs["truth"] != "d"
    wanted = typed.obs["truth"].map(names)
    assert (typed.obs["predicted_label"].astype(str) == wanted)[known].mean() > 0.95


def test_one_label_of_a_class_is_enough(typed: AnnData) -> None:
    split = pd.Series("train", typed.obs_names)
    split.iloc[-40:-20], split.iloc[-20:] = "validation", "test"
    typed.obs["part"] = split
    first = [1, 2, 3]
    typed.obs["type"] = typed.obs["truth"].where(np.isin(np.arange(160), first))
    run = fitted(typed, 4, split="part")
    run.annotate(typed)
    wanted = typed.obs["truth"].replace("d", "unknown 1")
    assert (typed.obs["predicted_label"].astype(str) == wanted).mean() > 0.95


def test_accuracy_needs_classes_of_the_model(typed: AnnData) -> None:
    run = fitted(typed)
    typed.obs["donor"] = ["p", "q"] * 80
    assert run.evaluate(typed, label="donor", num_samples=2).accuracy is None
    typed.obs["other"] = pd.Categorical(typed.obs["truth"], categories=["z", "d", "c", "b", "a"])
    found = run.evaluate(typed, label="other", num_samples=2)
    assert found.accuracy == run.evaluate(typed, label="truth", num_samples=2).accuracy


def test_bad_labels_are_one_error_before_training(typed: AnnData) -> None:
    labels = Labels("type", ["a", "b", "c"])
    model = GMVAE(12, GaussianMixture(2, 4), labels=labels)
    guide = guide_for(model, encoder=Encoder((16,)))
    other = typed.copy()
    other.obs["type"] = other.obs["truth"]
    with pytest.raises(DataError, match=r"unknown class 'd' at row .*'a', 'b', 'c'"):
        fit(model, guide, other, **QUICK)
    with pytest.raises(UnknownName, match="type"):
        fit(model, guide, AnnData(typed.X), label=None, **QUICK)
    few = typed.copy()
    few.obs.loc[few.obs["type"] == "b", "type"] = None
    with pytest.raises(DataError, match=r"no training observation is labelled 'b'.*--stratify"):
        fit(model, guide, few, **QUICK)
    seeing = Encoder((16,), covariates=Covariates.of(few, ["truth"]))
    model = GMVAE(12, labels=Labels.of(typed, "truth"))
    with pytest.raises(SettingsError, match="'truth' is a covariate of the guide and the label"):
        fit(model, guide_for(model, encoder=seeing), typed, **QUICK)


def test_covariates_beside_labels(typed: AnnData) -> None:
    typed.obs["batch"] = np.array(["x", "y"])[np.random.default_rng(0).integers(2, size=160)]
    covariates = Covariates.of(typed, ["batch"])
    model = GMVAE(12, GaussianMixture(2, 4), covariates=covariates, labels=Labels.of(typed, "type"))
    run = fit(model, guide_for(model, encoder=Encoder((16,))), typed, **QUICK)
    assert run.covariate_columns == {"batch": ["x", "y"]}
    run.annotate(typed)
    assert "predicted_label" in typed.obs


def test_counts_on_disk(typed: AnnData, tmp_path: Path) -> None:
    import scipy.sparse as sp

    typed.X = sp.csr_matrix(typed.X)
    typed.write_h5ad(tmp_path / "counts.h5ad")
    on_disk = load(tmp_path / "counts.h5ad", out_of_core=True)
    run = fitted(on_disk, 4)
    run.annotate(on_disk)
    wanted = on_disk.obs["truth"].astype(str).replace("d", "unknown 1")
    assert (on_disk.obs["predicted_label"].astype(str) == wanted).mean() > 0.95


def test_a_fit_that_was_stopped_continues(
    typed: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted(typed, 4)
    take, taken = Steps.take, []

    def stopping(self: Steps, batch: Batch) -> Any:
        taken.append(0)
        if len(taken) == 70:  # after the components have started
            signal.raise_signal(signal.SIGTERM)
        return take(self, batch)

    monkeypatch.setattr(Steps, "take", stopping)
    with pytest.raises(BaseException, match="stopped after step"):
        fitted(typed, 4, checkpoints=tmp_path / "states")
    monkeypatch.undo()
    other = typed.copy()
    other.obs.loc[other.obs_names[1], "type"] = "b"
    shutil.copytree(tmp_path / "states", tmp_path / "copy")
    resumed = Checkpoints(tmp_path / "states", resume=True)
    with pytest.raises(CheckpointError, match="covariates and labels is not the same"):
        fitted(other, 4, checkpoints=Checkpoints(tmp_path / "copy", resume=True))
    run = fitted(typed, 4, checkpoints=resumed)
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(value, whole.model.state_dict()[name], rtol=0, atol=0)


def test_a_stratified_split_has_all_classes_in_training(typed: AnnData) -> None:
    run = fitted(typed, split=SplitOptions(stratify="type"))
    known = typed.obs["type"].iloc[run.split.train].dropna()
    assert set(known) == {"a", "b", "c"}
