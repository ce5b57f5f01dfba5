"""Figures: on the axes that are given or on new ones, showing what the tables hold."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from vae4counts.data import DataError
from vae4counts.inference import plots
from vae4counts.inference.plots.style import apart, plain
from vae4counts.models import FeatureTree

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
PLANE = RNG.normal(size=(90, 2))
CLASSES = pd.Series(np.array(["a", "b", "c"])[np.arange(90) % 3])
TABLE = pd.DataFrame(RNG.normal(size=(20, 3)), [f"gene{j}" for j in range(20)], ["0", "1", "2"])
TABLE.columns.name = "component"
LIFT = pd.DataFrame([[np.nan, 4.0], [4.0, np.nan]], ["fork", "cake"], ["fork", "cake"])
ALONG = pd.DataFrame(np.geomspace(1, 100, 15).reshape(5, 3), np.linspace(0, 1, 5), list("xyz"))
HISTORY = pd.DataFrame(
    {
        "phase": ["plain"] * 3 + ["full"] * 3,
        "train_elbo": [-30.0, -22, -20, -19, -18, -17],
        "validation_elbo": [-31.0, -23, -21, -20, -19.5, -19],
        "validation_reconstruction": [-29.0, -19, -17, -16, -15, -14],
    }
)
CHANGES = pd.DataFrame(
    {
        "lfc_mean": [3.0, -2.0, 0.1],
        "bayes_factor": [18.4, 3.0, -1.0],
        "proba_de": [1.0, 0.95, 0.27],
        "is_de_fdr_0.05": [True, True, False],
        "comparison": "a vs b",
    },
    index=["up", "down", "same"],
)
GROUPS = pd.DataFrame(
    {
        "nats": [0.0, 0.8, 0.9],
        "nats_se": [0.0, 0.1, 0.1],
        "overlap": [0.0, 0.1, 0.3],
        "mean_stability": [1.0, 0.9, 0.5],
    },
    index=pd.Index([1, 2, 3], name="groups"),
)
SHAPES = {"by the guide": pd.Series([0.9, np.inf]), "refined": pd.Series([-np.inf, 0.3, 0.4])}
TREE = FeatureTree(
    parents=np.array([1, -1, 1, 2]),
    nodes=np.array([0, 0, 2, 3]),
    information=np.array([0.1, 0.0, 0.3, 0.2]),
)
SHARES = pd.DataFrame({"rna": [0.9, 0.1], "protein": [0.25, 0.75]}, index=["z0", "z1"])
GAINS = pd.DataFrame({"rna": [np.nan, 2.5], "protein": [-0.5, np.nan]}, index=["rna", "protein"])
FIGURES: dict[str, Callable[..., Axes]] = {
    "latent_space": lambda **ax: plots.latent_space(PLANE, CLASSES, **ax),
    "traversal": lambda **ax: plots.traversal(ALONG, **ax),
    "component_heatmap": lambda **ax: plots.component_heatmap(
        pd.DataFrame([[3, 0], [1, 2]], ["a", "b"], ["0", "1"]), **ax
    ),
    "top_features_heatmap": lambda **ax: plots.top_features_heatmap(TABLE, **ax),
    "latent_shares_heatmap": lambda **ax: plots.latent_shares_heatmap(SHARES, **ax),
    "gains_heatmap": lambda **ax: plots.gains_heatmap(GAINS, **ax),
    "topic_heatmap": lambda **ax: plots.topic_heatmap(TABLE.abs(), **ax),
    "cooccurrence_heatmap": lambda **ax: plots.cooccurrence_heatmap(LIFT, **ax),
    "training_history": lambda **ax: plots.training_history(HISTORY, **ax),
    "component_weights": lambda **ax: plots.component_weights([0.6, 0.3, 0.1], **ax),
    "component_overlaps": lambda **ax: plots.component_overlaps([0.2, 0.9, 0.9], **ax),
    "component_stability": lambda **ax: plots.component_stability([0.9, 0.0, 0.4], **ax),
    "how_many_groups": lambda **ax: plots.how_many_groups(GROUPS, **ax),
    "volcano": lambda **ax: plots.volcano(CHANGES, **ax),
    "pareto_shapes": lambda **ax: plots.pareto_shapes(SHAPES, **ax),
    "feature_tree": lambda **ax: plots.feature_tree(TREE, [*"abcd"], **ax),
}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def legend(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("name", FIGURES)
def test_axes_given_or_new(name: str, tmp_path: Any) -> None:
    figure, ax = plt.subplots(layout="constrained")
    assert FIGURES[name](ax=ax) is ax
    figure.savefig(tmp_path / "given.png")
    new = FIGURES[name]()
    assert isinstance(new, Axes)
    assert new is not ax
    new.figure.savefig(tmp_path / "new.png")


def test_every_figure_is_tested() -> None:
    drawn = {name for name in plots.__all__ if name.islower()}
    others = {"best_directions", "two_dimensions"}
    others |= {"class_styles", "class_colours", "component_colours"}
    assert drawn - others == set(FIGURES)


def test_classes_in_the_plane() -> None:
    classes = "type " + CLASSES
    ax = plots.latent_space(PLANE, classes)
    assert legend(ax) == ["type a", "type b", "type c"]
    assert not texts(ax)
    ordered = pd.Series(pd.Categorical(classes, categories=["type c", "type a", "type b", "none"]))
    assert legend(plots.latent_space(PLANE, ordered)) == ["type c", "type a", "type b"]
    with pytest.raises(DataError, match="89 classes for 90 observations"):
        plots.latent_space(PLANE, CLASSES[1:])


def test_many_classes_are_named_where_they_lie() -> None:
    many = pd.Series([f"type {i % 30:02d}" for i in range(90)])
    ax = plots.latent_space(PLANE, many)
    assert texts(ax) == legend(ax) == [f"type {i:02d}" for i in range(30)]
    heights = [text.get_position() for text in ax.texts]
    assert len(set(heights)) == 30
    components = plots.latent_space(PLANE, pd.Series([str(i % 12) for i in range(90)]))
    assert set(texts(components)) == {str(i) for i in range(12)}
    assert components.get_legend() is None  # numbers in the plane need no others


def test_names_that_lie_together_cover_each_other_no_more() -> None:
    plane, few = (
        np.zeros((12, 2)) + RNG.normal(size=(12, 1)) * 1e-3,
        [f"name {i}" for i in range(9)],
    )
    ax = plots.latent_space(plane, pd.Series(pd.Categorical([*few, *few[:3]])))
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 9
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert min(one.y1, other.y1) - max(one.y0, other.y0) < 0.35 * one.height


def test_a_few_observations_far_away_leave_the_map_to_the_others() -> None:
    plane = np.concatenate([RNG.normal(size=(2000, 2)), [[500.0, 500.0]]])
    ax = plots.latent_space(plane, pd.Series(["a"] * 2001))
    assert ax.get_xlim()[1] < 10
    assert ax.get_ylim()[1] < 10


def test_observations_beyond_those_laid_out_lie_among_their_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class FirstTwo:
        def __init__(self, **_: Any) -> None: ...

        def fit_transform(self, latents: np.ndarray) -> np.ndarray:
            assert len(latents) == 200
            return latents[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FirstTwo))
    monkeypatch.setattr("vae4counts.inference.plots.layout.MOST_LAID_OUT", 200)
    latents = np.repeat(10 * RNG.normal(size=(4, 3)), 100, axis=0) + RNG.normal(size=(400, 3)) / 10
    plane, names = plots.two_dimensions(latents)
    assert names == ("UMAP 1", "UMAP 2")
    assert np.abs(plane - latents[:, :2]).max() < 0.7


def test_without_umap_the_plane_is_that_of_the_principal_components(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    latents = RNG.normal(size=(30, 4)) * [1, 5, 0.1, 3]
    with pytest.warns(UserWarning, match="pip install umap-learn"):
        plane, names = plots.two_dimensions(latents)
    variances = np.linalg.eigvalsh(np.cov(latents.T))[::-1]
    np.testing.assert_allclose(np.cov(plane.T), np.diag(variances[:2]), atol=1e-9)
    assert names == ("PC 1", "PC 2")


def test_two_best_directions() -> None:
    latents = RNG.normal(size=(50, 4)) * [1, 5, 0.1, 3]
    plane, names = plots.best_directions(latents)
    assert names == ("z1", "z3")
    np.testing.assert_array_equal(plane, latents[:, [1, 3]])
    plane, names = plots.best_directions(latents[:, :1])
    assert names == ("z0", "")
    assert plane.shape == (50, 2)


def test_top_features_of_a_heat_map() -> None:
    ax = plots.top_features_heatmap(TABLE, n=2)
    shown = [label.get_text() for label in ax.get_yticklabels()]
    for name in TABLE:
        assert set(TABLE[name].nlargest(2).index) <= set(shown)
    both = plots.top_features_heatmap(TABLE, n=1, both_ends=True)
    shown = [label.get_text() for label in both.get_yticklabels()]
    assert set(TABLE.idxmin()) | set(TABLE.idxmax()) == set(shown)


def test_numbers_in_heat_maps() -> None:
    assert sorted(texts(FIGURES["component_heatmap"]())) == ["1", "2", "3"]
    assert texts(FIGURES["cooccurrence_heatmap"]()) == ["4.0", "4.0"]
    assert texts(FIGURES["latent_shares_heatmap"]()) == ["0.90", "0.25", "0.10", "0.75"]
    assert texts(FIGURES["gains_heatmap"]()) == ["-0.5", "+2.5"]


def test_every_pareto_k_is_counted() -> None:
    ax = plots.pareto_shapes(SHAPES)
    heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
    assert [sum(each) for each in heights] == [2, 3]
    assert [each[0] for each in heights] == [0, 1]
    assert [each[-1] for each in heights] == [1, 0]
    assert legend(ax) == list(SHAPES)


def test_history_shows_the_parts() -> None:
    ax = plots.training_history(HISTORY)
    assert texts(ax) == ["KL 5.0"]
    assert any("components spread" in entry for entry in legend(ax))


def test_volcano_names_what_is_called() -> None:
    ax = plots.volcano(CHANGES)
    assert set(texts(ax)) == {"up", "down"}
    assert legend(ax) == ["not called (1)", "up (1)", "down (1)"]
    assert ax.get_ylim()[1] < 10  # a factor without a bound does not flatten the others
    assert not texts(plots.volcano(CHANGES, n=0))
    with pytest.raises(DataError, match="'change' mode"):
        plots.volcano(CHANGES.drop(columns="is_de_fdr_0.05"))
    with pytest.raises(DataError, match="several comparisons"):
        plots.volcano(CHANGES.assign(comparison=["a", "b", "c"]))


def test_traversal_names_its_lines() -> None:
    assert set(texts(plots.traversal(ALONG))) == {"x", "y", "z"}
    assert texts(plots.traversal(ALONG, ["y"])) == ["y"]
    with pytest.raises(DataError, match="no feature 'w'"):
        plots.traversal(ALONG, ["w"])


def test_names_are_moved_apart() -> None:
    moved = apart(np.array([3.0, 0.0, 0.1, 0.05]), 1.0)
    assert np.diff(np.sort(moved)).min() > 1 - 1e-6
    assert (np.argsort(moved) == [1, 3, 2, 0]).all()
    np.testing.assert_array_equal(apart(np.array([5.0, 1.0]), 1.0), [5, 1])


def named(names: tuple[str, ...]) -> dict[str, Callable[..., Axes]]:
    """Each figure that shows people's names, with these for features, classes and columns."""
    n = len(names)
    square = pd.DataFrame(np.abs(RNG.normal(size=(n, n))) + 0.1, list(names), list(names))
    changes = pd.DataFrame(
        {
            "lfc_mean": RNG.normal(size=n),
            "bayes_factor": RNG.normal(size=n),
            "proba_de": np.linspace(0.5, 1, n),
            "is_de_fdr_0.05": True,
            "comparison": " vs ".join(names),
        },
        index=list(names),
    )
    plane, classes = RNG.normal(size=(3 * n, 2)), pd.Series(list(names) * 3)
    few = pd.DataFrame(np.arange(6).reshape(3, 2), list(names[:3]), ["0", "1"])
    return {
        "latent_space": lambda: plots.latent_space(plane, classes),
        "few classes": lambda: plots.latent_space(plane[:6], pd.Series(list(names[:6]))),
        "traversal": lambda: plots.traversal(
            square.rename_axis("to ".join(names)).set_axis(np.arange(n)), list(names[:8])
        ),
        "component_heatmap": lambda: plots.component_heatmap(few),
        "top_features_heatmap": lambda: plots.top_features_heatmap(square, n=1),
        "cooccurrence_heatmap": lambda: plots.cooccurrence_heatmap(square.iloc[:3, :3]),
        "volcano": lambda: plots.volcano(changes, n=50),
    }


