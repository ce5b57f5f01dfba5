"""What index pages, conda and citations say is what pyproject.toml says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Template

import vae4counts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Packages that conda-forge calls otherwise.
CONDA_NAMES = {
    "lazy-loader": "lazy_loader",
    "lightning-fabric": "pytorch-lightning",
    "matplotlib": "matplotlib-base",
    "torch": "pytorch",
}


@pytest.fixture(scope="module")
def recipe() -> Any:
    text = Template((ROOT / "recipe" / "meta.yaml").read_text()).render(PYTHON="python")
    return yaml.safe_load(text)


def test_there_is_one_version(recipe: Any) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    versions = {vae4counts.__version__, citation["version"], recipe["package"]["version"]}
    assert versions == {PROJECT["version"]}


def test_the_recipe_asks_for_what_the_project_asks_for(recipe: Any) -> None:
    needs = [re.fullmatch(r"([\w-]+)(>=[\d.]+)", need) for need in PROJECT["dependencies"]]
    wanted = {CONDA_NAMES.get(need[1], need[1]): need[2] for need in needs if need}
    assert len(wanted) == len(PROJECT["dependencies"])
    wanted["python"] = PROJECT["requires-python"]
    assert dict(line.split() for line in recipe["requirements"]["run"]) == wanted
    (command,) = recipe["build"]["entry_points"]
    assert command.split(" = ") == [*PROJECT["scripts"].popitem()]
    assert recipe["about"]["license"] == PROJECT["license"]
    assert recipe["about"]["home"] == PROJECT["urls"]["Homepage"]


def test_the_minimal_installation_is_small() -> None:
    names = {re.split(r"[>=]", need)[0] for need in PROJECT["dependencies"]}
    assert not names & {"loompy", "scanpy", "scikit-misc", "statsmodels", "umap-learn"}


def test_index_pages_show_the_pictures_of_the_readme() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "README.md").read_text())
    start = PROJECT["urls"]["Homepage"].replace("github.com", "raw.githubusercontent.com")
    for picture in pictures:
        assert picture.startswith(f"{start}/main/")
        assert (ROOT / picture.removeprefix(f"{start}/main/")).exists()


def test_python_runs_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vae4counts", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"vae4counts {vae4counts.__version__}"
