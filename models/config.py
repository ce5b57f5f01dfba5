"""Objects that can be written down as JSON and built again from it.

The convention is scikit-learn's: every argument of a constructor is kept as an attribute of the
same name. The description of an object is then its class name and those attributes, and nothing
but registered classes is ever called to build it again (nothing is unpickled, nothing evaluated).
"""

from __future__ import annotations

import inspect
import json
from typing import Any, ClassVar


class Configured:
    """Base of models, guides, priors, likelihoods and their parts."""

    known: ClassVar[dict[str, type[Configured]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Configured.known[cls.__name__] = cls

    _claimed = False

    def claim(self) -> None:
        """Makes this object a part of one model or guide.

        Raises:
            ValueError: It is a part of another already, which would lose what it has learnt.
        """
        if self._claimed:
            raise ValueError(
                f"this {type(self).__name__} is part of another model or guide: make one for each"
            )
        self._claimed = True

    def config(self) -> dict[str, Any]:
        """Describes this object by its class name and its constructor's arguments.

        Returns:
            A dictionary of JSON values that `from_config` turns into an equal, untrained object.

        Raises:
            TypeError: An argument is not a number, string, list or another `Configured` object.
        """
        arguments = inspect.signature(type(self)).parameters.values()
        # a class without a constructor of its own shows its base's, (*args, **kwargs)
        names = [a.name for a in arguments if a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD)]
        values = {name: _describe(getattr(self, name), owner=self) for name in names}
        return {"type": type(self).__name__, **values}


def description(part: Configured) -> str:
    """Its `config` as JSON, or what Python prints of it where a part knows no description."""
    try:
        return json.dumps(part.config())
    except (AttributeError, TypeError):
        return repr(part)


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


def from_config(config: Any) -> Any:
    """Builds the object that `Configured.config` described.

    Args:
        config: A JSON value. A dictionary names its class under ``"type"``.

    Raises:
        ValueError: The class is not known (import the module that defines it first), or the
            arguments are not its constructor's.
    """
    if isinstance(config, list):
        return [from_config(item) for item in config]
    if not isinstance(config, dict):
        return config
    name = config.get("type")
    if not isinstance(name, str) or name not in Configured.known:
        raise ValueError(
            f"unknown class {name!r}: import the module that defines it before loading"
        )
    arguments = {key: from_config(value) for key, value in config.items() if key != "type"}
    try:
        return Configured.known[name](**arguments)
    except TypeError as error:
        raise ValueError(f"{name} cannot be built from its description: {error}") from error
