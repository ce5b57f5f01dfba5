"""A shell completes commands, options, their choices, and the names of data sets."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from vae4counts.inference.cli import app


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("eva", ["evaluate"]),
        ("fit pbmc68k-r", ["pbmc68k-reduced"]),
        ("fit counts.h5ad --feature-method d", ["deviance"]),
        ("fit no-such-name", []),  # the shell then completes files
    ],
)
def test_a_shell_completes(words: str, expected: list[str]) -> None:
    line = f"vae4counts {words}"
    asked = {
        "_VAE4COUNTS_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    done = CliRunner().invoke(app, prog_name="vae4counts", env=asked)
    assert done.stdout.split() == expected


def test_completion_can_be_installed() -> None:
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout
