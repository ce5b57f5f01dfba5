"""Several processes follow one, and end together."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from vae4counts.data import CountFile, load
from vae4counts.inference import Checkpoints, Compute, Run, fit
from vae4counts.inference.cli import app
from vae4counts.inference.fitting.options import SettingsError
from vae4counts.inference.parallel.processes import ProcessError, Processes, launch

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("shared_fit.py")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shared_fit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shared = load_script()


def started(*arguments: Any) -> subprocess.Popen[str]:
    words = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "localhost"]
    return subprocess.Popen(  # noqa: S603 (our own script)
        [sys.executable, *words, "--nproc-per-node", "2", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    try:
        out, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


def torchrun(*arguments: Any) -> subprocess.CompletedProcess[str]:
    return ended(started(*arguments))


def assert_follows(result: dict[str, Any], one: dict[str, Any]) -> None:
    assert result["components"] == one["components"]
    for key in ("losses", "train_elbo", "validation_elbo"):
        np.testing.assert_allclose(result[key], one[key], rtol=2e-5, err_msg=key)
    np.testing.assert_allclose(result["means"], one["means"], atol=2e-4)
    assert result["metrics"].keys() == one["metrics"].keys()
    for key in ("metrics", "weights"):
        for name, expected in one[key].items():
            close = expected if isinstance(expected, str) else pytest.approx(expected, 1e-3, 1e-3)
            assert result[key][name] == close, name


def assert_follows_from_step_6(result: dict[str, Any], one: dict[str, Any]) -> None:
    assert len(result["losses"]) == len(one["losses"]) - 6
    assert_follows(result | {"losses": one["losses"][:6] + result["losses"]}, one)


def test_two_processes_follow_one_step_by_step_and_end_together(tmp_path: Path) -> None:
    """Losses, validation, evaluation and annotation, with an odd number of rows; one is killed.

    Among the batches is one of one row, of which the first process has none. One process continues
    from where the two of them were.
    """
    with pytest.raises(ArithmeticError):
        shared.stopped_fit(tmp_path / "stopped", shared.give_up)
    done = torchrun(SCRIPT, tmp_path)
    first, second = (json.loads((tmp_path / f"{r}-of-2.json").read_text()) for r in (0, 1))
    for kind, size in shared.CASES:
        one = shared.result_of(kind, size)
        name = f"{kind}-{size}"
        assert len(one["means"]) == shared.N_OBSERVATIONS
        assert len(one["losses"]) == 6 * -(-one["metrics"]["n_train"] // size)
        assert_follows(first[name], one)
        assert second[name] == first[name], "each process is given the whole result"
    plain = shared.result_of("plain")
    assert_follows_from_step_6(first["resumed"], plain)
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr
    dead = Checkpoints(tmp_path / "dead", resume=True)
    assert_follows_from_step_6(shared.result_of("plain", checkpoints=dead), plain)


def test_the_first_process_alone_writes(tmp_path: Path) -> None:
    adata = shared.made_data()
    adata.write_h5ad(tmp_path / "data.h5ad")
    out = tmp_path / "run"
    words = ["-m", "vae4counts", "fit", tmp_path / "data.h5ad", "--out", out]
    options = ["--epochs", "2", "--batch-size", "30", "--components", "2", "--latents", "2"]
    logger = ["--logger", "csv", "--log-folder", tmp_path / "logs"]
    done = torchrun(*words, *options, *logger, "--out-of-core")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Results are in") == 1
    assert done.stderr.count("training: 1 of 1 epochs") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.h5ad", "logs", "run"]
    (logged,) = (tmp_path / "logs" / "run").glob("*/metrics.csv")
    assert len(pd.read_csv(logged)) == 2
    run = Run.load(out)
    assert run.processes == Processes()
    one = run.evaluate(load(tmp_path / "data.h5ad"))
    measured = json.loads((out / "metrics.json").read_text())
    assert measured["elbo"] == pytest.approx(one.elbo, rel=1e-5)
    assert len(pd.read_csv(out / "history.csv")) == 2


def test_a_signal_stops_all_with_the_state_saved(tmp_path: Path) -> None:
    """torchrun passes SIGTERM on to its processes; one process continues."""
    shared.made_data().write_h5ad(tmp_path / "data.h5ad")
    words = ["fit", tmp_path / "data.h5ad", "--out", tmp_path / "run", "--model", "vae"]
    words += ["--checkpoint-minutes", "0.001", "--epochs", "200", "--latents", "2"]
    process = started("-m", "vae4counts", *words)
    checkpoints = tmp_path / "run.partial" / "checkpoints"
    while process.poll() is None and not any(checkpoints.glob("step-*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    done = ended(process)
    assert done.returncode != 0
    assert "the state is saved" in " ".join(done.stderr.split())
    again = CliRunner().invoke(app, [*map(str, words), "--resume"])
    assert again.exit_code == 0, again.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.h5ad", "run"]


def test_processes_started_from_one_bring_the_pair_home(tmp_path: Path) -> None:
    adata, expected = shared.made_data(), shared.result_of("marginal")
    model, guide = shared.made_pair("marginal")
    settings = {"epochs": 6, "batch_size": 32, "label": "group", "seed": 5, "progress": False}
    run = fit(model, guide, adata, compute=Compute(devices=2), **settings)
    assert run.model is not model
    assert run.settings["compute"]["devices"] == 2
    assert run.processes == Processes()  # they are gone
    np.testing.assert_allclose(run.history["train_elbo"], expected["train_elbo"], rtol=2e-5)
    run.evaluate(adata, num_samples=20)
    assert run.metrics["elbo"] == pytest.approx(expected["metrics"]["elbo"], rel=1e-4)


def test_an_error_in_a_started_process_comes_home() -> None:
    """The number of objects that it has settled, here."""
    before = gc.get_freeze_count()
    with pytest.raises(ProcessError, match=r"ArithmeticError: \d{5,}"):
        launch(2, exec, "import gc; raise ArithmeticError(gc.get_freeze_count())")
    assert gc.get_freeze_count() <= before  # fewer where some were freed meanwhile


def test_counts_on_disk_are_for_torchrun(tmp_path: Path) -> None:
    shared.made_data().write_h5ad(tmp_path / "data.h5ad")
    adata = load(tmp_path / "data.h5ad", out_of_core=True)
    model, guide = shared.made_pair("plain")
    with pytest.raises(SettingsError, match="torchrun"):
        fit(model, guide, adata, compute=Compute(devices=2))
    assert CountFile.from_anndata(adata).n_observations == shared.N_OBSERVATIONS
