"""The options of a fit: what each means, what it may be, and what it is if nothing is said.

These dataclasses are the one source for checks, saved settings and the command line's options.
Nothing heavy is imported here, so that a help text can be made of them at once.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from vae4counts.data.text import short_name

if TYPE_CHECKING:
    from vae4counts.inference.fitting.handlers import Handler

DEVICES = ("auto", "cpu", "cuda")
Precision = Literal["32-true", "bf16-mixed"]
PRECISIONS = get_args(Precision)
LARGEST = 2**63 - 1
"""That torch knows of whole numbers."""
SHARES = 0.1, 0.1
"""Of the observations, for validation and for testing."""
NON_FINITE = ("stop", "skip", "slow")


class SettingsError(ValueError):
    """An option that is out of range, or does not go with the model or the data."""


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _real(value: Any) -> float:
    if isinstance(value, (bool, str)):
        raise TypeError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return str(value)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        raise TypeError
    return [_text(each) for each in value]


def _truth(value: Any) -> bool:
    return {True: True, False: False}[value]  # NumPy's are equal to Python's


_KINDS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "int": (_whole, "a whole number"),
    "float": (_real, "a number"),
    "str": (_text, "text"),
    "bool": (_truth, "True or False"),
    "list[str]": (_texts, "a list of names"),
    "Precision": (_text, "text"),
}
"""By the name of a field's type: what makes a value one of Python's own, and how to name it."""


def truth(name: str, value: Any) -> bool:
    """Return an argument that is true or false as Python's own.

    Raises:
        SettingsError: It is neither.
    """
    try:
        return _truth(value)
    except (KeyError, TypeError):
        raise SettingsError(f"{name} is {value!r}: it must be True or False") from None


def check_is(kind: type[Any], name: str, value: Any) -> None:
    """Make sure that an argument is of a type.

    Raises:
        SettingsError: It is of another one.
    """
    if not isinstance(value, kind):
        given = short_name(repr(value), 60)  # of a module, a line for each of its layers
        raise SettingsError(f"{name} is {given}: it must be a {kind.__name__}")


def check_text(**arguments: Any) -> None:
    """Make sure that arguments are text, or None.

    Raises:
        SettingsError: One is something else.
    """
    for name, value in arguments.items():
        if value is not None:
            check_is(str, name, value)


def places(name: str, value: Any) -> dict[str, str] | None:
    """Return an argument that maps text to text as a dictionary.

    Raises:
        SettingsError: It is something else.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(
        isinstance(text, str) for item in value.items() for text in item
    ):
        raise SettingsError(f'{name} is {value!r}: it must be like {{"protein": "obsm/protein"}}')
    return dict(value)