@pytest.mark.parametrize("figure", named(("a",) * 8))
def test_any_name_is_drawn_as_it_is(figure: str, nasty: tuple[str, ...]) -> None:
    """Warnings are errors: of missing glyphs, of labels that are left out, of squeezed axes."""
    for start in range(0, len(nasty), 6):
        names = (*nasty[start:], *nasty[:start])
        names = tuple(dict.fromkeys(names))
        ax = named(names)[figure]()
        ax.figure.canvas.draw()
        plt.close("all")


@pytest.mark.parametrize("name", ["$x$", "$x^{$", "a$b", r"a\$b$c", "_hidden", "[bold]"])
def test_names_are_no_mathematics_and_never_left_out(name: str) -> None:
    ax = plots.latent_space(PLANE[:4], pd.Series([name, "b", "b", name]))
    ax.figure.canvas.draw()
    (entry,) = [text for text in ax.get_legend().get_texts() if text.get_text() != "b"]
    shown, is_mathematics = entry._preprocess_math(entry.get_text())
    assert (shown, is_mathematics) == (name, False)


def test_characters_without_a_glyph_are_marked() -> None:
    assert plain("细a") == "?a"
    assert plain("Ωé") == "Ωé"


def test_thousands_of_classes_are_a_few_and_others(recwarn: Any) -> None:
    classes = pd.Series([f"type {i % 2000 if i > 900 else i % 3}" for i in range(5000)])
    plane = RNG.normal(size=(5000, 2))
    ax = plots.latent_space(plane, classes)
    entries = legend(ax)
    assert len(entries) == 48
    assert entries[-1].endswith("1,953 others")
    assert sum(len(dots.get_offsets()) for dots in ax.collections) == 5000
    assert any(entry.endswith("type 0") for entry in entries)
    table = pd.crosstab(classes, pd.Series(np.arange(5000) % 100)).rename(columns=str)
    heat = plots.component_heatmap(table)
    assert [len(heat.get_yticks()), len(heat.get_xticks())] == [48, 48]
    assert heat.get_yticklabels()[-1].get_text() == "1,953 others"
    numbers = [int(text) for text in texts(heat)]
    assert sum(numbers) == 5000


