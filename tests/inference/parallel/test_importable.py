"""What new processes cannot import is said before they are started."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

from vae4counts.inference.parallel.processes import ProcessError, check_importable
from vae4counts.models import VAE


class Mine(nn.Module):
    """As if it had been typed in."""


Mine.__module__ = "__main__"


def main(file: Path | str | None) -> ModuleType:
    module = ModuleType("__main__")
    if file is not None:
        module.__file__ = str(file)
    return module


@pytest.mark.parametrize("own", [VAE(3), Mine()])
def test_what_was_typed_in(own: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", main("<stdin>"))
    with pytest.raises(ProcessError, match="cannot import <stdin>: put the program in a file"):
        check_importable(own)


def test_classes_of_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", main(None))
    check_importable(VAE(3), "and no module")
    with pytest.raises(ProcessError, match="cannot import Mine, which this notebook"):
        check_importable(nn.Sequential(Mine()))


def test_a_script_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", main(__file__))
    check_importable(Mine())
