"""What docstrings and annotations call by other names than those of the pages."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).parents[2]
ROOMS = ("data", "guides", "inference", "models")
# Names of other libraries as we write them, or as Python knows them, and as their own pages do.
ALIASES = {
    "AnnData": "anndata.AnnData",
    "Constraint": "torch.distributions.constraints.Constraint",
    "Path": "pathlib.Path",
    "Tensor": "torch.Tensor",
    "TraceEnum_ELBO": "pyro.infer.traceenum_elbo.TraceEnum_ELBO",
    "_DependentProperty": "torch.distributions.constraints.Constraint",
    "anndata._core.anndata.AnnData": "anndata.AnnData",
    "matplotlib.axes._axes.Axes": "matplotlib.axes.Axes",
    "nn.Module": "torch.nn.Module",
    "numpy.random._generator.Generator": "numpy.random.Generator",
    "pandas.core.frame.DataFrame": "pandas.DataFrame",
    "pandas.core.indexes.base.Index": "pandas.Index",
    "pandas.core.series.Series": "pandas.Series",
    "pd.DataFrame": "pandas.DataFrame",
    "pyro.distributions.torch.MultivariateNormal": (
        "torch.distributions.multivariate_normal.MultivariateNormal"
    ),
    "pyro.distributions.torch.TransformedDistribution": (
        "torch.distributions.transformed_distribution.TransformedDistribution"
    ),
    "scipy.sparse._base.sparray": "scipy.sparse.sparray",
    "scipy.sparse._matrix.spmatrix": "scipy.sparse.spmatrix",
    "torch.nn.modules.container.Sequential": "torch.nn.Sequential",
    "torch.nn.modules.linear.Linear": "torch.nn.Linear",
    "torch.nn.modules.module.Module": "torch.nn.Module",
}


@cache
def own_names() -> set[str]:
    """All names of the source: of modules, functions, classes, attributes and constants."""
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    found = {path.stem for path in paths}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return found


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element
) -> Element | None:
    """Find a name in any public package; show one that is not public as it is, without a link.

    Anything else is a warning, as are names that nothing has.
    """
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"] = ALIASES.get(node["reftarget"], node["reftarget"])
    domain = env.domains.python_domain
    for full in (f"{package}.{name}" for package in domain.modules):
        if full in domain.objects:
            entry = domain.objects[full]
            source = node.get("refdoc", env.docname)
            return make_refnode(app.builder, source, entry.docname, entry.node_id, content, full)
    return content if name.rpartition(".")[2] in own_names() else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Look names up before the libraries' inventories are."""
    app.connect("missing-reference", resolve, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
