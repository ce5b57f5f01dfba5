"""A saved run says the same when it is loaded; what is broken is refused in one line."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts.guides import guide_for
from vae4counts.inference import Checkpoints, Run, RunDirectoryError, fit
from vae4counts.inference.run import storage
from vae4counts.inference.run.format import FORMAT
from vae4counts.models import VAE
from vae4counts.models.priors import StandardNormal

pytestmark = pytest.mark.slow

FILES = [storage.CONFIG, storage.WEIGHTS, storage.METRICS, storage.HISTORY]


def test_loaded_run_is_the_same_to_the_last_bit(run: Run, adata: AnnData, tmp_path: Path) -> None:
    evaluated = run.evaluate(adata, num_samples=5)
    run.save(tmp_path / "run")
    loaded = Run.load(tmp_path / "run")
    assert loaded.evaluate(adata, num_samples=5) == evaluated
    pd.testing.assert_frame_equal(loaded.history, run.history, check_exact=True)
    for name in ("features", "fingerprint", "layer", "label", "settings", "metrics"):
        assert getattr(loaded, name) == getattr(run, name), name
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(loaded.split, part), getattr(run.split, part))
    for part in ("model", "guide"):
        saved, state = (getattr(r, part).state_dict() for r in (run, loaded))
        assert list(saved) == list(state)
        assert all(torch.equal(saved[name], state[name]) for name in saved)
        assert not getattr(loaded, part).training
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(FILES)


def test_a_loaded_run_can_be_saved_again(run: Run, tmp_path: Path) -> None:
    run.save(tmp_path / "one")
    Run.load(tmp_path / "one").save(tmp_path / "deep" / "two")
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (
            tmp_path / "deep" / "two" / name
        ).read_bytes()


def test_nothing_is_pickled(
    adata: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something is pickled")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    for name in ("save", "load"):
        monkeypatch.setattr(torch, name, refuse)
    model = VAE(7, StandardNormal(2), decoder="linear")
    options = {"epochs": 1, "layer": "raw", "progress": False, "device": "cpu"}
    states = Checkpoints(tmp_path / "states")
    fit(model, guide_for(model), adata, checkpoints=states, **options)
    states = Checkpoints(tmp_path / "states", resume=True)
    run = fit(model, guide_for(model), adata, checkpoints=states, **options)
    run.save(tmp_path / "run")
    Run.load(tmp_path / "run")
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors", ".csv"}


def test_an_empty_directory_may_be_there(run: Run, tmp_path: Path) -> None:
    run.save(tmp_path)
    Run.load(tmp_path)


@pytest.mark.parametrize("there", [storage.CONFIG, "thesis.txt"])
def test_nothing_is_ever_overwritten(there: str, run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / there).write_text("precious")
    what = "holds another run" if there == storage.CONFIG else "not empty"
    with pytest.raises(RunDirectoryError, match=what):
        run.save(directory)
    assert (directory / there).read_text() == "precious"
    assert list(tmp_path.iterdir()) == [directory]
    assert len(list(directory.iterdir())) == 1


def test_a_file_in_the_way(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("precious")
    with pytest.raises(RunDirectoryError):
        run.save(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "precious"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_save_leaves_nothing(
    error: BaseException, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(pd.DataFrame, "to_csv", fails)
    with pytest.raises(type(error)):
        run.save(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_decoder_that_cannot_be_described_leaves_nothing(run: Run, tmp_path: Path) -> None:
    run.model = VAE(7, StandardNormal(2), decoder=torch.nn.Linear(2, 7))
    with pytest.raises(TypeError, match="holds a Linear"):
        run.save(tmp_path / "run")
    assert not list(tmp_path.iterdir())


class Trap:
    """Says when it is unpickled."""

    sprung = False

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return setattr, (Trap, "sprung", True)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Trap()))


def a_torch_file(path: Path) -> None:
    torch.save({"trap": Trap()}, path)


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


BREAKS: list[Callable[[Path], Any]] = [
    os.remove,
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(bytes(range(256))),
    truncated,
    pickled,
    a_torch_file,
    a_directory,
]
BREAK_NAMES = ["missing", "empty", "noise", "truncated", "pickled", "torch file", "directory"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("break_it", BREAKS, ids=BREAK_NAMES)
def test_broken_files_are_named(
    break_it: Callable[[Path], Any], name: str, run: Run, tmp_path: Path
) -> None:
    if break_it is truncated and name == storage.HISTORY:
        pytest.skip("a table with fewer rows or columns is a table")
    run.save(tmp_path / "run")
    break_it(tmp_path / "run" / name)
    with pytest.raises(RunDirectoryError) as caught:
        Run.load(tmp_path / "run")
    message = str(caught.value)
    assert name in message
    assert str(tmp_path / "run") in message
    assert "\n" not in message
    assert not Trap.sprung


CONFIGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a newer format": lambda config: {**config, "format": FORMAT + 1},
    "no format": lambda config: {k: v for k, v in config.items() if k != "format"},
    "a list": lambda config: [config],
    "another program's": lambda config: {"name": config["fingerprint"]},
    "no features": lambda config: {k: v for k, v in config.items() if k != "features"},
    "an unknown class": lambda config: {**config, "model": {"type": "os.system", "x": "true"}},
    "a guide for a model": lambda config: {**config, "model": config["guide"]},
    "a number for a guide": lambda config: {**config, "guide": 3},
    "an unknown argument": lambda config: {**config, "model": {**config["model"], "x": 1}},
}


@pytest.mark.parametrize("change", CONFIGS.values(), ids=list(CONFIGS))
def test_foreign_descriptions_are_refused(
    change: Callable[[dict[str, Any]], Any], run: Run, tmp_path: Path
) -> None:
    run.save(tmp_path / "run")
    path = tmp_path / "run" / storage.CONFIG
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(RunDirectoryError, match=storage.CONFIG):
        Run.load(tmp_path / "run")


def test_weights_of_another_shape_are_refused(run: Run, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    path = tmp_path / "run" / storage.CONFIG
    config = json.loads(path.read_text())
    config["model"]["n_features"] = 8
    path.write_text(json.dumps(config))
    with pytest.raises(RunDirectoryError, match=storage.WEIGHTS):
        Run.load(tmp_path / "run")


@pytest.mark.parametrize("where", ["nothing", "file"])
def test_where_there_is_no_run(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="holds no run"):
        Run.load(tmp_path / where)
