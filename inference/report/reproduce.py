"""How to make a run again: its pair and its fit, as lines of Python."""

from __future__ import annotations

import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from vae4counts import inference
from vae4counts.inference.fitting.fit import fit
from vae4counts.inference.run.fitted_pair import FittedPair
from vae4counts.models.config import find_class

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
Imports = defaultdict[str, set[str]]
"""Names to import, by the module that they are imported from."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    found = {"Python": python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from its source
            found[name] = "not installed"
    return found


def python_lines(run: FittedPair) -> str:
    """Return a script that fits the run again.

    Raises:
        TypeError: A part of the pair cannot describe itself, or cannot be imported; or the fit
            began from parameters that are not known.
    """
    if run.settings.get("schedule", {}).get("warm_start"):
        raise TypeError("it began from the parameters that the pair had")
    imports: Imports = defaultdict(set, {"vae4counts.inference": {"fit"}})
    pair = {"model": run.model.config(), "guide": run.guide.config()}
    lines = [
        *_data_lines(run, imports),
        *(f"{name} = {_expression(config, imports, LINES)}" for name, config in pair.items()),
        f"run = fit({', '.join(['model', 'guide', 'adata', *_arguments(run, imports)])})",
    ]
    head = [f"from {home} import {', '.join(sorted(imports[home]))}" for home in sorted(imports)]
    return "\n".join([*head, "", *lines])


def _data_lines(run: FittedPair, imports: Imports) -> Iterator[str]:
    """Lines that load the data and choose their features, as the command line did."""
    source = run.settings.get("data")
    if source is None:
        yield "adata = ...  # the data that the run was fitted to"
        return
    imports["vae4counts.data"].add("load")
    settings = run.settings | {"modalities": run.settings.get("load_modalities")}
    defaults = {
        "transpose": None,
        "feature_type": None,
        "modalities": None,
        "out_of_core": False,
    }
    options = {name: settings.get(name, default) for name, default in defaults.items()}
    given = [f", {name}={value!r}" for name, value in options.items() if value != defaults[name]]
    yield f"adata = load({source!r}{''.join(given)})"
    layer = "" if run.layer is None else f", layer={run.layer!r}"
    if run.settings.get("round"):
        imports["vae4counts.data"].add("round_counts")
        yield f"adata = round_counts(adata{layer})"
    if not _chooses_features(run):
        return
    of_each = [layer]
    if run.modalities is not None:
        imports["vae4counts.data"].add("modalities_of")
        yield f"adata = modalities_of(adata, modalities={run.modalities!r})"
        counted = (name for name in run.model.tables if run.model.observed(name).holds_counts)
        of_each = [f", modality={name!r}" for name in counted]
    for which in of_each:
        if frequent := run.settings.get("min_observations"):
            imports["vae4counts.data"].add("frequent_features")
            yield f"adata = frequent_features(adata, {frequent}{which})"
        if (top := run.settings.get("top_features")) is not None:
            imports["vae4counts.data"].add("top_features")
            method = run.settings.get("feature_method", "deviance")
            chosen_by = "" if method == "deviance" else f", method={method!r}"
            yield f"adata = top_features(adata, {top}{which}{chosen_by})"


def _chooses_features(run: FittedPair) -> bool:
    """Whether the command line chose features, of modalities that it then found already."""
    settings = run.settings
    return bool(settings.get("min_observations")) or settings.get("top_features") is not None


def _arguments(run: FittedPair, imports: Imports) -> Iterator[str]:
    """The arguments of the fit that are not at their defaults."""
    places = None if _chooses_features(run) else run.modalities
    given = {"layer": run.layer, "label": run.label, "modalities": places, **run.settings}
    for name, parameter in inspect.signature(fit).parameters.items():
        if name not in given:
            continue
        if is_dataclass(parameter.default):
            options = list(_options(parameter.default, given[name], imports))
            if options:
                kind = type(parameter.default).__name__
                imports["vae4counts.inference"].add(kind)
                yield f"{name}={kind}({', '.join(options)})"
        elif given[name] != parameter.default:
            yield f"{name}={given[name]!r}"


def _options(default: Any, saved: dict[str, Any], imports: Imports) -> Iterator[str]:
    """The fields of a dataclass that are not at their defaults."""
    for name in (field.name for field in fields(default) if field.name in saved):
        value = saved[name]
        if name == "handlers":
            if value:
                imports["vae4counts.inference"] |= set(map(_handler_class, value))
                yield f"handlers=[{', '.join(value)}]"
        elif value != getattr(default, name):
            yield f"{name}={value!r}"


def _handler_class(text: str) -> str:
    """The class of a handler, of which a run keeps the `repr` alone."""
    name = re.match(r"\w*", text)[0]  # type: ignore[index]  # it matches any text
    if name not in dir(inference):
        raise TypeError(f"{text} is a handler of your own")
    return name


def _expression(config: Any, imports: Imports, between: str = ", ") -> str:
    """The call that makes what `Configured.config` describes."""
    if isinstance(config, list):
        return f"[{', '.join(_expression(each, imports) for each in config)}]"
    if not isinstance(config, dict):
        return repr(config)
    if "type" not in config:  # parts by name, such as modalities
        named = (f"{name!r}: {_expression(part, imports)}" for name, part in config.items())
        return f"{{{', '.join(named)}}}"
    kind = find_class(config["type"])
    outermost, _, _ = kind.__qualname__.partition(".")
    if "<locals>" in kind.__qualname__:
        raise TypeError(f"{outermost} defines {kind.__name__}, which cannot be imported")
    imports[_public_home(kind, outermost)].add(outermost)
    values = [
        f"{key}={_expression(value, imports)}" for key, value in config.items() if key != "type"
    ]
    inside = between.join(values)
    if "\n" in between and values:
        inside = f"\n    {inside},\n"
    return f"{kind.__qualname__}({inside})"


def _public_home(kind: type, name: str) -> str:
    """The shortest module that a class can be imported from; of ours, a sub-package."""
    parts = kind.__module__.split(".")
    homes = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
    holder = getattr(sys.modules[kind.__module__], name)
    for home in homes:
        if home != "vae4counts" and getattr(sys.modules.get(home), name, None) is holder:
            return home
    return kind.__module__
