"""How to make a run again: its pair and its fit, as lines of Python."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from vae4counts.inference.fitting.fit import fit
from vae4counts.inference.run.run import Run
from vae4counts.models import Configured

# Between the arguments of a call: each on a line of its own.
LINES = ",\n    "
PACKAGES = (
    "vae4counts",
    "torch",
    "pyro-ppl",
    "numpy",
    "scipy",
    "pandas",
    "anndata",
    "scanpy",
    "scikit-learn",
    "umap-learn",
    "matplotlib",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, as they are now."""
    found = {"Python": python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from its source
            found[name] = "not installed"
    return found


def python_lines(run: Run) -> str:
    """A script that fits the run again.

    Raises:
        TypeError: A part of the pair knows no description of itself.
    """
    pair = {"model": run.model.config(), "guide": run.guide.config()}
    imports: dict[str, set[str]] = {"vae4counts.inference": {"fit"}}
    for name in _types([*pair.values()]):
        imports.setdefault(_public_home(Configured.registry[name]), set()).add(name)
    source, top = run.settings.get("data"), run.settings.get("top_features")
    lines = ["adata = ...  # the data that the run was fitted to"]
    if source is not None:
        imports["vae4counts.data"] = {"load"}
        lines = [f"adata = load({source!r})"]
    if top is not None:
        imports["vae4counts.data"] = {"load", "top_features"}
        lines.append(f"adata = top_features(adata, {top}, layer={run.layer!r})")
    lines.append(f"torch.manual_seed({run.settings.get('seed', 0)})  # the networks' first weights")
    lines += [f"{name} = {_expression(config, LINES)}" for name, config in pair.items()]
    given = {"layer": run.layer, "label": run.label, **run.settings}
    arguments = [
        f"{name}={given[name]!r}"
        for name, parameter in inspect.signature(fit).parameters.items()
        if name in given and given[name] != parameter.default
    ]
    lines.append(f"run = fit({', '.join(['model', 'guide', 'adata', *arguments])})")
    head = [f"from {home} import {', '.join(sorted(imports[home]))}" for home in sorted(imports)]
    return "\n".join(["import torch", "", *head, "", *lines])


def _expression(config: Any, between: str = ", ") -> str:
    """The call that makes what `Configured.config` describes."""
    if isinstance(config, list):
        return f"[{', '.join(map(_expression, config))}]"
    if not isinstance(config, dict):
        return repr(config)
    values = [f"{key}={_expression(value)}" for key, value in config.items() if key != "type"]
    inside = between.join(values)
    if "\n" in between and values:
        inside = f"\n    {inside},\n"
    return f"{config['type']}({inside})"


def _types(config: Any) -> Iterator[str]:
    """Names of all classes in a description."""
    if isinstance(config, dict):
        yield config["type"]
    if isinstance(config, (dict, list)):
        for part in config.values() if isinstance(config, dict) else config:
            yield from _types(part)


def _public_home(kind: type) -> str:
    """The shortest module that a class can be imported from."""
    parts = kind.__module__.split(".")
    homes = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return next(home for home in homes if getattr(sys.modules.get(home), kind.__name__, 0) is kind)