def option(
    default: Any,
    help: str,  # noqa: A002 (as typer and argparse call it)
    *,
    minimum: float | None = None,
    above: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Make a field of an options dataclass.

    Args:
        default: Its default.
        help: What it means, in a sentence.
        minimum: The smallest value that it may have.
        above: What its value must be above.
        choices: The values that it may have.
    """
    bounds = {"help": help, "minimum": minimum, "above": above, "choices": choices}
    return field(default=default, metadata=bounds)


def checked(option: Field[Any], value: Any) -> Any:
    """Return the value of an option as one of Python's own types.

    NumPy's numbers, and all that Python takes for a number or an index, become `int` or `float`.

    Raises:
        SettingsError: The value is of another type, or out of range.
    """
    name, bounds = option.name, option.metadata
    convert, noun = _KINDS[str(option.type).removesuffix(" | None")]
    try:
        value = convert(value)
    except (KeyError, TypeError, ValueError):
        raise SettingsError(f"{name} is {value!r}: it must be {noun}") from None
    if isinstance(value, int) and value > LARGEST:
        raise SettingsError(f"{name} is {value}: it must be at most {LARGEST}")
    minimum, above, choices = bounds["minimum"], bounds["above"], bounds["choices"]
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"{name} is {value}: it must be finite")
    if minimum is not None and value < minimum:
        raise SettingsError(f"{name} is {value}: it must be {minimum} or more")
    if above is not None and value <= above:
        raise SettingsError(f"{name} is {value}: it must be above {above}")
    if choices is not None and value not in choices:
        raise SettingsError(f"{name} is {value!r}: it must be one of {', '.join(choices)}")
    return value


@dataclass(frozen=True)
class Options:
    """A group of options, checked when it is made.

    Raises:
        SettingsError: A value is of another type than its field, or out of range.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            may_be_none = str(each.type).endswith("| None")
            if each.metadata and not (value is None and may_be_none):
                object.__setattr__(self, each.name, checked(each, value))

    def settings(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class BasicOptions(Options):
    """The options that `fit` takes one by one."""

    epochs: int | None = option(
        None,
        "Most passes over the training observations; by default about 70 for 1,000 observations, "
        "30 for 10,000 and 15 for 100,000, and more where there are few features.",
        minimum=1,
    )
    batch_size: int | None = option(
        None,
        "Observations per step; by default 128, and more for more than 23,000 observations.",
        minimum=1,
    )
    learning_rate: float = option(
        1.6e-2,
        "Adam's highest learning rate: it grows to it over the first 15 % of all steps, and falls "
        "to 1 % of it over the others.",
        above=0,
    )
    seed: int = option(0, "Seed of everything random.", minimum=0)
    device: str = option("auto", "Where to compute; auto is CUDA if there is any.", choices=DEVICES)


@dataclass(frozen=True)
class AdaptationOptions(BasicOptions):
    """The options that `adapt` takes one by one."""

    epochs: int | None = option(
        None,
        "Most passes over the new observations; by default as many as take a tenth of the time of "
        "a fit to the old and new ones together, or fewer.",
        minimum=1,
    )
    learning_rate: float = option(
        2e-1,
        "Adam's highest learning rate for what belongs to new levels; it changes as in a fit.",
        above=0,
    )


@dataclass(frozen=True)
class SplitOptions(Options):
    """Which observations are for training, for early stopping (validation) and for evaluation.

    Raises:
        SettingsError: Shares out of range, or options that exclude each other.
    """

    validation: float = option(SHARES[0], "Share of the observations for early stopping.", above=0)
    test: float = option(SHARES[1], "Share of the observations held out for evaluation.", above=0)
    stratify: str | None = option(
        None, "Column of obs whose values have the same shares in all parts."
    )
    group: str | None = option(
        None,
        "Column of obs, such as a donor, of which no two parts share a value; the shares are then "
        "of its values, not of the observations.",
    )
    column: str | None = option(
        None, "Column of obs that says train, validation or test for each observation."
    )
    min_counts: int = option(
        0, "Leave out observations with a lower total count than this.", minimum=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation + self.test >= 1:
            raise SettingsError(
                f"validation is {self.validation} and test {self.test}: together they must be "
                "below 1, to leave observations for training"
            )
        if self.column is not None and (self.validation, self.test) != SHARES:
            raise SettingsError(
                f"column {self.column!r} says which observations are for what: validation and test "
                "are shares of a random split, leave them out"
            )
        named = [
            name for name in ("stratify", "group", "column") if getattr(self, name) is not None
        ]
        if len(named) > 1:
            raise SettingsError(f"{' and '.join(named)} exclude each other: name one column")


@dataclass(frozen=True)
class Schedule(Options):
    """How training proceeds."""

    prior_learning_rate: float = option(
        1e-2,
        "Adam's highest learning rate for the prior's parameters; it changes as the other does.",
        above=0,
    )
    warm_up_steps: int | None = option(
        None,
        "Steps until the weight of the KL terms is 1; by default a fifth of all steps, 2,000 at "
        "most.",
        minimum=0,
    )
    patience: int = option(
        30, "Epochs without a better validation ELBO before training stops.", minimum=1
    )
    restarts: int = option(
        1,
        "Short fits from different parameters to choose from: training continues with the one of "
        "the best validation ELBO.",
        minimum=1,
    )
    warm_start: bool = False
    """Whether to begin from the parameters that the pair has, as to continue a run with
    ``fit(run.model, run.guide, ...)``. Nothing is then set from the data first, and the KL terms
    have their full weight unless ``warm_up_steps`` is given. Otherwise only frozen parameters
    (``requires_grad=False``) keep their values."""
    handlers: Sequence[Handler] = ()
    """Further effect handlers around every step, such as `FreeNats`, `Balance`, `AnalyticKL`, or
    `CyclicalAnnealing` (with ``warm_up_steps=0``)."""
    non_finite: str = option(
        "stop",
        "What to do about a step whose loss or gradient is not finite, which is never taken: stop "
        "with an error that names the site and the observations, skip the batch and count it in "
        "the history, or slow: skip it and halve the learning rates.",
        choices=NON_FINITE,
    )
    clip_norm: float | None = option(
        None, "Length to which longer gradients (in nats per observation) are cut.", above=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "warm_start", truth("warm_start", self.warm_start))
        if self.warm_start and self.restarts > 1:
            raise SettingsError(
                f"restarts is {self.restarts}: they begin from fresh parameters, which warm_start "
                "excludes"
            )
        try:
            object.__setattr__(self, "handlers", tuple(self.handlers))
        except TypeError:
            raise SettingsError(
                f"handlers is {self.handlers!r}: it must be a list of handlers"
            ) from None

    def settings(self) -> dict[str, Any]:
        """Return the options as JSON values, handlers by their `repr`."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return own | {"handlers": [repr(handler) for handler in self.handlers]}


@dataclass(frozen=True)
class Checkpoints(Options):
    """Where the state of a fit is saved, so that another process can continue it."""

    directory: str | Path
    """Where the states go; the last two are kept. They are left there when the fit ends."""
    every: int | timedelta = timedelta(minutes=5)
    """Optimiser steps (a whole number) or time between two of them. One is also written when
    training ends, when SIGINT, SIGTERM or SIGHUP arrives, and before a step that is not finite."""
    resume: bool = option(
        False,
        "Continue a fit by the same options that did not end. On the CPU the result is that of an "
        "uninterrupted fit, bit for bit. Without a checkpoint the fit begins.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            object.__setattr__(self, "directory", Path(self.directory).expanduser())
        except TypeError:
            raise SettingsError(f"directory is {self.directory!r}: it must be a path") from None
        try:
            every = self.every if isinstance(self.every, timedelta) else _whole(self.every)
        except TypeError:
            raise SettingsError(
                f"every is {self.every!r}: it must be a whole number of steps, or a timedelta"
            ) from None
        if (every if isinstance(every, int) else every.total_seconds()) <= 0:
            raise SettingsError(f"every is {every}: it must be above 0")
        object.__setattr__(self, "every", every)


@dataclass(frozen=True)
class Compute(Options):
    """How many processes compute, and at what precision."""

    devices: int = option(
        1,
        "Processes to start on this machine, one for each GPU or for some of the CPU's cores. "
        "Leave it at 1 under torchrun, which has started them.",
        minimum=1,
    )
    precision: Precision = option(  # noqa: RUF009 (it makes a field)
        "32-true", "32-true, or bf16-mixed with networks in bfloat16.", choices=PRECISIONS
    )
    threads: int | None = option(
        None,
        "Threads of each process; by default as many as there are processors, within a "
        "container's quota. Another number changes results in their last digits.",
        minimum=1,
    )
