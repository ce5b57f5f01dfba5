"""Configured objects: what is registered, what is refused, and what is imported to find a class."""

from __future__ import annotations

import abc
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

from vae4counts.guides import Guide
from vae4counts.models import Configured, Decoder, Library, Model, from_config
from vae4counts.models.config import find_class
from vae4counts.models.likelihoods import Likelihood
from vae4counts.models.priors import GaussianMixture, MixturePrior, Prior

SOURCE = """
from vae4counts.models import Configured

class Part(Configured):
    def __init__(self, size={size}):
        self.size = size
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore the registry and the imported modules after each test."""
    monkeypatch.setattr(Configured, "registry", dict(Configured.registry))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("made_"):
            del sys.modules[name]


@pytest.fixture
def defined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Execute `SOURCE` as a module of the given name, from a file in the given folder."""
    # a file that changes within a second, and not in size, would be taken for its compiled self
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def execute(name: str, folder: str, size: int = 1) -> ModuleType:
        path = tmp_path / folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(SOURCE.format(size=size))
        spec = spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return execute


def typed_in(name: str, size: int = 1) -> ModuleType:
    """Execute `SOURCE` as a module without a file, as in a notebook."""
    module = sys.modules[name] = ModuleType(name)
    exec(SOURCE.format(size=size), module.__dict__)  # noqa: S102
    return module


def test_the_key_includes_the_module(defined: Callable[..., ModuleType]) -> None:
    one, other = defined("made_one", "a", size=1), defined("made_other", "a", size=2)
    assert one.Part().config() == {"type": "made_one.Part", "size": 1}
    assert other.Part().config() == {"type": "made_other.Part", "size": 2}
    for module in (one, other):
        assert type(from_config(module.Part(7).config())) is module.Part
    assert find_class("vae4counts.models.priors.gaussian_mixture.GaussianMixture") is (
        GaussianMixture
    )


def test_one_key_for_classes_of_two_files_is_an_error(
    defined: Callable[..., ModuleType], tmp_path: Path
) -> None:
    first = defined("made_twice", "a")
    with pytest.raises(TypeError, match=r"two classes are called made_twice\.Part") as caught:
        defined("made_twice", "b")
    assert str(tmp_path / "a" / "made_twice.py") in str(caught.value)
    assert str(tmp_path / "b" / "made_twice.py") in str(caught.value)
    assert find_class("made_twice.Part") is first.Part


def test_one_key_for_a_typed_in_class_and_a_file_is_an_error(
    defined: Callable[..., ModuleType],
) -> None:
    typed_in("made_mixed")
    with pytest.raises(TypeError, match=r"two classes are called made_mixed\.Part, in None"):
        defined("made_mixed", "a")


def test_the_same_file_may_be_executed_again(defined: Callable[..., ModuleType]) -> None:
    first = defined("made_again", "a", size=1)
    second = defined("made_again", "a", size=2)
    assert first.Part is not second.Part
    assert from_config({"type": "made_again.Part"}).size == 2


def test_a_notebook_cell_may_be_executed_again() -> None:
    first, second = typed_in("made_cell", size=1), typed_in("made_cell", size=2)
    assert first.Part is not second.Part
    assert from_config({"type": "made_cell.Part"}).size == 2


MISSING = {
    Model: "forward, latents",
    Guide: "fits, for_model, forward, sites",
    Prior: "forward, log_prob",
    MixturePrior: "components, log_weights",
    Likelihood: "forward",
    Decoder: "_build_hidden, hidden_units",
    Library: "forward",
}


@pytest.mark.parametrize(("base", "names"), MISSING.items(), ids=lambda value: str(value))
def test_missing_methods_are_named_when_the_class_is_defined(base: type, names: str) -> None:
    message = rf"Incomplete must define {names} \(see the documentation of {base.__name__}\)"
    with pytest.raises(TypeError, match=message):
        type(base)("Incomplete", (base,), {"__module__": __name__})
    assert f"{__name__}.Incomplete" not in Configured.registry


def test_a_class_to_derive_others_from_may_be_incomplete() -> None:
    class Base(Prior, abc.ABC):
        @abc.abstractmethod
        def scale(self) -> float: ...

    with pytest.raises(TypeError, match="Child must define forward, log_prob, scale"):

        class Child(Base): ...

    class Complete(Base):
        def scale(self) -> float:
            return 1.0

        def forward(self) -> None: ...  # type: ignore[override]

        def log_prob(self, z: None) -> None: ...  # type: ignore[override]

    assert Complete().scale() == 1
    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]


def test_an_attribute_may_take_the_place_of_an_abstract_property() -> None:
    class Constant(Model):
        n_features = numbers_per_draw = 1
        latents = ()

        def forward(self, batch: None) -> None: ...  # type: ignore[override]

    assert Constant().is_exact


@pytest.mark.parametrize("value", [nn.Identity(), {1, 2}, print, b"x"])
def test_arguments_that_json_does_not_know_are_refused(
    value: object, defined: Callable[..., ModuleType]
) -> None:
    part = defined("made_held", "a").Part(value)
    with pytest.raises(TypeError, match=f"Part holds a {type(value).__name__}, which cannot"):
        part.config()


def test_lists_and_nested_parts_are_described(defined: Callable[..., ModuleType]) -> None:
    kind = defined("made_nested", "a").Part
    written = kind([1.5, None, kind("x")]).config()
    inner = {"type": "made_nested.Part", "size": "x"}
    assert written == {"type": "made_nested.Part", "size": [1.5, None, inner]}
    built = from_config(written)
    assert built.config() == written
    assert isinstance(built.size[2], kind)


def test_a_part_belongs_to_one_owner(defined: Callable[..., ModuleType]) -> None:
    part = defined("made_claimed", "a").Part()
    part.claim()
    with pytest.raises(ValueError, match="this Part is part of another model or guide"):
        part.claim()


@pytest.mark.parametrize(
    "key",
    [
        "made_trap.Part",
        "made_package.inner.Part",
        "vae4counts.models.made_trap.Part",
        "vae4counts.models..made_trap.Part",
        "vae4counts.models_made_trap.Part",
        "vae4counts.guidesmade_trap.Part",
        "vae4counts.inference.report.Part",
        "os.system",
        "vae4counts.models.base.Nothing",
        "vae4counts.models.base.pyro",
        "vae4counts.models.",
        "",
        "None",
    ],
)
def test_unknown_classes_are_refused_and_nothing_else_is_imported(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("made_trap", "made_package"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"unknown class {key!r}: import the module"):
        from_config({"type": key})
    assert not {name for name in sys.modules if "made_" in name}


def run(code: str) -> None:
    """Run code in a fresh process, where nothing is imported yet."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)  # noqa: S603
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_a_class_of_the_package_is_imported_when_it_is_needed() -> None:
    run("""
import sys
from vae4counts.models import from_config
names = {"vae4counts.models.priors.vamp", "vae4counts.guides.exact"}
assert not names & set(sys.modules)
prior, guide = from_config([
    {"type": "vae4counts.models.priors.vamp.VampPrior", "n_latent": 3},
    {"type": "vae4counts.guides.exact.ExactGuide"},
])
assert names <= set(sys.modules)
assert prior.n_latent == 3 and type(guide).__name__ == "ExactGuide"
""")


@pytest.mark.slow
def test_no_module_outside_models_and_guides_is_imported() -> None:
    run("""
import sys
from vae4counts.models import from_config
for key in ("vae4counts.inference.run.Run", "vae4counts.data.loading.X", "antigravity.X"):
    try:
        from_config({"type": key})
    except ValueError:
        pass
    else:
        raise SystemExit(key)
assert not {"vae4counts.inference", "vae4counts.data.loading", "antigravity"} & set(sys.modules)
""")
