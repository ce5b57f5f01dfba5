"""The tables of a model of several, named on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vae4counts.inference.fitting.options import Options, SettingsError, option
from vae4counts.models.likelihoods.registry import LIKELIHOODS

if TYPE_CHECKING:
    from anndata import AnnData

    from vae4counts.data import MultiData
    from vae4counts.inference.run.fitted_pair import FittedPair


@dataclass(frozen=True)
class Chosen:
    """A modality that is named on the command line.

    Attributes:
        likelihood: The name of its likelihood; None for that of ``--likelihood``.
        place: Where its values are, see `modalities_of`; None where nothing is said.
    """

    likelihood: str | None
    place: str | None


@dataclass(frozen=True)
class ModalityOptions(Options):
    """The modalities of a `MultiVAE`."""

    modality: list[str] | None = option(  # noqa: RUF009 (it makes a field)
        None,
        "A table of a model of several tables, NAME=LIKELIHOOD: rna=negative-binomial, "
        "protein=negative-binomial-background. Give it once for each. NAME is a modality of an "
        ".h5mu file or of a data set (captions of coco2017-val); in an .h5ad file the array of "
        "that name in obsm, or X if there is none. To say where the values are: "
        "rna=poisson@layers/counts, protein=gaussian@obsm/adt. --top-features and "
        "--min-observations choose features of each modality of counts. "
        f"Likelihoods: {', '.join(LIKELIHOODS)}.",
    )

    @property
    def chosen(self) -> dict[str, Chosen]:
        """The modalities by name, in order; none for a model of one table.

        Raises:
            SettingsError: One is not of the form ``NAME=LIKELIHOOD@PLACE``, or is named twice.
            UnknownName: There is no such likelihood.
        """
        from vae4counts.data import UnknownName

        found: dict[str, Chosen] = {}
        for each in self.modality or ():
            said, _, place = each.partition("@")
            name, equals, likelihood = said.partition("=")
            if not name or (equals and not likelihood) or ("@" in each and not place):
                raise SettingsError(
                    f"--modality is {each!r}: it must be of the form protein=gaussian or "
                    "protein=gaussian@obsm/protein"
                )
            if name in found:
                raise SettingsError(f"--modality names {name!r} twice")
            if likelihood and likelihood not in LIKELIHOODS:
                raise UnknownName("likelihood", likelihood, LIKELIHOODS)
            found[name] = Chosen(likelihood or None, place or None)
        return found

    def places(self, data: AnnData | MultiData, layer: str | None) -> dict[str, str]:
        """Return where each modality is in data.

        Args:
            data: The data.
            layer: The layer of an AnnData that takes the place of ``X``.

        Raises:
            SettingsError: Two are in the same place.
        """
        from vae4counts.data import is_multi

        whole = "X" if layer is None else f"layers/{layer}"

        def default(name: str) -> str:
            if is_multi(data):
                return name
            return f"obsm/{name}" if name in data.obsm else whole

        places = {name: each.place or default(name) for name, each in self.chosen.items()}
        names = {place: name for name, place in places.items()}
        for name, place in places.items():
            if (other := names[place]) != name:
                raise SettingsError(
                    f"the modalities {name!r} and {other!r} are both {place}: say where they are, "
                    f"as in --modality {other}=...@obsm/NAME"
                )
        return places


Of = Annotated[
    str | None, typer.Option(help="A table of a model of several, to predict from the others.")
]
Given = Annotated[
    list[str] | None,
    typer.Option(
        help="A table that it is predicted from; may be given several times. By default all others."
    ),
]


def givens(run: FittedPair, of: str, given: list[str] | None) -> list[str]:
    """Return the tables that another is predicted from: all others if none is named."""
    return given or [name for name in run.model.tables if name != of]


def further_modalities(source: str, names: Iterable[str]) -> list[str] | None:
    """Return the modalities, among some, that a data set of the catalogue has beside its counts."""
    from vae4counts.data import DATASETS

    known: Mapping[str, Any] = DATASETS[source].modalities if source in DATASETS else {}
    return [name for name in names if name in known] or None
