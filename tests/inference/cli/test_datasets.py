"""Data sets by name: listed, fitted, and not looked for in the network where that is unwanted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from vae4counts.data import DATASETS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where data are kept: COCO's validation set is, made small."""
    monkeypatch.setenv("VAE4COUNTS_DATA", str(tmp_path / "data"))
    coco = tmp_path / "data" / "coco2017"
    coco.mkdir(parents=True)
    random = np.random.default_rng(0)
    annotations = [
        {"id": number, "image_id": image, "category_id": category}
        for number, (image, category) in enumerate(random.integers(0, (40, 6), (200, 2)).tolist())
    ]
    content = {
        "images": [{"id": image} for image in range(40)],
        "categories": [{"id": category, "name": f"c{category}"} for category in range(6)],
        "annotations": annotations,
    }
    (coco / "instances_val2017.json").write_text(json.dumps(content))
    return tmp_path


def test_all_are_listed(run: Callable[..., Result], folder: Path) -> None:
    result = run("datasets")
    assert result.exit_code == 0
    words = " ".join(result.output.replace("│", " ").split())
    for name, known in DATASETS.items():
        assert name in words
        assert f"{known.shape[0]:,} x {known.shape[1]:,}" in words
        assert known.licence.split()[0] in words
    assert words.count("installed") == 2
    assert "to download: 252.9 MB" in words
    assert "downloaded" not in words
    assert f"kept in {folder / 'data'}" in words
    (folder / "data" / "coco2017" / "annotations_trainval2017.zip").touch()
    assert run("datasets").output.count("downloaded") == 2


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fit_by_name(run: Callable[..., Result], folder: Path) -> None:
    out = folder / "out"
    fitted = run("fit", "coco2017-val", "--out", out, "--epochs", 1, "--latents", 2, "--offline")
    assert fitted.exit_code == 0, fitted.output
    assert run("evaluate", out, "--samples", 2, "--offline").exit_code == 0


@pytest.mark.parametrize("command", ["fit", "evaluate"])
def test_offline_says_what_is_missing_and_where_to_put_it(
    run: Callable[..., Result], folder: Path, command: str
) -> None:
    out = folder / "out"
    if command == "fit":
        result = run("fit", "coco2017-train", "--out", out, "--offline")
    else:
        options = ("--epochs", 1, "--latents", 2, "--offline")
        assert run("fit", "coco2017-val", "--out", out, *options).exit_code == 0
        (folder / "data" / "coco2017" / "instances_val2017.json").unlink()
        result = run("evaluate", out, "--offline")
    assert result.exit_code == 2
    (line,) = [text for text in result.stderr.splitlines() if "warning" not in text]
    path = folder / "data" / "coco2017" / "annotations_trainval2017.zip"
    for word in ("downloads are off", "http://images.cocodataset.org/", str(path)):
        assert word in line
    assert command == "evaluate" or not out.exists()
