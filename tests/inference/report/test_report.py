"""The page of a run: what is on it, all of it in one file, and nothing of the data read as HTML."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data import UnknownName
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import Run, RunDirectoryError, fit, write_report
from vae4counts.inference.report import SECTIONS, elements
from vae4counts.inference.report.elements import shown
from vae4counts.inference.report.figures import FIGURES, write_figure
from vae4counts.inference.report.subject import Subject
from vae4counts.models import GMVAE, VAE, CountMixture, GaussianMixtureModel, Model
from vae4counts.models.likelihoods import Categorical
from vae4counts.models.priors import GaussianMixture, StandardNormal, TopicPrior

pytestmark = pytest.mark.slow

NASTY = "</script><script>alert(1)</script>"
VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.open = "", list[str]()
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self) -> list[str | None]:
        """The names of the sections."""
        return [attributes["id"] for attributes in self.all("section")]


@pytest.fixture(scope="module")
def reported(fitted_run: Run) -> Run:
    """The run of `page`, which has measured it."""
    return copy.deepcopy(fitted_run)


@pytest.fixture(scope="module")
def page(reported: Run, two_groups: AnnData, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of a run on the data that it was fitted to."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(reported, two_groups.copy(), path, colour_by=["site", reported.features[0]])
    return Page(path)


def quick(model: Model, adata: AnnData, **settings: Any) -> Run:
    guide = guide_for(model, encoder=Encoder((8,)))
    return fit(model, guide, adata, epochs=1, progress=False, device="cpu", **settings)


def test_it_holds_all_that_it_shows(page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert re.match(r"data:|#", attributes.get(name) or "#"), (tag, attributes)
    assert "url(" not in page.source
    assert "@import" not in page.source
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", page.source)
    (policy,) = [m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in str(policy["content"])


def test_it_can_be_read_by_all(page: Page) -> None:
    assert not page.open
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert len(page.all("h2")) == len(page.sections)
    assert all(len(image["alt"] or "") > 20 for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    links = [str(link["href"]) for link in page.all("a")]
    assert {link[1:] for link in links} == {*page.sections, "content"}
    assert any("viewport" in meta.values() for meta in page.all("meta"))


def test_it_opens_with_a_verdict_and_the_map(page: Page, reported: Run) -> None:
    assert page.sections[:4] == ["verdict", "latent-space", "components", "checks"]
    assert "that training has not seen" in page.text.partition("In short")[2][:400]
    choices = [known["value"] for known in page.all("input")]
    assert choices == ["0", "1", "2", "3"]
    assert f"component site {reported.features[0]}" in " ".join(page.text.split())
    assert "p < 1/100" in page.source or "p = " in page.source


def test_a_mixture_with_a_linear_decoder_has_all_but_directions(
    page: Page, reported: Run, adata: AnnData
) -> None:
    assert page.sections == [name for name in SECTIONS if name not in LEFT_OUT]
    assert "100 observations of 7 features" in page.text
    assert "The column 'group' holds 2 known classes" in page.text
    assert f"{len(reported.split.test)} were held out" in page.text
    assert shown(reported.metrics["iw_log_likelihood"]) in page.text
    for name in ("GMVAE", "NegativeBinomial", "LinearDecoder", "MarginalGuide", "n latent: 2"):
        assert name in page.text
    zeros = 1 - adata.layers["raw"].nnz / adata.layers["raw"].toarray().size
    assert f"{zeros:.1%} of the counts are zero" in page.text
    view = reported.interpret(adata)
    top = view.component_contrasts()["0"].sort_values(ascending=False)
    within = view.component_spreads().loc[top.index[0], "0"]
    assert f"{top.index[0]} ({top.iloc[0]:+.1f}\xa0±\xa0{within:.1f})" in page.text
    quality = reported.on(adata).posterior_quality(np.sort(reported.split.test), refine=True)
    assert f"{quality['effective_draws'].median():,.3g}" in page.text
    loading = reported.loadings()
    assert loading is not None
    assert f"{loading['z0'].idxmax()} ({loading['z0'].max():+.1f})" in page.text


# Of a mixture with a linear decoder.
LEFT_OUT = {"covariates", "directions", "feature-tree", "modalities", "topics"}
MODELS: dict[str, tuple[Callable[[], Model], set[str]]] = {
    "vae": (lambda: VAE(7, StandardNormal(2)), {"components", "diagnosis", "loadings"}),
    "linear vae": (
        lambda: VAE(7, StandardNormal(1), decoder="linear"),
        {"components", "diagnosis", "directions"},
    ),
    "topics": (lambda: VAE(7, TopicPrior(2)), {"components", "diagnosis"}),
    "classes": (
        lambda: VAE(7, StandardNormal(2), Categorical(4), library=None),
        {"components", "diagnosis", "loadings"},
    ),
    "count mixture": (
        lambda: CountMixture(7, 2),
        {"posteriors", "latent-space", "loadings", "directions"},
    ),
    "gaussian mixture": (
        lambda: GaussianMixtureModel(7, 2),
        {"posteriors", "latent-space", "loadings", "directions", "checks"},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_sections_are_those_that_the_model_has(name: str, adata: AnnData, tmp_path: Path) -> None:
    make, missing = MODELS[name]
    run = quick(make(), adata)
    write_report(run, adata, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    others = {"loadings", "directions"} if name == "topics" else {"topics"}
    others |= {"covariates", "feature-tree", "modalities"}
    assert set(page.sections) == set(SECTIONS) - missing - others
    assert "may be rotated" not in page.text or name == "linear vae"
    assert ("same after any rotation" in page.text) == (name == "linear vae")


def test_names_are_never_read_as_html(adata: AnnData, tmp_path: Path) -> None:
    adata.var_names = [NASTY, "<!--", "{braces}", "a & b", 'a"b', "$x^{$", *adata.var_names[6:]]
    adata.obs_names = [f"{NASTY}{i}" for i in range(adata.n_obs)]
    adata.obs["<b>"] = [f"<i>{group}" for group in adata.obs["group"]]
    run = quick(VAE(7, StandardNormal(2), decoder="linear"), adata, label="<b>")
    run.settings["data"] = NASTY
    run.settings["command"] = f"vae4counts fit '{NASTY}'"
    write_report(run, adata, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert len(page.all("script")) == 2
    assert not page.all("b")
    assert not page.all("i")
    for text in (NASTY, "<!--", "{braces}", "a & b", 'a"b', "'<b>' holds 2"):
        assert text in page.text


@pytest.mark.parametrize(("decoder", "others"), [("linear", {"topics"}), ("topics", {"loadings"})])
def test_any_name_through_every_section_and_figure(
    decoder: str, others: set[str], nasty: tuple[str, ...], tmp_path: Path
) -> None:
    """Warnings are errors: a section that fails would warn."""
    rng = np.random.default_rng(0)
    n, names = 3 * len(nasty), [*nasty, *(f"{name} again" for name in nasty)]
    adata = AnnData(
        rng.poisson(2.0, (n, len(names))).astype(np.float32),
        pd.DataFrame({"<b>_$": [*nasty] * 3}, [f"{name}{i}" for i, name in enumerate(nasty * 3)]),
        pd.DataFrame(index=names),
    )
    run = quick(GMVAE(len(names), GaussianMixture(2, 3), decoder=decoder), adata, label="<b>_$")
    run.settings["data"] = "".join(nasty[:-5])
    write_report(run, adata, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    others = others | {"feature-tree", "modalities"}
    assert set(page.sections) == set(SECTIONS) - others - {"covariates", "directions"}
    assert len(page.all("script")) == 2
    assert not page.all("b")
    subject = Subject(run.on(adata))
    for name in FIGURES:
        write_figure(name, subject, tmp_path / f"{name}.png")
    assert {path.stem for path in tmp_path.glob("*.png")} == set(FIGURES) - others


def test_long_tables_and_lists_are_cut() -> None:
    long = pd.DataFrame(np.zeros((5000, 100)))
    assert elements.table(long, "Long").count("<tr>") == 201
    assert "Long (200 of 5,000 rows and 60 of 100 columns)" in elements.table(long, "Long")
    assert shown(list(range(60))).endswith("49, and 10 more")


def test_ten_thousand_observations_in_five_thousand_classes_are_no_large_page(
    run: Run, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    many = AnnData(
        sp.csr_matrix(rng.poisson(2.0, size=(10_001, 7)).astype(np.float32)),
        obs=pd.DataFrame(
            {"group": [f"a kind of cell {i % 5000}" for i in range(10_001)]},
            [f"AAACATACAACCAC-{i}-batch" for i in range(10_001)],
        ),
        var=pd.DataFrame(index=run.features),
    )
    many.layers["raw"] = many.X
    before = dict(run.metrics)
    write_report(run, many, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert len(page.source.encode()) < 2e6
    assert "GMVAE on data" in page.text
    assert "The model was fitted to other data, and is evaluated on all of these" in page.text
    assert "10,000 of 10,001 observations, chosen at random" in page.text
    assert "4,953 others" in page.source
    assert page.source.count("AAACATACAACCAC-") == 10_000
    assert run.metrics == before  # of the fit, not of other data


def test_the_same_page_twice(run: Run, adata: AnnData, page: Page, tmp_path: Path) -> None:
    again = tmp_path / "report.html"
    # `write_report` has written the first
    run.report(adata, again, colour_by=["site", run.features[0]])
    assert again.read_text(encoding="utf-8") == page.source
    assert list(tmp_path.iterdir()) == [again]
    assert set(adata.obs) == {"group", "site", "donor", "depth"}


def test_what_cannot_be_written_leaves_nothing(run: Run, adata: AnnData, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="make it first"):
        write_report(run, adata, tmp_path / "none" / "report.html")
    with pytest.raises(RunDirectoryError, match="is a directory"):
        write_report(run, adata, tmp_path)
    with pytest.raises(UnknownName, match="kind"):
        write_report(run, adata, tmp_path / "report.html", label="kind")
    assert not list(tmp_path.iterdir())


SMALL = {
    "5 observations": np.random.default_rng(0).poisson(1.0, (5, 30)),
    "20 observations": np.random.default_rng(0).poisson(1.0, (20, 4)),
    "one feature": np.random.default_rng(0).poisson(1.0, (12, 1)),
    "two features": np.random.default_rng(0).poisson(1.0, (12, 2)),
    "all zero": np.zeros((12, 3)),
    "constant": np.ones((12, 3)),
}


@pytest.mark.parametrize(
    ("kind", "n_components"), [*((kind, 2) for kind in SMALL), ("5 observations", 1)]
)
@pytest.mark.filterwarnings("ignore:.* have no counts at all")
def test_the_smallest_data_have_every_section(kind: str, n_components: int, tmp_path: Path) -> None:
    """A section that fails would warn, which is an error here."""
    adata = AnnData(SMALL[kind].astype(np.float32))
    run = quick(GMVAE(adata.n_vars, GaussianMixture(2, n_components)), adata)
    write_report(run, adata, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    missing = {"covariates", "feature-tree", "loadings", "modalities", "topics"}
    assert set(page.sections) == set(SECTIONS) - missing
    assert "could not be made" not in page.text


def test_a_section_that_fails_costs_a_line(
    run: Run, adata: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(subject: object) -> None:
        raise ZeroDivisionError("nothing <b>to</b>\nshow")

    monkeypatch.setitem(SECTIONS, "training", fail)
    with pytest.warns(UserWarning, match="section 'training' .* could not be made .nothing <b>"):
        write_report(run, adata, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert page.sections == [name for name in SECTIONS if name not in LEFT_OUT]
    assert "This section could not be made (nothing <b>to</b>)." in page.text
    assert not page.all("b")


def test_values_as_people_read_them() -> None:
    values = {0.12345: "0.123", 12345.6: "12,345.6", 7: "7", 70_000: "70,000", "a": "a"}
    assert {value: shown(value) for value in values} == values
    assert [shown(None), shown(float("nan")), shown(True)] == ["-", "-", "yes"]
    assert shown(np.int64(3)) == "3"
    assert shown({"a": 1, "b": [1, 2]}) == "a: 1<br>b: 1, 2"
    assert shown({"<": "<"}) == "&lt;: &lt;"
