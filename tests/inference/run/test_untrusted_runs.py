"""A run directory from a stranger runs no code, takes no more than it holds, and writes nowhere."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vae4counts.inference import Run, RunDirectoryError
from vae4counts.inference.run import storage
from vae4counts.models import Configured, from_config

FROZEN = Path(__file__).parent / "frozen" / "0.1.0" / "run"
FILES = [storage.CONFIG, storage.WEIGHTS, storage.METRICS, storage.HISTORY]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A run directory to spoil."""
    return Path(shutil.copytree(FROZEN, tmp_path / "run"))


def refused(directory: Path, name: str) -> str:
    with pytest.raises(RunDirectoryError) as caught:
        Run.load(directory)
    text = str(caught.value)
    assert str(directory / name) in text
    assert "\n" not in text
    return text


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where anything stands in a JSON value."""
    yield path
    inner = enumerate(value) if isinstance(value, list) else getattr(value, "items", tuple)()
    for key, item in inner:
        yield from places(item, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


NASTY = [None, True, -1, 0, 10**15, 10**30, 1e308, "x" * 100, "../..", [], {}, [[]], [10**15]]
NASTY += [{"type": "os.system", "command": "true"}, {"type": "GMVAE"}, {"type": ["GMVAE"]}]


def test_anything_anywhere_in_a_description(directory: Path) -> None:
    """Each value of it by each nasty one: refused in one line, or read and as large as it was."""
    path = directory / storage.CONFIG
    config = json.loads(path.read_text())
    changes = 0
    for place in places(config):
        if place[:1] in [("features",), ("settings",)] and len(place) > 1:
            continue  # many of one kind
        for new in NASTY:
            path.write_text(json.dumps(replaced(config, place, new)))
            said = ""
            try:
                run = Run.load(directory)
                assert sum(p.numel() for p in run.model.parameters()) < 1000
            except RunDirectoryError as error:
                said = str(error)
            assert not said or (str(directory) in said and "\n" not in said), said
            changes += 1
    assert changes > 200


@pytest.mark.parametrize("name", ["subprocess.Popen", "Path", "Module", "object", "Configured"])
def test_only_our_own_classes_are_made(name: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        from_config({"type": name, "args": ["touch", "x"]})
    assert all(issubclass(kind, Configured) for kind in Configured.registry.values())


@pytest.mark.parametrize("name", [storage.CONFIG, storage.METRICS])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 10**5,
        '{"a":' * 10**5 + "1" + "}" * 10**5,
        '{"format": ' + "1" * 10**5 + "}",
        "null",
        '"' + "a" * 100,
        "\x00" * 100,
    ],
    ids=["lists", "objects", "number", "null", "text", "zeros"],
)
def test_json_that_is_made_to_hurt(text: str, name: str, directory: Path) -> None:
    (directory / name).write_text(text)
    refused(directory, name)


def test_a_description_of_gigabytes(directory: Path) -> None:
    with (directory / storage.CONFIG).open("wb") as file:
        file.truncate(storage.MAX_JSON_BYTES + 1)  # takes no room on most disks
    assert "more than a description" in refused(directory, storage.CONFIG)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("name", FILES)
def test_a_pipe_for_a_file(name: str, directory: Path) -> None:
    (directory / name).unlink()
    os.mkfifo(directory / name)  # reading it would wait for ever
    assert "not a regular file" in refused(directory, name)


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_a_device(name: str, directory: Path) -> None:
    (directory / name).unlink()
    (directory / name).symlink_to(os.devnull)
    assert "not a regular file" in refused(directory, name)


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_nothing_and_to_itself(name: str, directory: Path) -> None:
    (directory / name).unlink()
    (directory / name).symlink_to(name)
    with pytest.raises(RunDirectoryError, match=name):
        Run.load(directory)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_written_through_a_link(name: str, directory: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes((directory / name).read_bytes())
    before = precious.read_bytes(), precious.stat().st_mtime_ns
    (directory / name).unlink()
    (directory / name).symlink_to(precious)
    run = Run.load(directory)  # caches of models are full of links: reading one is no harm
    run.save(tmp_path / "copy")
    assert not any(path.is_symlink() for path in (tmp_path / "copy").iterdir())
    with pytest.raises(RunDirectoryError, match="holds another run"):
        run.save(directory)
    assert (precious.read_bytes(), precious.stat().st_mtime_ns) == before
