"""The lines of Python in a report fit a run again, with every option that was not a default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import pytest
from anndata import AnnData

from vae4counts import inference
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import CyclicalAnnealing, Run, Schedule, SplitOptions, fit
from vae4counts.inference.report.reproduce import python_lines
from vae4counts.models import VAE
from vae4counts.models.priors import StandardNormal

SPLIT = SplitOptions(test=0.2, min_counts=2)


class Mine(CyclicalAnnealing):
    """A handler that no module of the package holds."""


@pytest.fixture
def made(adata: AnnData, tmp_path: Path) -> Run:
    adata.write_h5ad(tmp_path / "counts.h5ad")
    model = VAE(7, StandardNormal(2))
    made = fit(
        model,
        guide_for(model, encoder=Encoder((8,))),
        adata,
        epochs=1,
        seed=3,
        layer="raw",
        device="cpu",
        progress=False,
        split=SPLIT,
        schedule=Schedule(warm_up_steps=0, patience=7, handlers=[CyclicalAnnealing(16, 2)]),
    )
    made.settings |= {"data": str(tmp_path / "counts.h5ad"), "min_observations": 3}
    made.settings |= {"top_features": 7, "feature_method": "deviance"}
    return made


def test_the_lines_ask_for_the_same_fit(made: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def note(model: VAE, guide: Any, adata: AnnData, **options: Any) -> None:
        asked.update(options, model=model, guide=guide, adata=adata)

    lines = python_lines(made)
    monkeypatch.setattr(inference, "fit", note)
    exec(lines, {})  # noqa: S102
    assert asked["model"].config() == made.model.config()
    assert asked["guide"].config() == made.guide.config()
    assert list(asked["adata"].var_names) == made.features
    assert isinstance(asked["adata"], ad.AnnData)
    assert asked["split"] == SPLIT
    assert (asked["epochs"], asked["seed"], asked["layer"]) == (1, 3, "raw")
    assert asked["schedule"].patience == 7
    assert [repr(handler) for handler in asked["schedule"].handlers] == [
        repr(CyclicalAnnealing(16, 2))
    ]
    assert "from vae4counts.models import MLPDecoder, ObservedLibrary, VAE\n" in lines
    assert "from vae4counts.models.priors import StandardNormal\n" in lines
    assert "Compute" not in lines


def test_what_cannot_be_imported_is_not_written_down(made: Run) -> None:
    made.settings["schedule"]["handlers"] = [repr(Mine(16, 2))]
    with pytest.raises(TypeError, match="a handler of your own"):
        python_lines(made)

    class Local(StandardNormal):
        """A prior that only this function knows."""

    model = VAE(7, Local(2))
    made.model, made.settings["schedule"]["handlers"] = model, []
    with pytest.raises(TypeError, match="cannot be imported"):
        python_lines(made)
