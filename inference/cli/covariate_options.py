"""What is known about the observations, named on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vae4counts.inference.fitting.options import Options, SettingsError, option

if TYPE_CHECKING:
    from anndata import AnnData

    from vae4counts.models import Covariates
    from vae4counts.models.covariates import At


@dataclass(frozen=True)
class CovariateOptions(Options):
    """Columns of ``obs`` that the decoder is told about."""

    categorical: list[str] | None = option(  # noqa: RUF009 (it makes a field)
        None,
        "Column of obs with classes that the model is told about, such as a batch, so that its "
        "latents need not hold what differs between them. May be given several times.",
    )
    continuous: list[str] | None = option(  # noqa: RUF009 (it makes a field)
        None, "Column of obs with numbers that the model is told about. May be given several times."
    )
    embedding: int | None = option(
        None,
        "Dimension of the vectors that are learnt for the levels of columns with more levels than "
        "that, such as donors.",
        minimum=1,
    )

    def make(self, adata: AnnData) -> Covariates | None:
        """Make the covariates of a model; None if no column is named.

        Raises:
            DataError: A column has a missing value, or does not hold numbers.
            SettingsError: There is nothing to embed.
            UnknownName: There is no such column.
        """
        from vae4counts.models import Covariates

        if self.embedding is not None and not self.categorical:
            raise SettingsError("--embedding is for columns that --categorical names")
        if not self.categorical and not self.continuous:
            return None
        return Covariates.of(
            adata, self.categorical or (), self.continuous or (), embedding=self.embedding
        )


@dataclass(frozen=True)
class HoldingOptions(Options):
    """Values at which covariates are held."""

    at: list[str] | None = option(  # noqa: RUF009 (it makes a field)
        None,
        "Hold a covariate at a value, batch=A, in all that the decoder is asked; by default it is "
        "averaged over the training observations. May be given several times.",
    )

    @property
    def held(self) -> At | None:
        """The values by the names of the covariates.

        Raises:
            SettingsError: One is not of the form ``name=value``.
        """
        pairs = [each.partition("=")[::2] for each in self.at or ()]
        for each, (name, value) in zip(self.at or (), pairs, strict=True):
            if not name or not value:
                raise SettingsError(f"--at is {each!r}: it must be of the form batch=A")
        return dict(pairs) or None
