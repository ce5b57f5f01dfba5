"""The command that is running, as one would type it."""

from __future__ import annotations

import shlex
from collections.abc import Collection

import typer

# Options that the results do not depend on.
INCIDENTAL = ("checkpoint_minutes", "resume", "device", "devices", "logger", "log_folder")


def command_line(context: typer.Context, without: Collection[str] = INCIDENTAL) -> str:
    """Return the running command with those of its options that are not at their default.

    Args:
        context: The command's context.
        without: Names of parameters to leave out.
    """
    words = ["vae4counts", str(context.info_name)]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif value not in (parameter.default, ()) and parameter.name not in without:
            flag = parameter.opts[0]
            given = value if isinstance(value, (list, tuple)) else [value]
            for each in given:
                words += [flag] if each is True else [flag, str(each)]
    return shlex.join(words)
