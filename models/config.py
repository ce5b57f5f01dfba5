"""Objects that can be written down as JSON and built again from it.

The convention is scikit-learn's: every argument of a constructor is kept as an attribute of the
same name. The description of an object is then the name of its class and those attributes. Only
registered classes are called to build it again; nothing is unpickled or evaluated.
"""

from __future__ import annotations

import abc
import inspect
import json
import numbers
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, ClassVar, TypeVar

import pyro
from torch import nn

from vae4counts.data.counts.batch import Batch

# Parameters live in the modules, not in a store that all models of a process share. Set here
# because every part of a model or guide imports this file.
pyro.settings.set(module_local_params=True)

Self = TypeVar("Self", bound="Configured")

TYPE = "type"
"""The key of a description that names a class; a mapping without it is one of descriptions."""

PACKAGES = ("vae4counts.models.", "vae4counts.guides.")
"""The packages whose modules are imported to find a class."""


class Configured:
    """Base class of models, guides, priors, likelihoods and their parts.

    A subclass is registered by its module and name when it is defined.

    Raises:
        TypeError: A subclass does not define an abstract method (unless `abc.ABC` is among its own
            bases, as for a class to derive others from), or another file defines a class of the
            same module and name. Defining a class again in its own file, as in a notebook or on
            reloading a module, replaces it.
    """

    registry: ClassVar[dict[str, type[Configured]]] = {}
    _file: ClassVar[str | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        missing = [] if abc.ABC in cls.__bases__ else sorted(_abstract_names(cls))
        if missing:
            raise TypeError(
                f"{cls.__name__} must define {', '.join(missing)} "
                f"(see the documentation of {cls.__bases__[0].__name__})"
            )
        # None for a class that is typed in at a prompt or in a notebook
        cls._file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        key = key_of(cls)
        known = Configured.registry.setdefault(key, cls)
        if known._file != cls._file:
            raise TypeError(
                f"two classes are called {key}, in {known._file} and {cls._file}: "
                "rename one of them, or its module"
            )
        Configured.registry[key] = cls

    _claimed = False

    def claim(self) -> None:
        """Make this object part of a model or guide.

        Raises:
            ValueError: It is part of another one already, whose parameters it would replace.
        """
        if self._claimed:
            raise ValueError(
                f"this {type(self).__name__} is part of another model or guide: make one for each"
            )
        self._claimed = True

    def initialise(self, batch: Batch) -> None:
        """Set parameters from a shuffled batch of training observations, before the first step.

        Does nothing unless overridden.
        """

    def own_part(self, batch: Batch) -> Batch:
        """Return what of a batch this object and its parts see: all of it unless overridden."""
        return batch

    def config(self) -> dict[str, Any]:
        """Describe this object by its class and the arguments of its constructor.

        Returns:
            A dictionary of JSON values from which `from_config` builds an equal, untrained object.

        Raises:
            TypeError: An argument is not a number, string, list or another `Configured` object,
                or is not kept.
        """
        values = {name: _describe(value, owner=self) for name, value in self._arguments().items()}
        return {TYPE: key_of(type(self)), **values}

    def anew(self: Self) -> Self:
        """Make an equal, untrained object, whose parameters are drawn from the random state.

        Raises:
            TypeError: An argument of its constructor is not kept, or is a module of another kind,
                which cannot be made anew.
        """
        values = {name: _anew(value, owner=self) for name, value in self._arguments().items()}
        return type(self)(**values)

    def _arguments(self) -> dict[str, Any]:
        """The arguments of the constructor, by their names.

        Raises:
            TypeError: One is not kept.
        """
        arguments = inspect.signature(type(self)).parameters.values()
        # a class without a constructor has that of nn.Module, (*args, **kwargs)
        names = [a.name for a in arguments if a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD)]
        for name in names:
            if not hasattr(self, name):
                raise TypeError(
                    f"{type(self).__name__} does not keep its argument {name}: "
                    f"set self.{name} = {name} in its constructor"
                )
        return {name: getattr(self, name) for name in names}


def key_of(kind: type[Configured]) -> str:
    """Return the name under which a class is registered: its module and its own name."""
    return f"{kind.__module__}.{kind.__qualname__}"


def description(part: Configured) -> str:
    """Return the `config` as JSON, or the `repr` of a part that cannot be described."""
    try:
        return json.dumps(part.config())
    except (AttributeError, TypeError):
        return repr(part)


def find_class(key: str) -> type[Configured]:
    """Look a class up by its module and name.

    The module is imported if it belongs to `vae4counts.models` or `vae4counts.guides`, no other.

    Raises:
        ValueError: The class is unknown: the module that defines it must be imported first.
    """
    if key not in Configured.registry and key.startswith(PACKAGES):
        with suppress(ImportError):
            import_module(key.rpartition(".")[0])
    if key not in Configured.registry:
        raise ValueError(f"unknown class {key!r}: import the module that defines it before loading")
    return Configured.registry[key]


def from_config(config: Any) -> Any:
    """Build the object that `Configured.config` described.

    Args:
        config: A JSON value. A dictionary names its class under ``"type"``.

    Raises:
        ValueError: The class is unknown (import the module that defines it first), or the
            arguments do not fit its constructor.
    """
    if isinstance(config, list):
        return [from_config(item) for item in config]
    if not isinstance(config, dict):
        return config
    if TYPE not in config:
        return {name: from_config(item) for name, item in config.items()}
    kind = find_class(str(config[TYPE]))
    arguments = {key: from_config(value) for key, value in config.items() if key != TYPE}
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"{kind.__name__} cannot be built from its description: {error}"
        ) from error


def _describe(value: Any, owner: Configured) -> Any:
    if isinstance(value, Configured):
        return value.config() if value else None  # covariates of which there are none
    if isinstance(value, (list, tuple)):
        return [_describe(item, owner) for item in value]
    if isinstance(value, (Mapping, nn.ModuleDict)):
        return {name: _describe(item, owner) for name, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, numbers.Integral):  # as NumPy's are
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(
        f"{type(owner).__name__} holds a {type(value).__name__}, which cannot be written down as "
        "JSON: derive its class from vae4counts.models.Configured to save it"
    )


def _anew(value: Any, owner: Configured) -> Any:
    if isinstance(value, Configured):
        return value.anew()
    if isinstance(value, (list, tuple)):
        return type(value)(_anew(item, owner) for item in value)
    if isinstance(value, (Mapping, nn.ModuleDict)):
        return {name: _anew(item, owner) for name, item in value.items()}
    if isinstance(value, (nn.Module, nn.Parameter)):
        raise TypeError(
            f"{type(owner).__name__} holds a {type(value).__name__}, which cannot be made anew: "
            "derive its class from vae4counts.models.Configured"
        )
    return value


def _abstract_names(kind: type) -> Iterator[str]:
    for name in dir(kind):
        if getattr(inspect.getattr_static(kind, name, None), "__isabstractmethod__", False):
            yield name


def with_own_parts(module: nn.Module, batch: Batch) -> Iterator[tuple[nn.Module, Batch]]:
    """Yield a module and all that it is made of, each with what it sees of a batch."""
    if isinstance(module, Configured):
        batch = module.own_part(batch)
    yield module, batch
    for part in module.children():
        yield from with_own_parts(part, batch)
