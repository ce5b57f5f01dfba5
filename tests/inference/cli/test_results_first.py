"""When training ends the run is on disk; what follows may fail, and costs a line each."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import pytest
from matplotlib.figure import Figure
from typer.testing import Result

from vae4counts import data
from vae4counts.inference import Run
from vae4counts.inference.fitting.step import Steps
from vae4counts.inference.report import figures
from vae4counts.inference.run import storage

pytestmark = pytest.mark.slow

Call = Callable[..., Result]
QUICK = ("--epochs", 2, "--latents", 2, "--components", 3, "--label", "group")
RUN = {"config.json", "history.csv", "metrics.json", "model.safetensors"}
FIGURES = {"components.png", "diagnosis.png", "history.png", "latent.png"}
ALL = RUN | FIGURES | {"annotated.h5ad"}


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def warnings_of(result: Result) -> list[str]:
    """The lines of warning, but for those about a fit as short as these."""
    lines = [line for line in result.stderr.splitlines() if "warning" in line]
    return [line for line in lines if "collapsed" not in line]


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no such colour\nin the second line")


def test_a_figure_that_fails_costs_a_line(
    run: Call, counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "the run"
    with monkeypatch.context() as patch:
        patch.setitem(figures.FIGURES, "latent", broken)
        result = run("fit", counts_file, "--out", out, *QUICK)
        assert result.exit_code == 0, result.output
        assert names(out) == ALL - {"latent.png"}
        (line,) = warnings_of(result)
        assert line == (
            "vae4counts: warning: latent.png could not be made (no such colour): "
            f"to make it later, run vae4counts figures '{out}'"
        )
        again = run("figures", out)
        assert again.exit_code == 1
        assert len(warnings_of(again)) == 1
    made = run("figures", out)
    assert made.exit_code == 0, made.output
    assert names(out) == ALL


def test_what_hdf5_cannot_hold_is_said_before_training_and_left_out(
    run: Call, counts: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts.write_h5ad(tmp_path / "counts.h5ad")
    counts.uns["tree"] = {"root": object(), "depth": 3}
    monkeypatch.setattr(data, "load", lambda *_, **__: counts)
    said: list[str] = []
    step = Steps.take

    def noting(self: Steps, batch: Any) -> Any:
        said.append("step")
        return step(self, batch)

    monkeypatch.setattr(Steps, "take", noting)
    monkeypatch.setattr(
        "vae4counts.inference.cli.results.say_warning", lambda text: said.append(text)
    )
    out = tmp_path / "out"
    result = run("fit", tmp_path / "counts.h5ad", "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    assert said[0] == ("an .h5ad file cannot hold uns['tree']['root']: annotated.h5ad goes without")
    assert set(said[1:]) == {"step"}
    assert names(out) == ALL
    annotated = ad.read_h5ad(out / "annotated.h5ad")
    assert annotated.uns["tree"] == {"depth": 3}
    assert annotated.obsm["X_vae"].shape == (90, 2)
    assert annotated.X is not None


def test_a_column_that_would_be_overwritten_is_found_before_training(
    run: Call, counts: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts.obs["component"] = "mine"
    counts.write_h5ad(tmp_path / "counts.h5ad")
    monkeypatch.setattr(Steps, "take", broken)
    result = run("fit", tmp_path / "counts.h5ad", "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == 2
    assert "obs['component'] exists already" in result.stderr
    assert names(tmp_path) == {"counts.h5ad"}
    monkeypatch.undo()
    plain = ("--model", "vae", "--epochs", 1, "--latents", 2)  # it writes no components
    result = run("fit", tmp_path / "counts.h5ad", "--out", tmp_path / "out", *plain)
    assert result.exit_code == 0, result.output
    assert "component" in ad.read_h5ad(tmp_path / "out" / "annotated.h5ad").obs


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_after_training(
    run: Call, counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    publish, write_json = storage.publish, storage.write_json

    def publish_and_fill(trained: Run, directory: Path) -> None:
        publish(trained, directory)
        monkeypatch.setattr(storage, "write_json", full)
        monkeypatch.setattr("vae4counts.inference.cli.results.write_h5ad", full)
        monkeypatch.setattr(Figure, "savefig", full)

    monkeypatch.setattr(storage, "publish", publish_and_fill)
    result = run("fit", counts_file, "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    assert names(out) == RUN
    lines = warnings_of(result)
    assert len(lines) == 2 + len(FIGURES)
    assert all("No space left on device" in line for line in lines)
    for command in ("evaluate", "annotate", "figures"):
        assert any(f"run vae4counts {command} {out}" in line for line in lines)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["epochs"] == 2
    assert "elbo" not in metrics

    monkeypatch.undo()
    assert storage.write_json is write_json
    for command in ("evaluate", "annotate", "figures"):
        again = run(command, out)
        assert again.exit_code == 0, again.output
    assert names(out) == ALL
    assert json.loads((out / "metrics.json").read_text())["elbo"] < 0


# RLIMIT_FSIZE stands for a small disk: what writes more to a file than it allows fails there.
SMALL_DISK = """
import resource
from vae4counts.inference.run import storage
from vae4counts.inference.cli import main

publish = storage.publish

def publish_and_fill(run, out):
    publish(run, out)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))

