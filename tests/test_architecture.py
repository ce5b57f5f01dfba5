"""How the code is organised: imports run one way, files and functions stay short."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("models", "guides", "data", "inference", "vae4counts")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
PACKAGES = sorted({path.parent for path in FILES})

# What a room may import from the others; the batch is the one thing that all may name, and models
# are told columns of `obs` and say which values they accept.
MAY_IMPORT = {
    "data": {"data"},
    "models": {
        "models",
        "data.counts.batch",
        "data.counts.columns",
        "data.counts.support",
        "data.errors",
    },
    "guides": {"guides", "models", "data.counts.batch"},
    "inference": {"inference", "guides", "models", "data"},
    "vae4counts": {"inference", "guides", "models", "data"},
}
# From the bottom to the top: a package imports only those before it.
LAYERS = (
    "parallel",
    "posterior",
    "interpretation",
    "plots",
    "run",
    "fitting",
    "report",
    "cli",
)
# The base classes: what inference may ask whether something is one of.
CONTRACTS = {"Model", "Guide", "Configured", "Decoder", "JointDistribution"}
# Layers of networks, not parts that a person swaps.
NETWORKS = {"BatchNorm", "SparseLinear"}
MAX_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 17  # of fit: model, guide, data and about a dozen more


def module_of(path: Path) -> str:
    """The dotted name of a file, without the leading ``vae4counts.``; the root package's is ""."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts[1:] if parts[0] == "vae4counts" else parts)


