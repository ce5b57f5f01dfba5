"""Every registered joint model, fitted, asked, checked, saved and reported on like any other."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from vae4counts.guides import guide_for
from vae4counts.inference import Run, compare, fit, write_report
from vae4counts.inference.interpretation import NotInModelError
from vae4counts.models.joint import JOINT_MODELS, JointModel

NAMES = ["fork", "knife", "cake", "dog", "leash"]
SIZES: dict[str, Any] = {"n_features": len(NAMES), "n_states": 3}


@pytest.fixture(scope="module")
def scenes() -> anndata.AnnData:
    """Two kinds of scenes: a table, and a walk."""
    random = np.random.default_rng(0)
    is_table = random.random((600, 1)) < 0.5
    rates = np.where(is_table, [1.5, 1.5, 0.8, 0.05, 0.02], [0.02, 0.02, 0.05, 1.2, 1.0])
    names = [f"scene {i}" for i in range(len(rates))]
    counts = np.maximum(random.poisson(rates), 0).astype(np.float32)
    counts[:, 2] += 1  # of cakes there is one at least, so that no scene is empty
    return anndata.AnnData(counts, pd.DataFrame(index=names), pd.DataFrame(index=NAMES))


def small(name: str) -> JointModel:
    kind = JOINT_MODELS[name]
    named = inspect.signature(kind).parameters
    return kind(**{key: value for key, value in SIZES.items() if key in named})


@pytest.fixture(scope="module", params=JOINT_MODELS)
def run(request: pytest.FixtureRequest, scenes: anndata.AnnData) -> Run:
    model = small(request.param)
    return fit(model, guide_for(model), scenes, epochs=3, progress=False)


def test_it_is_evaluated(run: Run, scenes: anndata.AnnData) -> None:
    found = run.evaluate(scenes)
    held_out = torch.as_tensor(scenes.X[run.split.test])
    with torch.no_grad():
        expected = run.model.distribution().log_prob(held_out)
    assert found.log_likelihood == pytest.approx(expected.mean().item(), abs=1e-4)
    assert found.log_likelihood_se == pytest.approx(
        (expected.std() / len(held_out) ** 0.5).item(), abs=1e-4
    )
    assert run.metrics["log_likelihood"] == found.log_likelihood
    if found.leave_one_out is not None:
        assert found.leave_one_out >= found.log_likelihood - 0.05


def test_it_is_saved(run: Run, scenes: anndata.AnnData, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    again = Run.load(tmp_path / "run")
    assert again.evaluate(scenes).log_likelihood == run.evaluate(scenes).log_likelihood


def test_it_says_what_else_is_there(run: Run, scenes: anndata.AnnData) -> None:
    try:
        table = run.interpret(scenes).expected_given({"fork": 2})
    except NotInModelError:
        return
    assert table.attrs["effective_samples"] == np.inf
    with torch.no_grad():
        counts = run.model.distribution()
    row, seen = torch.tensor([[2.0, 0, 0, 0, 0]]), torch.tensor([True, *[False] * 4])
    mean, present = (answer[0].numpy() for answer in counts.expected_given(row, seen))
    for j, name in enumerate(NAMES[1:], 1):
        assert table.loc[name, "expected"] == pytest.approx(mean[j], rel=1e-4)
        assert table.loc[name, "probability"] == pytest.approx(present[j], rel=1e-4)


def test_it_is_checked_and_reported_on(run: Run, scenes: anndata.AnnData, tmp_path: Path) -> None:
    checks = run.check(scenes, num_replicates=20)
    assert np.isfinite(checks.table["replicated"]).all()
    write_report(run, scenes, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_they_are_compared(scenes: anndata.AnnData) -> None:
    runs = {}
    for name in ("independent", "chow-liu"):
        model = small(name)
        runs[name] = fit(model, guide_for(model), scenes, epochs=5, progress=False)
    table = compare(runs, scenes, leave_one_out=True)
    assert table.index[0] == "chow-liu"
    assert table.loc["chow-liu", "leave_one_out"] > table.loc["independent", "leave_one_out"]
    assert (table["leave_one_out_se"] > 0).all()
    rows = [runs[name].on(scenes).log_likelihoods(leave_one_out=True) for name in table.index]
    differences = (rows[1] - rows[0])["leave_one_out"]
    assert table.loc["independent", "leave_one_out_difference"] == pytest.approx(differences.mean())
    assert table.loc["independent", "leave_one_out_difference_se"] == pytest.approx(
        differences.sem()
    )


def test_a_tree_is_shown(scenes: anndata.AnnData) -> None:
    model = small("chow-liu")
    run = fit(model, guide_for(model), scenes, progress=False)
    assert len(run.history) == 1
    links = run.interpret(scenes).feature_links()
    assert set(links.loc[0, ["node", "parent"]]) in ({"fork", "knife"}, {"dog", "leash"})
    assert links["nats"].is_monotonic_decreasing
    plain = small("independent")
    with pytest.raises(NotInModelError, match="no tree"):
        fit(plain, guide_for(plain), scenes, epochs=1, progress=False).interpret(
            scenes
        ).feature_links()
