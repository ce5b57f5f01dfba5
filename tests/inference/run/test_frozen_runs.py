"""Run directories of earlier releases open, and say what they said; newer ones are named."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vae4counts.inference import Run, RunDirectoryError
from vae4counts.inference.run import format as run_format
from vae4counts.inference.run import storage

FROZEN = Path(__file__).parent / "frozen"
RELEASES = sorted(path.name for path in FROZEN.iterdir() if (path / "run").is_dir())


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """The script that made them."""
    spec = importlib.util.spec_from_file_location("make", FROZEN / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copied(release: str, to: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    shutil.copytree(FROZEN / release / "run", to)
    path = to / storage.CONFIG
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    return to


def test_there_are_some_and_they_are_small() -> None:
    assert "0.1.0" in RELEASES
    for release in RELEASES:
        files = [path for path in (FROZEN / release).rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) < 100_000


@pytest.mark.parametrize("release", RELEASES)
def test_a_frozen_run_says_what_it_said(release: str, made: ModuleType) -> None:
    run = Run.load(FROZEN / release / "run")
    said = json.loads((FROZEN / release / "numbers.json").read_text())
    says = made.numbers(run)
    assert run.knows(made.data())
    assert says.keys() == said.keys()
    assert says["n"] == said["n"] == len(run.split.test)
    for name in ("X_vae", "loadings"):
        np.testing.assert_allclose(says[name], said[name], rtol=1e-4, atol=1e-5)
    # other versions of torch may draw otherwise; the spread of 1,000 draws is below this
    for name in ("elbo", "iw_log_likelihood"):
        assert says[name] == pytest.approx(said[name], abs=0.1)
        assert run.metrics.get(name) == pytest.approx(says[name], rel=1e-5)


@pytest.mark.parametrize("release", RELEASES)
def test_a_frozen_run_can_be_saved_in_todays_format(release: str, tmp_path: Path) -> None:
    Run.load(FROZEN / release / "run").save(tmp_path / "run")
    config = json.loads((tmp_path / "run" / storage.CONFIG).read_text())
    assert config["format"] == run_format.FORMAT


@pytest.mark.parametrize("found", [run_format.FORMAT + 1, 10**9, 0, -1, 1.0, "1", True, None])
def test_a_format_that_cannot_be_read_is_named(found: Any, tmp_path: Path) -> None:
    directory = copied(RELEASES[-1], tmp_path / "run", lambda config: config | {"format": found})
    with pytest.raises(RunDirectoryError, match=r"config\.json .*field 'format' is") as caught:
        Run.load(directory)
    assert str(directory) in str(caught.value)
    if type(found) is int and found > run_format.FORMAT:
        assert "install a newer one" in str(caught.value)


def test_older_formats_are_brought_up_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if two further formats had renamed a field there and back."""
    called = []

    def forth(config: dict[str, Any]) -> dict[str, Any]:
        called.append(config["format"])
        return {"names": config.pop("features"), **config}

    def back(config: dict[str, Any]) -> dict[str, Any]:
        called.append(config["format"])
        return {"features": config.pop("names"), **config}

    now = run_format.FORMAT
    monkeypatch.setattr(run_format, "FORMAT", now + 2)
    further = {**run_format.MIGRATIONS, now: forth, now + 1: back}
    monkeypatch.setattr(run_format, "MIGRATIONS", further)
    directory = copied("0.1.0", tmp_path / "run", lambda config: config)
    assert Run.load(directory).features == [f"gene {column}" for column in range(6)]
    assert called == [now, now + 1]


def test_every_older_format_has_a_migration() -> None:
    assert sorted(run_format.MIGRATIONS) == list(range(1, run_format.FORMAT))
