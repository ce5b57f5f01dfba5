"""Which data a fit takes, and which features of them, chosen on the command line."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae4counts.data.readers.registry import accepted_formats
from vae4counts.inference.cli.modality_options import further_modalities
from vae4counts.inference.fitting.options import Options, option

if TYPE_CHECKING:
    from anndata import AnnData

    from vae4counts.data import MultiData


@dataclass(frozen=True)
class DataOptions(Options):
    """How data are read, and what of them is kept."""

    label: str | None = option(None, "Column of obs with known classes, to compare with.")
    ignore_label: str | None = option(
        None, "Values of that column that are no class, with commas: unassigned,unknown."
    )
    layer: str | None = option(
        None, "Layer that holds the raw counts, which may be raw; by default X."
    )
    transpose: bool | None = option(
        None,
        "Whether rows of the file are features; by default, of tables the names of rows and "
        "columns decide, and of other formats what the format says.",
    )
    feature_type: str | None = option(
        None, "Keep the features of this type, such as 'Gene Expression'."
    )
    round: bool = option(False, "Round expected counts (of RSEM, salmon, kallisto).")
    min_observations: int = option(
        0, "Keep features with counts in at least so many observations.", minimum=0
    )
    top_features: int | None = option(None, "Keep the features that vary most.", minimum=1)
    feature_method: str = option(
        "deviance", "How these features are chosen.", choices=("deviance", "seurat-v3")
    )
    out_of_core: bool = option(
        False,
        f"Leave the counts on disk: of {accepted_formats(out_of_core=True)}. annotated.h5ad is "
        "then without them.",
    )
    offline: bool = option(False, "Download nothing: data that are missing are an error.")

    @property
    def ignored_labels(self) -> list[str]:
        """Values of the label column that are no class."""
        return [] if self.ignore_label is None else self.ignore_label.split(",")

    def load(self, source: str, modalities: Collection[str] = ()) -> AnnData | MultiData:
        """Load data by name or from a file.

        Args:
            source: The name or path.
            modalities: The names of the modalities that are wanted; none for one table.

        Raises:
            DataError: They cannot be read, or have several modalities of which none is named.
            SettingsError: Counts of several modalities are to be rounded.
            UnknownName: There is no such data set, file or label column.
        """
        from vae4counts.data import DataError, is_multi, load, round_counts
        from vae4counts.inference import SettingsError
        from vae4counts.inference.run.alignment import labels_of

        adata = load(
            source,
            transpose=self.transpose,
            feature_type=self.feature_type,
            modalities=further_modalities(source, modalities),
            out_of_core=self.out_of_core,
            offline=self.offline or None,
        )
        if is_multi(adata) and not modalities:
            listed = ", ".join(map(repr, adata.mod))
            raise DataError(
                f"{source} has several modalities, {listed}: name those to fit with --modality "
                f"{next(iter(adata.mod))}=negative-binomial, once for each."
            )
        if modalities and self.round:
            raise SettingsError("--round is for one table: round the counts before")
        labels_of(adata, self.label, self.ignored_labels)
        return round_counts(adata, self.layer) if self.round else adata

    def choose_features(self, adata: AnnData, modalities: Iterable[str] | None = None) -> AnnData:
        """Return the data with the features to keep.

        Args:
            adata: The data, an AnnData or several modalities.
            modalities: The modalities whose features are chosen; None for the counts of an AnnData.

        Raises:
            DataError: Values that are not counts, or no feature is left.
            UnknownName: No such layer or method.
        """
        from vae4counts.data import frequent_features, top_features

        for modality in (None,) if modalities is None else modalities:
            layer = self.layer if modality is None else None
            if self.min_observations:
                adata = frequent_features(adata, self.min_observations, layer, modality=modality)
            if self.top_features is not None:
                adata = top_features(
                    adata, self.top_features, layer, self.feature_method, modality=modality
                )
        return adata

    def settings_with(self, source: str, modalities: Collection[str] = ()) -> dict[str, Any]:
        """Return what a run says of the data that it was fitted to."""
        return {
            "load_modalities": further_modalities(source, modalities),
            "ignore_label": self.ignored_labels,
            "data": resolved(source),
            "out_of_core": self.out_of_core,
            "transpose": self.transpose,
            "feature_type": self.feature_type,
            "round": self.round,
            "min_observations": self.min_observations,
            "top_features": self.top_features,
            "feature_method": self.feature_method,
        }


def resolved(source: str) -> str:
    """Return the whole path of a file, by which it is found from anywhere; other names as is."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source
