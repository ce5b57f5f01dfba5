"""The options of a fit: checked when they are made, saved as JSON, cheap to import."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from vae4counts.guides import guide_for
from vae4counts.inference import (
    Checkpoints,
    Compute,
    KLWarmUp,
    Run,
    Schedule,
    SettingsError,
    SplitOptions,
    fit,
)
from vae4counts.inference.fitting.options import BasicOptions, Options
from vae4counts.models import VAE
from vae4counts.models.priors import StandardNormal


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BasicOptions(epochs=0), "epochs is 0: it must be 1 or more"),
        (lambda: BasicOptions(learning_rate=math.nan), "learning_rate is nan"),
        (lambda: BasicOptions(learning_rate=math.inf), "learning_rate is inf"),
        (lambda: BasicOptions(device="tpu"), "'tpu': it must be one of auto, cpu, cuda"),
        (lambda: SplitOptions(validation=0.0), "validation is 0.0: it must be above 0"),
        (lambda: SplitOptions(validation=0.6, test=0.4), "together they must be below 1"),
        (lambda: SplitOptions(stratify="a", column="b"), "stratify and column exclude each other"),
        (lambda: SplitOptions(min_counts=-1), "min_counts is -1"),
        (lambda: Schedule(prior_learning_rate=-1.0), "prior_learning_rate is -1.0"),
        (lambda: Schedule(warm_up_steps=-1), "warm_up_steps is -1"),
        (lambda: Schedule(patience=0), "patience is 0"),
        (lambda: Schedule(restarts=0), "restarts is 0"),
        (lambda: Schedule(warm_start="no"), "warm_start is 'no': it must be True or False"),
        (lambda: Schedule(non_finite="ignore"), "one of stop, skip, slow"),
        (lambda: Schedule(clip_norm=0.0), "clip_norm is 0.0: it must be above 0"),
        (lambda: Checkpoints("x", every=0), "every is 0"),
        (lambda: Checkpoints("x", every=timedelta(0)), "every is 0:00:00"),
        (lambda: Checkpoints("x", every=0.5), "every is 0.5: it must be a whole number of steps"),
        (lambda: Checkpoints("x", every=True), "every is True: it must be a whole number"),
        (lambda: Checkpoints(None), "directory is None: it must be a path"),
        (lambda: Checkpoints("x", resume="yes"), "resume is 'yes': it must be True or False"),
        (lambda: Compute(devices=0), "devices is 0"),
        (lambda: Compute(devices="2"), "devices is '2': it must be a whole number"),
        (lambda: BasicOptions(epochs=5.0), "epochs is 5.0: it must be a whole number"),
        (lambda: BasicOptions(epochs=True), "epochs is True: it must be a whole number"),
        (lambda: BasicOptions(epochs=np.array([1, 2])), "it must be a whole number"),
        (lambda: BasicOptions(learning_rate="1e-3"), "learning_rate is '1e-3': it must be a num"),
        (lambda: BasicOptions(device=0), "device is 0: it must be text"),
        (lambda: SplitOptions(group=3), "group is 3: it must be text"),
        (lambda: SplitOptions(test=None), "test is None: it must be a number"),
        (lambda: Schedule(patience=None), "patience is None: it must be a whole number"),
        (lambda: BasicOptions(seed=2**64), "seed is .*: it must be at most"),
        (lambda: SplitOptions(column="a", test=0.2), "validation and test are shares"),
        (lambda: Schedule(handlers=KLWarmUp(3)), "it must be a list of handlers"),
        (lambda: Compute(precision="8-bit"), "one of 32-true, bf16-mixed"),  # type: ignore[arg-type]
    ],
)
def test_what_is_out_of_range_is_an_error_at_once(make: Callable[[], Options], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        make()


@pytest.mark.parametrize("kind", [BasicOptions, SplitOptions, Schedule, Compute])
def test_defaults_are_allowed_and_every_field_says_what_it_means(kind: type[Options]) -> None:
    kind()
    for each in fields(kind):
        if each.name not in ("handlers", "warm_start"):  # no option of the command line
            assert each.metadata["help"].endswith("."), each.name


def test_numbers_of_numpy_become_those_of_python(tmp_path: Path) -> None:
    basic = BasicOptions(np.int64(5), np.uint8(3), np.float32(0.5), np.array(7))
    assert basic == BasicOptions(5, 3, 0.5, 7)
    assert [type(value) for value in basic.settings().values()][:4] == [int, int, float, int]
    assert SplitOptions(stratify=np.str_("a"), min_counts=np.int32(2)).settings()["min_counts"] == 2
    assert type(Compute(devices=np.int16(1)).devices) is int
    assert Checkpoints(tmp_path, np.int64(3), np.True_).every == 3
    assert Checkpoints("~/x").directory == Path.home() / "x"
    assert Checkpoints("x", pd.Timedelta(minutes=2)).every == timedelta(minutes=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": None}, "split is None: it must be a SplitOptions"),
        ({"split": {"test": 0.2}}, "split is {'test': 0.2}: it must be a SplitOptions"),
        ({"schedule": {"patience": 3}}, "schedule is {'patience': 3}: it must be a Schedule"),
        ({"compute": "cpu"}, "compute is 'cpu': it must be a Compute"),
        ({"checkpoints": 3}, "directory is 3: it must be a path"),
        ({"schedule": Schedule(handlers=[1])}, "a handler is 1: it must be a Handler"),
        ({"label": 3}, "label is 3: it must be a str"),
        ({"seed": -1}, "seed is -1: it must be 0 or more"),
    ],
)
def test_what_is_no_option_is_said_before_training(
    options: dict[str, Any], said: str, adata: AnnData
) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        fitted(adata, **options)


def test_a_pair_the_wrong_way_round_is_one_line(adata: AnnData) -> None:
    model = VAE(7, StandardNormal(2))
    with pytest.raises(
        SettingsError, match=r"model is MarginalGuide.*: it must be a Model"
    ) as said:
        fit(guide_for(model), model, adata, epochs=1)  # type: ignore[arg-type]
    assert "\n" not in str(said.value)
    assert len(str(said.value)) < 100


def test_a_run_of_numpy_numbers_can_be_saved(adata: AnnData, tmp_path: Path) -> None:
    model = VAE(np.int64(7), StandardNormal(np.int32(2)))
    options = {"batch_size": np.int64(64), "learning_rate": np.float32(1e-3), "seed": np.int64(3)}
    run = fit(model, guide_for(model), adata, epochs=np.int64(1), progress=False, **options)
    run.save(tmp_path / "run")
    assert Run.load(tmp_path / "run").settings == run.settings


def fitted(adata: AnnData, **options: Any) -> Run:
    model = VAE(7, StandardNormal(2))
    return fit(model, guide_for(model), adata, epochs=1, progress=False, device="cpu", **options)


def test_settings_are_saved_as_they_are_nested(adata: AnnData) -> None:
    run = fitted(
        adata,
        split=SplitOptions(test=0.2, stratify="group"),
        schedule=Schedule(handlers=[KLWarmUp(3)], clip_norm=10.0),
    )
    assert json.loads(json.dumps(run.settings)) == {
        "epochs": 1,
        "batch_size": None,
        "learning_rate": 1.6e-2,
        "seed": 0,
        "device": "cpu",
        "split": {
            "validation": 0.1,
            "test": 0.2,
            "stratify": "group",
            "group": None,
            "column": None,
            "min_counts": 0,
        },
        "schedule": {
            "prior_learning_rate": 1e-2,
            "warm_up_steps": None,
            "patience": 30,
            "restarts": 1,
            "warm_start": False,
            "handlers": ["KLWarmUp(steps=3)"],
            "non_finite": "stop",
            "clip_norm": 10.0,
        },
        "compute": {"devices": 1, "precision": "32-true", "threads": None},
    }


def test_a_column_of_obs_says_what_observations_are_for(adata: AnnData) -> None:
    """Those without a value, and those with too few counts, are in no part."""
    parts = ["train"] * 60 + ["validation"] * 20 + ["test"] * 10 + [""] * 10
    adata.obs["part"] = parts
    by_name = fitted(adata, split="part").split
    assert by_name.train.tolist() == list(range(60))
    assert by_name.validation.tolist() == list(range(60, 80))
    assert by_name.test.tolist() == list(range(80, 90))
    totals = adata.X.sum(1).A1
    enough = fitted(adata, split=SplitOptions(column="part", min_counts=8)).split
    assert enough.train.tolist() == [row for row in range(60) if totals[row] >= 8]
    assert 0 < len(enough.train) < 60


@pytest.mark.parametrize("option", ["column", "group"])
@pytest.mark.parametrize("missing", [None, np.nan])
def test_observations_in_no_part_are_said(adata: AnnData, option: str, missing: object) -> None:
    parts = {"column": ["train", "validation", "test"], "group": ["x", "y", "z"]}[option]
    adata.obs["part"] = pd.Categorical(parts * 30 + [missing] * 10)
    with pytest.warns(UserWarning, match=r"10 observations have no value in obs\['part'\]"):
        split = fitted(adata, split=SplitOptions(**{option: "part"})).split
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(90))


def test_a_path_is_a_directory_of_checkpoints(adata: AnnData, tmp_path: Any) -> None:
    fitted(adata, checkpoints=tmp_path / "states")
    assert (tmp_path / "states").is_dir()


def test_they_import_nothing_heavy() -> None:
    code = (
        "import sys; import vae4counts.inference.fitting.options; "
        "print({'torch', 'numpy', 'pandas', 'anndata', 'pyro'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "set()"
