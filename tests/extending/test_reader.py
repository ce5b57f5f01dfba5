"""A reader from outside the package goes through the same commands as those inside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from object_lists import is_object_lists, read_object_lists
from typer.testing import CliRunner, Result

from vae4counts.data import DataError, load
from vae4counts.data.readers.registry import READERS, Reader, accepted_formats
from vae4counts.inference import Run, compare
from vae4counts.inference.cli import app

QUICK = ("--epochs", "2", "--latents", "2", "--components", "2", "--device", "cpu")


@pytest.fixture
def path(table: AnnData, tmp_path: Path) -> Iterator[Path]:
    """The table in a format that the package does not know."""
    own = Reader("lists of objects", read_object_lists, (".txt",), is_object_lists)
    READERS["object-lists"] = own
    lines = (
        f"{name}: {' '.join(np.repeat(table.var_names, row.astype(int)))}"
        for name, row in zip(table.obs_names, table.X, strict=True)
    )
    path = tmp_path / "pictures.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    yield path
    del READERS["object-lists"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_it_is_read_and_listed(path: Path, table: AnnData) -> None:
    read = load(path)
    assert "lists of objects (.txt)" in accepted_formats()
    assert list(read.obs_names) == list(table.obs_names)
    np.testing.assert_array_equal(read[:, table.var_names].to_df(), table.to_df())
    path.write_text("cup: tea\nno colon\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2 has no name"):
        load(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:for over 10 %")
def test_it_goes_through_every_command(path: Path, table: AnnData, tmp_path: Path) -> None:
    out, other = tmp_path / "run", tmp_path / "other"
    for place, likelihood in ((out, "poisson"), (other, "negative-binomial")):
        result = call("fit", path, "--out", place, *QUICK, "--likelihood", likelihood)
        assert result.exit_code == 0, result.output
    for command in (("evaluate", out), ("report", out), ("figures", out), ("compare", out, other)):
        result = call(*command)
        assert result.exit_code == 0, result.output
    read, run = load(path), Run.load(out)
    assert run.on(read).is_fitted
    assert len(run.check(read, 5).table)
    assert run.posterior(read, 2)["posterior"]["z"].shape[2] == table.n_obs
    ranked = compare({"a": run, "b": Run.load(other)}, read, refine=False, num_samples=100)
    assert np.isfinite(ranked.log_likelihood).all()