MODULES = {module_of(path): path for path in FILES}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def stub_of(package: str) -> dict[str, str]:
    """For each name that a lazy package gives, the module that holds it."""
    stub = MODULES[package].with_suffix(".pyi")
    if not stub.exists():
        return {}
    places = {}
    for node in ast.walk(ast.parse(stub.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            stem = ".".join(filter(None, [package, node.module]))
            for alias in node.names:
                inside = f"{stem}.{alias.name}".removeprefix(".")
                places[alias.name] = inside if inside in MODULES else stem
    return places


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _nodes(child)


def imported(path: Path) -> set[str]:
    """The modules of this project that a file imports, also inside functions."""
    package = module_of(path).split(".") if module_of(path) else []
    if path.stem != "__init__":
        package = package[:-1]
    found: set[str] = set()
    for node in _nodes(tree_of(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("vae4counts")]
            found |= {name.removeprefix("vae4counts").removeprefix(".") for name in names}
        elif isinstance(node, ast.ImportFrom):
            stem = node.module or ""
            if node.level:
                base = package[: len(package) + 1 - node.level]
                stem = ".".join([*base, *filter(None, [node.module])])
            elif stem.split(".")[0] == "vae4counts":
                stem = stem.removeprefix("vae4counts").removeprefix(".")
            else:
                continue
            for alias in node.names:
                inside = f"{stem}.{alias.name}".removeprefix(".")
                found.add(inside if inside in MODULES else stub_of(stem).get(alias.name, stem))
    return {name for name in found if name in MODULES}


GRAPH = {name: imported(path) - {name} for name, path in MODULES.items()}


def circles() -> list[list[str]]:
    """Groups of modules that import each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in GRAPH[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = []
            while not group or group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in GRAPH:
        if name not in index:
            visit(name)
    return found


def test_there_are_files() -> None:
    assert len(FILES) > 100
    assert {name.split("/")[0] for name in NAMES} == set(ROOMS)
    assert sum(map(len, GRAPH.values())) > 300


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_one_way(name: str) -> None:
    room = MODULES[name].relative_to(ROOT).parts[0]
    for other in GRAPH[name]:
        assert any(other == able or other.startswith(f"{able}.") for able in MAY_IMPORT[room]), (
            other
        )


def test_nothing_imports_in_a_circle() -> None:
    assert circles() == []


def test_layers_of_inference_hold() -> None:
    wrong = []
    for name, others in GRAPH.items():
        parts = name.split(".")
        if parts[0] != "inference" or len(parts) < 2 or parts[1] not in LAYERS:
            continue
        above = LAYERS[LAYERS.index(parts[1]) + 1 :]
        wrong += [
            (name, other)
            for other in others
            if other.startswith("inference.") and other.split(".")[1] in above
        ]
    assert wrong == []


# What is named in text and found when it is asked for: methods of `Run`, where users look for them.
NAMED_ABOVE = {
    ("inference.run.run", "inference.fitting.adapt"),
    ("inference.run.run", "inference.report.page"),
}


def named_in_text(path: Path) -> set[str]:
    """The modules of this project that a file names as ``"vae4counts.module:function"``."""
    texts = (
        node.value
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    found = (re.fullmatch(r"vae4counts\.([\w.]+):\w+", text) for text in texts)
    return {match[1] for match in found if match}


def test_layers_hold_for_what_is_named_in_text_but_for_two() -> None:
    found = {
        (name, other)
        for name, path in MODULES.items()
        if name.startswith("inference.")
        for other in named_in_text(path)
        if LAYERS.index(other.split(".")[1]) > LAYERS.index(name.split(".")[1])
    }
    assert found == NAMED_ABOVE


def test_every_package_of_inference_is_a_layer() -> None:
    folders = {path.name for path in PACKAGES if path.parent == ROOT / "inference"}
    assert folders == set(LAYERS)


def parts() -> set[str]:
    """The classes of models and guides that a person swaps."""
    classes = set()
    for path in FILES:
        if path.relative_to(ROOT).parts[0] in ("models", "guides"):
            classes |= {n.name for n in ast.walk(tree_of(path)) if isinstance(n, ast.ClassDef)}
    return {name for name in classes if not name.startswith("_")} - CONTRACTS - NETWORKS


def calls_of(module: str, *functions: str) -> Iterator[ast.Call]:
    """The calls of functions of these names."""
    for node in ast.walk(tree_of(MODULES[module])):
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if named and node.func.id in functions:  # type: ignore[attr-defined]
            yield node  # type: ignore[misc]


def name_in(node: ast.AST) -> str:
    """The name that a node is: ``VAE``, or the last one of ``models.VAE``; none of torch's."""
    if ast.unparse(node).startswith("torch."):
        return ""
    return getattr(node, "attr", getattr(node, "id", ""))


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("inference")])
def test_inference_asks_for_no_concrete_part(name: str) -> None:
    concrete = parts()
    assert {"VAE", "GaussianMixture", "NegativeBinomial", "JointGuide"} <= concrete
    for call in calls_of(name, "isinstance", "issubclass"):
        asked = {name_in(n) for n in ast.walk(call.args[1])}
        assert not asked & concrete, ast.unparse(call)


# Where a library, not a part of ours, may or may not have something.
OPTIONAL = {
    "inference.parallel.matmul": {"matmul", "fp32_precision"},
    "inference.parallel.memory": {"mallopt"},
    "inference.parallel.processes": {"__file__"},  # a notebook has none
}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("inference")])
def test_inference_guesses_no_capability(name: str) -> None:
    for call in calls_of(name, "hasattr", "getattr"):
        if isinstance(call.args[1], ast.Constant):
            assert call.args[1].value in OPTIONAL.get(name, ()), ast.unparse(call)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


# The options of a command are its parameters, each with its help.
COMMANDS = {"fit_command"}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_functions_fit_on_a_screen(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name not in COMMANDS:
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"
            arguments = node.args
            n = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
            assert n <= MAX_PARAMETERS, f"{node.name} has {n} parameters"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_file_needs_pickle(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    for word in ("pickle", "torch.load", "joblib.load", "eval("):
        found = [line for line in source.splitlines() if word in line.replace(".eval(", "")]
        assert all("unpickle" in line for line in found), found


def test_every_package_is_typed_and_installed() -> None:
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in PACKAGES:
        assert (package / "__init__.py").exists(), package
        assert (package / "py.typed").exists(), package
        relative = package.relative_to(ROOT)
        name = (
            "vae4counts"
            if str(relative) == "vae4counts"
            else "vae4counts." + ".".join(relative.parts)
        )
        assert f'    "{name}",' in listed, package
        assert f'"{name}" = "{relative.as_posix()}"' in listed, package


def test_the_root_holds_names_alone() -> None:
    assert not (ROOT / "__init__.py").exists()
    files = {path.name for path in (ROOT / "vae4counts").iterdir() if path.is_file()}
    assert files <= {"__init__.py", "__init__.pyi", "__main__.py", "py.typed"}
