"""Every public name has a page of the API, and every entry of these pages is a name."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("data", "guides", "inference", "models")
# A package that is given, an entry of a list, an entry of its own.
LINE = re.compile(r"\.\. currentmodule:: (\S+)|   ([A-Za-z][\w.]*)|\.\. data:: (\w+)")


def entries() -> set[str]:
    """The full names that the pages list."""
    found = set()
    for page in (ROOT / "docs" / "api").glob("*.rst"):
        package = "vae4counts"
        for line in page.read_text(encoding="utf-8").splitlines():
            given, *names = match.groups() if (match := LINE.fullmatch(line)) else ("",)
            package = given or package
            found |= {f"{package}.{name}" for name in names if name and page.stem != "index"}
    return found


def public_packages() -> list[str]:
    """Those that say what is public; the commands have a page that is made of their help texts."""
    files = [path for room in ROOMS for path in (ROOT / room).rglob("__init__.py")]
    parts = [path.parent.relative_to(ROOT).parts for path in files]
    packages = {"vae4counts", *(".".join(("vae4counts", *each)) for each in parts)}
    packages -= {"vae4counts.inference.cli"}
    return sorted(name for name in packages if hasattr(import_module(name), "__all__"))


ENTRIES = sorted(entries())


@pytest.mark.parametrize("package", public_packages())
def test_every_public_name_has_a_page(package: str) -> None:
    elsewhere = {id(resolve_name(entry)) for entry in ENTRIES}
    module = import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        has_page = f"{package}.{name}" in ENTRIES or id(value) in elsewhere
        assert has_page or inspect.ismodule(value), f"{package}.{name}"


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_page_has_a_public_name(entry: str) -> None:
    package, _, name = entry.rpartition(".")
    listed = getattr(import_module(package), "__all__", None)
    assert resolve_name(entry) is not None
    assert listed is None or name in listed