def test_wide_tables_are_cut_and_long_lists_refused() -> None:
    wide = pd.DataFrame(RNG.normal(size=(9, 300)), [f"g{i}" for i in range(9)])
    wide.columns.name = "component"
    ax = plots.top_features_heatmap(wide)
    assert len(ax.get_xticks()) == 48
    assert "the first 48 of 300" in ax.get_xlabel()
    assert plots.component_weights(np.full(5000, 1 / 5000)).figure.get_figwidth() <= 20
    names = [f"g{i}" for i in range(60)]
    many = pd.DataFrame(np.ones((60, 60)), names, names)
    with pytest.raises(DataError, match="60 features cannot be read: choose 48 or fewer"):
        plots.cooccurrence_heatmap(many)
    with pytest.raises(DataError, match="60 features cannot be told apart"):
        plots.traversal(many.set_axis(range(60)), names)


def test_observations_without_a_class_are_pale_and_behind() -> None:
    classes = pd.Series(["a", None, "b", np.nan] * 3)
    ax = plots.latent_space(RNG.normal(size=(12, 2)), classes)
    assert legend(ax) == ["a", "b", "no class"]
    (pale,) = [dots for dots in ax.collections if len(dots.get_offsets()) == 6]
    assert pale.get_zorder() < min(d.get_zorder() for d in ax.collections[:2])


def test_a_node_of_a_tree_has_the_names_of_its_features() -> None:
    assert texts(FIGURES["feature_tree"]()) == ["a, b", "", "c", "d"]
