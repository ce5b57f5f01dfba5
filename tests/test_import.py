"""Importing the package, its version and the help texts load nothing that is slow."""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

import vae4counts
from vae4counts.inference.cli import app

HEAVY = ("torch", "pyro", "numpy", "anndata", "pandas", "scanpy", "matplotlib")
COMMANDS = (
    "",
    "fit",
    "adapt",
    "evaluate",
    "annotate",
    "predict",
    "figures",
    "report",
    "compare",
    "datasets",
)
HELP = """
import sys
from vae4counts.inference.cli import main
sys.argv = ["vae4counts", *{words}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def loaded_by(code: str) -> tuple[set[str], str]:
    """The heavy packages that a fresh process has imported after some code, and its output."""
    last = "print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(  # noqa: S603 (our own code)
        [sys.executable, "-c", f"import sys\n{code}\n{last}"],
        capture_output=True,
        text=True,
        check=True,
    )
    *output, modules = done.stdout.strip().splitlines()
    return set(HEAVY) & set(modules.split()), "\n".join(output)


def test_the_package_is_light() -> None:
    heavy, _ = loaded_by("import vae4counts; assert 'importlib.metadata' not in sys.modules")
    assert not heavy


def test_messages_are_for_those_who_ask() -> None:
    (handler,) = logging.getLogger("vae4counts").handlers
    assert isinstance(handler, logging.NullHandler)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_light(command: str) -> None:
    words = [word for word in (command, "--help") if word]
    heavy, output = loaded_by(HELP.format(words=words))
    assert not heavy
    assert "Usage" in output


def test_every_command_is_tried() -> None:
    names = [command.name for command in app.registered_commands]
    assert sorted(COMMANDS[1:]) == sorted(map(str, names))


def test_public_names_are_found() -> None:
    names = {"VAE", "GMVAE", "CountMixture", "load", "guide_for", "fit", "compare", "Run"}
    names |= {"write_report", "data", "models", "guides", "inference"}
    assert set(vae4counts.__all__) == names
    assert set(dir(vae4counts)) >= names
    for name in names:
        assert getattr(vae4counts, name) is not None
    assert vae4counts.fit is vae4counts.inference.fit
    with pytest.raises(AttributeError, match="nothing"):
        _ = vae4counts.nothing  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_installation() -> None:
    assert vae4counts.__version__ == version("vae4counts")
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output.strip() == f"vae4counts {version('vae4counts')}"
