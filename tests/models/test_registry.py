"""Registries: a mapping whose classes are imported when they are looked up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vae4counts.guides import GUIDES, Guide
from vae4counts.models.likelihoods import LIKELIHOODS, Likelihood
from vae4counts.models.priors import PRIORS, Prior
from vae4counts.models.registry import Registry

PLACES = {"one": "first.One", "two": "second.Two"}


@pytest.fixture
def make_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Registry]]:
    """Make registries of a package of two modules that are not imported."""
    package = tmp_path / "made_parts"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").write_text("class One: pass")
    (package / "second.py").write_text("class Two: pass")
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda: Registry("made_parts", PLACES)
    for name in [name for name in sys.modules if name.startswith("made_parts")]:
        del sys.modules[name]


def imported() -> set[str]:
    return {name for name in sys.modules if name.startswith("made_parts.")}


def test_only_what_is_looked_up_is_imported(make_registry: Callable[..., Registry]) -> None:
    registry = make_registry()
    assert list(registry) == ["one", "two"]
    assert len(registry) == 2
    assert "two" in set(registry)
    assert ", ".join(registry) == "one, two"
    assert imported() == set()
    assert registry["two"].__name__ == "Two"
    assert imported() == {"made_parts.second"}
    assert registry["two"] is registry["two"] is sys.modules["made_parts.second"].Two


def test_it_is_a_mutable_mapping(make_registry: Callable[..., Registry]) -> None:
    registry = make_registry()
    registry["own"] = int
    registry["one"] = str
    assert dict(registry) == {"one": str, "two": registry["two"], "own": int}
    del registry["one"]
    assert list(registry) == ["two", "own"]
    assert registry.get("one") is None
    with pytest.raises(KeyError):
        registry["one"]
    assert "made_parts.first" not in imported()


def test_registries_do_not_share_entries(make_registry: Callable[..., Registry]) -> None:
    registry = make_registry()
    registry["own"] = int
    assert "own" not in make_registry()


def test_a_place_that_does_not_exist(make_registry: Callable[..., Registry]) -> None:
    make_registry()
    for place in ("first.Nothing", "third.Three"):
        with pytest.raises((AttributeError, ImportError)):
            Registry("made_parts", {"wrong": place})["wrong"]


@pytest.mark.parametrize(
    ("registry", "base"), [(LIKELIHOODS, Likelihood), (PRIORS, Prior), (GUIDES, Guide)]
)
def test_entries_are_what_they_are_called(registry: Registry, base: type) -> None:
    for name, kind in registry.items():
        assert issubclass(kind, base)
        assert name.replace("-", "").removesuffix("s") in f"{kind.__name__.lower()}prior"
