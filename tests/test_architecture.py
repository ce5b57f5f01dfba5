"""How the house is built: imports run one way, files stay short, every package is typed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("models", "guides", "data", "inference", "vae4counts")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
NAMES = [str(path.relative_to(ROOT)) for path in FILES]

# What a room may import from the others; the batch is the one thing that all may name.
MAY_IMPORT = {
    "data": {"data"},
    "models": {"models", "data.counts.batch"},
    "guides": {"guides", "models", "data.counts.batch"},
    "inference": {"inference", "guides", "models", "data"},
    "vae4counts": {"inference", "guides", "models", "data"},
}


def imported(path: Path) -> set[str]:
    """The modules of this project that a file imports, without the leading ``vae4counts.``."""
    package = ["vae4counts", *path.relative_to(ROOT).parts[:-1]]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            # "from vae4counts import data" names a module too
            bare = stem == "vae4counts"
            names |= {f"{stem}.{alias.name}" for alias in node.names} if bare else {stem}
    return {name.removeprefix("vae4counts.") for name in names if name.startswith("vae4counts")}


def test_there_are_files() -> None:
    assert len(FILES) > 40
    assert {name.split("/")[0] for name in NAMES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_run_one_way(path: Path) -> None:
    allowed = MAY_IMPORT[path.relative_to(ROOT).parts[0]]
    for name in imported(path):
        assert any(name == room or name.startswith(f"{room}.") for room in allowed), name


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_file_needs_pickle(path: Path) -> None:
    source = path.read_text()
    for word in ("pickle", "torch.load", "joblib.load", "eval("):
        found = [line for line in source.splitlines() if word in line.replace(".eval(", "")]
        assert all("unpickle" in line for line in found), found


def test_every_package_is_typed_and_installed() -> None:
    packages = {path.parent for path in FILES}
    listed = (ROOT / "pyproject.toml").read_text()
    for package in packages:
        assert (package / "__init__.py").exists(), package
        assert (package / "py.typed").exists(), package
        name = ".".join(package.relative_to(ROOT).parts)
        assert f'"{name}"' in listed or f'"vae4counts.{name}"' in listed, package


def test_root_is_no_package() -> None:
    assert not (ROOT / "__init__.py").exists()
