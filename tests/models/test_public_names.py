"""Public names: each can be imported, and none is imported before it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

pytestmark = pytest.mark.slow

PACKAGES = [
    "vae4counts.data",
    "vae4counts.models",
    "vae4counts.models.joint",
    "vae4counts.models.likelihoods",
    "vae4counts.models.networks",
    "vae4counts.models.priors",
    "vae4counts.guides",
]


def run(code: str) -> None:
    """Run code in a fresh process, where nothing is imported yet."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)  # noqa: S603
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_reached(package: str) -> None:
    module = import_module(package)
    assert module.__all__
    for name in module.__all__:
        value = getattr(module, name)
        # a function or class, and not a module that happens to have its name
        assert type(value).__name__ != "module", name
        assert name in dir(module)


def test_importing_the_packages_does_not_import_torch() -> None:
    run(f"""
import sys
for package in {PACKAGES!r}:
    if package not in ("vae4counts.models.joint", "vae4counts.models.networks"):
        __import__(package)
from vae4counts.guides import GUIDES
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.priors import PRIORS
assert list(GUIDES) and list(LIKELIHOODS) and list(PRIORS)
assert not {{"torch", "pyro", "numpy", "anndata"}} & set(sys.modules)
""")


@pytest.mark.parametrize(
    "part", ["vae4counts.guides import Encoder", "vae4counts.models.likelihoods import Poisson"]
)
def test_parameters_live_in_modules_whatever_is_imported_first(part: str) -> None:
    run(f"""
import pyro
assert not pyro.settings.get("module_local_params")
from {part}
assert pyro.settings.get("module_local_params")
""")
