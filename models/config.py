"""Objects that can be written down as JSON and built again from it.

The convention is scikit-learn's: every argument of a constructor is kept as an attribute of the
same name. The description of an object is then the name of its class and those attributes, and
nothing but registered classes is ever called to build it again (nothing is unpickled or evaluated).
"""

from __future__ import annotations

import abc
import inspect
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, ClassVar

from vae4counts.data.counts.batch import Batch

OURS = ("vae4counts.models.", "vae4counts.guides.")


class Configured:
    """Base class of models, guides, priors, likelihoods and their parts.

    A subclass is registered by its module and name when it is defined. It must define every
    abstract method then, unless it names `abc.ABC` among its own bases.
    """

    registry: ClassVar[dict[str, type[Configured]]] = {}
    _sources: ClassVar[dict[str, str | None]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        missing = [] if abc.ABC in cls.__bases__ else sorted(_abstract_names(cls))
        if missing:
            raise TypeError(
                f"{cls.__name__} must define {', '.join(missing)} "
                f"(see the documentation of {cls.__bases__[0].__name__})"
            )
        key, source = key_of(cls), _source(cls)
        before = Configured._sources.setdefault(key, source)
        if before != source:
            raise TypeError(
                f"there are two classes {key}, in {before} and {source}: rename one, or its module"
            )
        Configured.registry[key] = cls

    _claimed = False

    def claim(self) -> None:
        """Make this object a part of one model or guide.

        Raises:
            ValueError: It is part of another one already, which would lose what it has learnt.
        """
        if self._claimed:
            raise ValueError(
                f"this {type(self).__name__} is part of another model or guide: make one for each"
            )
        self._claimed = True

    def initialise(self, batch: Batch) -> None:
        """Set parameters from a shuffled batch of training observations, before the first step.

        Nothing is set unless a subclass overrides this.
        """

    def config(self) -> dict[str, Any]:
        """Describe this object by its class and the arguments of its constructor.

        Returns:
            A dictionary of JSON values that `from_config` turns into an equal, untrained object.

        Raises:
            TypeError: An argument is not a number, string, list or another `Configured` object.
        """
        arguments = inspect.signature(type(self)).parameters.values()
        # a class without a constructor of its own shows its base's, (*args, **kwargs)
        names = [a.name for a in arguments if a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD)]
        values = {name: _describe(getattr(self, name), owner=self) for name in names}
        return {"type": key_of(type(self)), **values}


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

    Of modules, only those of this package are imported.

    Raises:
        ValueError: The class is not known: the module that defines it must be imported first.
    """
    if key not in Configured.registry and key.startswith(OURS):
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
        ValueError: The class is not known (import the module that defines it first), or the
            arguments do not fit its constructor.
    """
    if isinstance(config, list):
        return [from_config(item) for item in config]
    if not isinstance(config, dict):
        return config
    kind = find_class(str(config.get("type")))
    arguments = {key: from_config(value) for key, value in config.items() if key != "type"}
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"{kind.__name__} cannot be built from its description: {error}"
        ) from error


def _describe(value: Any, owner: Configured) -> Any:
    if isinstance(value, Configured):
        return value.config()
    if isinstance(value, (list, tuple)):
        return [_describe(item, owner) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"{type(owner).__name__} holds a {type(value).__name__}, which cannot be written down as "
        "JSON: derive its class from vae4counts.models.Configured to save it"
    )


def _abstract_names(kind: type) -> Iterator[str]:
    for name in dir(kind):
        if getattr(inspect.getattr_static(kind, name, None), "__isabstractmethod__", False):
            yield name


def _source(kind: type) -> str | None:
    """The file that defines a class; None for one that was typed in, and may be typed in again."""
    return getattr(sys.modules.get(kind.__module__), "__file__", None)
