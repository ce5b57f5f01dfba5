# ruff: noqa: PD011 (`values` are a field of a table, not of a pandas object)
"""Runs on several tables: fitted, kept, recognised and asked, wherever the tables are."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData
from torch import nn
from torch.distributions import constraints

from vae4counts import models
from vae4counts.data import (
    Batch,
    DataError,
    MultiData,
    UnknownName,
    load,
    read_tables,
    write_h5mu,
)
from vae4counts.guides import ExactGuide, Guide
from vae4counts.inference import Run, RunDirectoryError, SettingsError, SplitOptions, fit
from vae4counts.inference.cli.results import annotate, annotated_name, check_annotation
from vae4counts.inference.run.fingerprint import fingerprint
from vae4counts.models import Model, observations

N = 40
RANDOM = np.random.default_rng(0)
RNA = RANDOM.poisson(3.0, (N, 4)).astype(np.float32)
LEVEL = RANDOM.normal(2.0, 1.0, (N, 3)).astype(np.float32)
LEVEL[2, 1] = np.nan
LACK = [5, 6, 30]  # observations without levels


class TwoTables(Model):
    """Independent counts and levels: the mean of each is known in closed form."""

    latents = ()
    tables = ("rna", "level")

    def __init__(self, rna: int = 4, level: int = 3) -> None:
        super().__init__()
        self.rna, self.level = rna, level
        self.n_features = self.numbers_per_draw = rna + level
        self.log_rate = nn.Parameter(torch.zeros(rna))
        self.mean = nn.Parameter(torch.zeros(level))

    @property
    def table_sizes(self) -> Mapping[str, int]:
        return {"rna": self.rna, "level": self.level}

    @property
    def supports(self) -> Mapping[str, Any]:
        return {"rna": constraints.nonnegative_integer, "level": constraints.real}

    def forward(self, batch: Batch) -> torch.Tensor:
        with observations(batch):
            return self.observe(batch)

    def observe(self, batch: Batch) -> torch.Tensor:
        families = {
            "rna": dist.Poisson(self.log_rate.exp()),
            "level": dist.Normal(self.mean, torch.ones_like(self.mean)),
        }
        for name, family in families.items():
            table = batch.tables[name]
            dense = table.values.to_dense() if name == "rna" else table.values
            whole = dense.new_full((len(batch), dense.shape[1]), torch.nan)
            whole[slice(None) if table.rows is None else table.rows] = dense
            known = ~whole.isnan()
            masked = family.expand(whole.shape).mask(known).to_event(1)
            pyro.sample(name, masked, obs=whole.nan_to_num(0.0))
        return whole


def named(n: int) -> list[str]:
    return [f"c{i}" for i in range(n)]


@pytest.fixture
def rna() -> AnnData:
    return AnnData(
        sp.csr_matrix(RNA),
        pd.DataFrame({"site": ["x", "y"] * (N // 2)}, index=named(N)),
        pd.DataFrame(index=["A", "B", "C", "S"]),
    )


@pytest.fixture
def multi(rna: AnnData) -> MultiData:
    rows = np.setdiff1d(np.arange(N), LACK)[::-1]
    names = pd.DataFrame(index=[f"c{i}" for i in rows])
    return MultiData({"rna": rna, "level": AnnData(LEVEL[rows], names, FEATURES)})


@pytest.fixture
def arrays(rna: AnnData) -> AnnData:
    """The same in one AnnData."""
    level = LEVEL.copy()
    level[LACK] = np.nan
    rna.obsm["level"] = pd.DataFrame(level, rna.obs_names, FEATURES.index)
    return rna


FEATURES = pd.DataFrame(index=["S", "T", "U"])
PLACES = {"rna": "X", "level": "obsm/level"}


def fitted(data: Any, **options: Any) -> Run:
    options = {"epochs": 2} | options
    return fit(TwoTables(), ExactGuide(), data, progress=False, **options)


def test_modalities_in_any_form_are_the_same_data(multi: MultiData, arrays: AnnData) -> None:
    here, there = fitted(multi), fitted(arrays, modalities=PLACES)
    assert here.features == there.features == ["A", "B", "C", "rna:S", "level:S", "T", "U"]
    assert here.table_features == {"rna": here.features[:4], "level": here.features[4:]}
    assert (here.modalities, there.modalities) == (None, PLACES)
    assert here.fingerprint == there.fingerprint
    assert here.fingerprint.startswith("tables:")
    assert there.knows(arrays)
    assert here.on(arrays, modalities=PLACES).is_fitted
    assert there.on(multi, modalities=None).is_fitted
    assert torch.equal(here.model.mean, there.model.mean)
    assert torch.equal(here.model.log_rate, there.model.log_rate)


def test_a_saved_run_recognises_its_data(arrays: AnnData, tmp_path: Path) -> None:
    run = fitted(arrays, modalities=PLACES)
    run.save(tmp_path / "run")
    again = Run.load(tmp_path / "run")
    assert (again.modalities, again.widths) == (PLACES, {"rna": 4, "level": 3})
    assert again.table_features == run.table_features
    assert again.knows(arrays)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["format"] == 4
    for field, wrong in (
        ("widths", {"rna": 4, "level": 4}),
        ("widths", {"rna": 7, "level": True}),
        ("modalities", {"rna": 3}),
    ):
        (tmp_path / "run" / "config.json").write_text(json.dumps(config | {field: wrong}))
        with pytest.raises(RunDirectoryError, match=f"field '{field}'"):
            Run.load(tmp_path / "run")


@pytest.mark.parametrize("change", ["count", "level", "missing", "absent", "name", "zero"])
def test_other_data_are_other_data(multi: MultiData, change: str) -> None:
    supports = TwoTables().supports
    known = fingerprint(multi.obs_names, read_tables(multi, supports))
    again = fingerprint(multi.obs_names, read_tables(multi, supports))
    assert again == known
    rna, level = multi["rna"], multi["level"].copy()
    if change == "count":
        rna.X[3, 1] += 1
    elif change == "level":
        level.X[3, 1] = np.nextafter(level.X[3, 1], np.float32(9))
    elif change == "missing":
        level.X[3, 1] = np.nan
    elif change == "absent":
        level = level[1:].copy()
    elif change == "name":
        rna.obs_names = [*rna.obs_names[:-1], "other"]
    else:
        level.X[level.X[0, 0] == level.X] = -0.0
    other = MultiData({"rna": rna, "level": level})
    found = fingerprint(other.obs_names, read_tables(other, supports))
    assert found != known
    if change == "zero":  # both zeros are one value
        level.X[level.X == 0] = 0.0
        same = MultiData({"rna": rna, "level": level})
        assert fingerprint(same.obs_names, read_tables(same, supports)) == found


def test_features_are_matched_by_modality(multi: MultiData) -> None:
    run = fitted(multi)
    level = multi["level"]
    turned = MultiData({"level": level[:, ["T", "U", "S"]].copy(), "rna": multi["rna"]}, multi.obs)
    with pytest.warns(UserWarning, match="features of modality 'level' are not in the model's"):
        on = run.on(turned)
    assert on.is_fitted
    prefixed = level.copy()
    prefixed.var_names = ["level:S", "T", "U"]
    assert run.knows(MultiData({"rna": multi["rna"], "level": prefixed}))
    fewer = MultiData({"rna": multi["rna"], "level": level[:, ["S", "T"]].copy()})
    with pytest.raises(
        DataError, match=r"1 of the model's 3 features \(33%\) are missing from mod"
    ):
        run.on(fewer)


def test_a_missing_value_feature_is_missing_and_a_missing_count_is_zero(
    multi: MultiData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vae4counts.inference.run.alignment.MAX_MISSING_SHARE", 0.5)
    run = fitted(multi)
    mod = {"rna": multi["rna"][:, :3].copy(), "level": multi["level"][:, :2].copy()}
    with (
        pytest.warns(UserWarning, match="from modality 'rna'.* taken to have no counts"),
        pytest.warns(UserWarning, match="from modality 'level'.* taken to have no values"),
    ):
        on = run.on(MultiData(mod))
    (batch,) = on.counts.batches(N)
    rna, level = batch.tables.values()
    assert (rna.values.to_dense()[:, 3] == 0).all()
    assert level.values[:, 2].isnan().all()


def test_new_data_may_lack_a_modality(multi: MultiData, rna: AnnData) -> None:
    run = fitted(multi)
    with pytest.warns(UserWarning, match="data lack the modality 'level'"):
        on = run.on(MultiData({"rna": rna}))
    assert not on.is_fitted
    (batch,) = on.counts.batches(N)
    assert batch.tables["level"].values.shape == (0, 3)
    assert batch.tables["level"].rows.tolist() == []
    with pytest.raises(UnknownName, match="no modality 'level'"):
        fitted(MultiData({"rna": rna}))


def test_min_counts_are_of_all_tables_of_counts(multi: MultiData) -> None:
    run = fitted(multi, split=SplitOptions(min_counts=12))
    kept = np.sort(np.concatenate([run.split.train, run.split.validation, run.split.test]))
    np.testing.assert_array_equal(kept, np.flatnonzero(RNA.sum(1) >= 12))
    # observations of which nothing is counted are kept
    some = MultiData({"rna": multi["rna"][:20].copy(), "level": multi["level"]})
    run = fitted(some, split=SplitOptions(min_counts=12))
    kept = np.sort(np.concatenate([run.split.train, run.split.validation, run.split.test]))
    counted = RNA[:20].sum(1)
    wanted = [f"c{i}" for i in range(N) if (counted[i] >= 12 if i < 20 else i not in LACK)]
    assert sorted(some.obs_names[kept]) == sorted(wanted)


def test_bad_input(multi: MultiData, arrays: AnnData) -> None:
    with pytest.raises(SettingsError, match=r"modalities is \['rna'\]: it must be like"):
        fitted(multi, modalities=["rna"])
    with pytest.raises(SettingsError, match="modalities is"):
        fitted(multi, modalities={"rna": 1})
    with pytest.raises(UnknownName, match="no array in obsm 'rna'"):
        fitted(arrays)
    with pytest.raises(UnknownName, match="no table of the model 'counts'"):
        fitted(arrays, modalities={"counts": "X", **PLACES})
    multi["level"].X[2, 1] = np.inf
    with pytest.raises(DataError, match=r"^Modality 'level' has the value inf at row 2"):
        fitted(multi)
    few = MultiData({"rna": multi["rna"], "level": multi["level"][:, [0, 2]].copy()})
    with pytest.raises(
        SettingsError,
        match="3 features of 'level' but the data have 2: make the model with Modality",
    ):
        fitted(few)


def test_results_go_to_where_the_data_are_from(multi: MultiData, arrays: AnnData) -> None:
    run = fitted(arrays, modalities=PLACES)
    run.annotate(arrays)
    assert arrays.uns["vae4counts"]["written"] == []
    on = run.on(multi, modalities=None)
    on.annotate()
    assert multi.uns["vae4counts"]["written"] == []
    with pytest.raises(DataError, match="for the counts of one AnnData only"):
        on.annotate(denoised=True)
    multi.uns["vae4counts"] = "mine"
    with pytest.raises(DataError, match=r"uns\['vae4counts'\] exists already"):
        on.annotate()


def test_older_runs_have_one_table(tmp_path: Path, run: Run, adata: AnnData) -> None:
    run.save(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    assert (config["modalities"], config["widths"]) == (None, None)
    del config["modalities"], config["widths"]
    path.write_text(json.dumps(config | {"format": 3}))
    again = Run.load(tmp_path / "run")
    assert again.table_features == {"counts": run.features}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert again.knows(adata)


class Latent(TwoTables):
    """The same with a latent that nothing depends on, so that there is something to write."""

    latents = (models.Latent("z", "latent"),)
    n_latent = 2

    def forward(self, batch: Batch) -> torch.Tensor:
        with observations(batch):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return self.observe(batch)


class Library(Guide):
    """A latent that is the total count, by which rows are recognised; -1 without counts."""

    sites = ("z",)

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1e-3))

    @classmethod
    def fits(cls, model: Model) -> bool:
        return model.n_latent == 2

    @classmethod
    def for_model(cls, model: Model, encoder: Any) -> Guide:
        return cls()

    def forward(self, batch: Batch) -> torch.Tensor:
        table = batch.tables["rna"]
        total = torch.full((len(batch),), -1.0)
        total[slice(None) if table.rows is None else table.rows] = table.library
        loc = torch.stack([total, total], 1)
        with observations(batch):
            return pyro.sample("z", dist.Normal(loc, self.scale.abs() + 1e-6).to_event(1))


@pytest.mark.parametrize("form", ["multi", "arrays", "file", "mudata"])
def test_latents_are_written_for_all_observations(
    form: str, multi: MultiData, arrays: AnnData, tmp_path: Path
) -> None:
    data: Any = arrays if form == "arrays" else MultiData({**multi.mod, "rna": multi["rna"][3:]})
    totals = pd.Series(RNA.sum(1), arrays.obs_names)
    if form == "file":
        write_h5mu(data, tmp_path / "a.h5mu")
        data = load(tmp_path / "a.h5mu")
    if form == "mudata":
        data = pytest.importorskip("mudata").MuData(data.mod)
    places = PLACES if form == "arrays" else None
    run = fit(Latent(), Library(), data, epochs=1, progress=False, modalities=places)
    run.annotate(data)
    wanted = totals.copy()
    if form != "arrays":
        wanted[:3] = -1
    found = pd.Series(data.obsm["X_vae"][:, 0], data.obs_names)
    np.testing.assert_allclose(found, wanted[data.obs_names], atol=0.1)
    assert data.uns["vae4counts"]["written"] == ["obsm/X_vae"]
    run.annotate(data)  # an earlier annotation is replaced
    if form != "mudata":
        path = tmp_path / annotated_name(run.on(data).adata)
        assert path.suffix == (".h5ad" if form == "arrays" else ".h5mu")
        check_annotation(run.on(data).adata, run.model, None)
        annotate(run.on(data), path)
        again = load(path)
        np.testing.assert_allclose(again.obsm["X_vae"][:, 0], found)
        assert list(again.obs_names) == list(data.obs_names)
        assert run.knows(again)
