"""A run with data: read once, and asked the same as the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts.data import DataError, UnknownName, read_tables
from vae4counts.inference import Run
from vae4counts.inference.run import alignment


@pytest.fixture
def renamed(adata: AnnData) -> AnnData:
    """Data that the run was not fitted to."""
    other = adata.copy()
    other.obs_names = [f"new-{name}" for name in adata.obs_names]
    return other


def test_many_questions_read_the_values_once(
    run: Run, adata: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def spy(*arguments: Any, **options: Any) -> Any:
        read.append(arguments)
        return read_tables(*arguments, **options)

    monkeypatch.setattr(alignment, "read_tables", spy)
    asked = run.on(adata)
    asked.evaluate(2), asked.annotate(denoised=True), asked.posterior(2), asked.predictive(2)
    asked.check(2), asked.interpretation.component_table()
    assert len(read) == 1


def test_a_run_answers_as_it_does_on_data(run: Run, renamed: AnnData) -> None:
    asked = run.on(renamed, seed=3)
    assert asked.evaluate(5) == run.evaluate(renamed, num_samples=5, seed=3)
    assert asked.evaluate(5) != run.evaluate(renamed, num_samples=5, seed=4)
    pd.testing.assert_frame_equal(
        asked.log_likelihoods(100), run.log_likelihoods(renamed, 100, seed=3)
    )
    pd.testing.assert_frame_equal(asked.check(5).table, run.check(renamed, 5, seed=3).table)
    summaries = asked.predictive(4), run.predictive(renamed, 4, seed=3)
    pd.testing.assert_frame_equal(*(summary.features for summary in summaries))
    drawn = [each["posterior"]["z"].to_numpy() for each in (asked.posterior(2), asked.posterior(2))]
    assert np.array_equal(*drawn)
    tables = asked.interpretation.latent_table(), run.interpret(renamed, seed=3).latent_table()
    pd.testing.assert_frame_equal(*tables)


def test_what_is_held_out(run: Run, adata: AnnData, renamed: AnnData) -> None:
    fitted, other = run.on(adata), run.on(renamed)
    assert fitted.is_fitted
    assert not other.is_fitted
    assert np.array_equal(fitted.held_out, run.split.test)
    assert np.array_equal(other.held_out, np.arange(100))
    assert other.evaluate(2).n == 100
    assert "n_test" not in run.metrics
    assert fitted.evaluate(2).n == run.metrics["n_test"] == len(run.split.test)


def test_known_classes(run: Run, renamed: AnnData) -> None:
    assert list(run.on(renamed).classes) == list(renamed.obs["group"])
    renamed.obs["kind"] = renamed.obs.pop("group")
    asked = run.on(renamed)  # not all questions are about classes
    assert asked.predictive(2) is not None
    with pytest.raises(UnknownName, match="group"):
        asked.evaluate(2)
    assert run.on(renamed, label="kind").evaluate(2).ari is not None


def test_data_that_do_not_fit_are_refused_at_once(run: Run, renamed: AnnData) -> None:
    with pytest.raises(DataError, match="are missing from the data"):
        run.on(renamed[:, 2:].copy())
    renamed.layers["raw"] = renamed.layers["raw"] * 0.5
    with pytest.raises(DataError):
        run.on(renamed)


def test_the_callers_random_state_is_left_alone(run: Run, renamed: AnnData) -> None:
    before = torch.get_rng_state()
    run.on(renamed, seed=9).evaluate(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_says_what_it_is(run: Run, adata: AnnData) -> None:
    assert repr(run.on(adata)) == (
        "RunOnData(GMVAE with GaussianMixture, 100 observations x 7 features)"
    )


def test_the_layer_and_the_label_of_the_fit_can_be_changed_or_dropped(
    run: Run, renamed: AnnData, tmp_path: Path
) -> None:
    """The run was fitted to the layer "raw", with the label "group"."""
    wanted = run.evaluate(renamed)
    plain = AnnData(renamed.layers["raw"].copy(), renamed.obs[[]], renamed.var)
    with pytest.raises(UnknownName, match=r"no layer 'raw'.*layer=None.*--no-layer"):
        run.on(plain)
    asked = run.on(plain, layer=None)
    with pytest.raises(UnknownName, match=r"no label column 'group'.*label=None.*--no-label"):
        asked.evaluate(2)
    found = run.evaluate(plain, layer=None, label=None)
    assert found.elbo == wanted.elbo
    assert (wanted.ari is None, found.ari) == (False, None)

    plain.layers["others"] = plain.X
    plain.X = None
    plain.obs["kind"] = renamed.obs["group"]
    named = run.on(plain, layer="others", label="kind")
    assert (named.layer, named.label) == ("others", "kind")
    assert named.evaluate() == wanted
    with pytest.raises(UnknownName, match=r"no layer 'other'\. Did you mean 'others'\?") as error:
        run.on(plain, layer="other")
    assert "fitted" not in str(error.value)
    with pytest.raises(UnknownName, match="no label column 'kin'"):
        run.evaluate(plain, layer="others", label="kin")


@pytest.mark.slow
def test_every_question_takes_a_layer(run: Run, renamed: AnnData, tmp_path: Path) -> None:
    renamed.layers["others"] = renamed.layers.pop("raw")
    here: dict[str, Any] = {"layer": "others"}
    assert not run.knows(renamed, **here)
    assert run.posterior(renamed, 2, **here) is not None
    assert len(run.predictive(renamed, 2, **here).features) == 7
    assert run.check(renamed, 2, **here) is not None
    assert len(run.log_likelihoods(renamed, 100, **here)) == 100
    assert len(run.interpret(renamed, **here).latent_table()) == 2
    run.report(renamed, tmp_path / "page.html", label=None, **here)
    assert "layer &#39;others&#39;" in (tmp_path / "page.html").read_text(encoding="utf-8")
    run.annotate(renamed, **here)
    assert "X_vae" in renamed.obsm