storage.publish = publish_and_fill
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_files_that_cannot_be_written_whole_are_not_left_behind(
    counts_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["fit", counts_file, "--out", out, *QUICK]
    done = subprocess.run(  # noqa: S603 (our own code)
        [sys.executable, "-c", SMALL_DISK, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert names(out) == RUN
    lines = [line for line in done.stderr.splitlines() if "could not be made" in line]
    assert len(lines) == 2 + len(FIGURES), done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads((out / "metrics.json").read_text())["epochs"] == 2


def test_resume_makes_what_is_missing(
    run: Call, counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run("fit", counts_file, "--out", out, *QUICK).exit_code == 0
    whole = json.loads((out / "metrics.json").read_text())
    kept = {name: (out / name).stat().st_mtime_ns for name in ALL}
    missing = {"annotated.h5ad", "latent.png"}
    for name in missing:
        (out / name).unlink()
    metrics = {name: value for name, value in whole.items() if name != "elbo"}
    (out / "metrics.json").write_text(json.dumps(metrics))
    monkeypatch.setattr(Steps, "take", broken)  # there is no more training
    result = run("fit", counts_file, "--out", out, *QUICK, "--resume")
    assert result.exit_code == 0, result.output
    assert names(out) == ALL
    assert json.loads((out / "metrics.json").read_text()) == whole
    now = {name: (out / name).stat().st_mtime_ns for name in ALL}
    assert {name for name in ALL if now[name] != kept[name]} == missing | {"metrics.json"}

    partial = tmp_path / "out.partial" / "checkpoints" / "step-000000001"
    partial.mkdir(parents=True)
    other = run("fit", counts_file, "--out", out, *QUICK, "--seed", 1, "--resume")
    assert other.exit_code == 2
    assert "holds the results of another command" in other.stderr
    assert partial.exists()  # it is not this command's to remove

    ad.read_h5ad(counts_file)[:-5].copy().write_h5ad(counts_file)
    changed = run("fit", counts_file, "--out", out, *QUICK, "--resume")
    assert changed.exit_code == 2
    assert "the data have changed" in changed.stderr


def test_no_room_for_the_run_itself_keeps_its_checkpoints(
    run: Call, counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Run, "write", full)
        result = run("fit", counts_file, "--out", out, *QUICK)
    assert result.exit_code == 2
    assert "when they can, run the same command with --resume; nor can they" in result.stderr
    assert names(tmp_path) == {counts_file.name, "out.partial"}
    with monkeypatch.context() as patch:
        patch.setattr(Steps, "take", broken)  # it has been trained
        again = run("fit", counts_file, "--out", out, *QUICK, "--resume")
    assert again.exit_code == 0, again.output
    assert names(tmp_path) == {counts_file.name, "out"}
    assert names(out) == ALL


@pytest.mark.filterwarnings("default:no checkpoint could be written")
def test_no_room_for_anything_leaves_the_run_elsewhere(
    run: Call, counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a checkpoint could be written."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    write, out = Run.write, tmp_path / "out"

    def full_there(self: Run, directory: Path) -> None:
        return write(self, directory) if "vae4counts-" in str(directory) else full()

    monkeypatch.setattr(Run, "write", full_there)
    monkeypatch.setattr("vae4counts.inference.fitting.checkpoints._write", full)
    result = run("fit", counts_file, "--out", out, *QUICK)
    assert result.exit_code == 2
    assert "no checkpoint could be written" in result.stderr
    (place,) = (tmp_path / "tmp").glob("vae4counts-*/out")
    assert f"until then they are in {place}" in result.stderr
    assert "--resume" not in result.stderr
    assert len(Run.load(place).history) == 2
    assert names(tmp_path) == {counts_file.name, "tmp"}


def test_two_fits_into_one_directory(run: Call, counts_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with storage.resumable(out, resume=False):
        result = run("fit", counts_file, "--out", out, *QUICK)
    assert result.exit_code == 2
    assert f"another process is fitting to {out}" in result.stderr
    assert names(tmp_path) == {counts_file.name}


def test_annotate_writes_other_data_to_a_file_of_their_own(
    run: Call, counts: ad.AnnData, counts_file: Path, tmp_path: Path
) -> None:
    out, place = tmp_path / "out", tmp_path / "new annotated.h5ad"
    assert run("fit", counts_file, "--out", out, *QUICK).exit_code == 0
    counts.obs_names = [f"new{i}" for i in range(counts.n_obs)]
    counts.write_h5ad(tmp_path / "new.h5ad")
    before = (out / "annotated.h5ad").read_bytes()
    for options, words in (
        (("--data", tmp_path / "new.h5ad"), "--out"),
        (("--data", tmp_path / "new.h5ad", "--out", counts_file), "exists already"),
    ):
        refused = run("annotate", out, *options)
        assert refused.exit_code == 2
        assert words in refused.stderr
    result = run("annotate", out, "--data", tmp_path / "new.h5ad", "--out", place)
    assert result.exit_code == 0, result.output
    annotated = ad.read_h5ad(place)
    assert list(annotated.obs_names) == list(counts.obs_names)
    assert annotated.obsm["X_vae"].shape == (90, 2)
    assert (out / "annotated.h5ad").read_bytes() == before
