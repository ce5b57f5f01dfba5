"""The page: its sections, put together and written."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from vae4counts.data import Data
from vae4counts.data.text import reason_of
from vae4counts.data.warning import warn
from vae4counts.inference.report.elements import paragraph
from vae4counts.inference.report.sections import SECTIONS
from vae4counts.inference.report.subject import Section, Subject
from vae4counts.inference.run import storage
from vae4counts.inference.run.fitted_pair import AS_FITTED, AsFitted
from vae4counts.inference.run.on_data import RunOnData
from vae4counts.inference.run.run import Run
from vae4counts.inference.run.storage import RunDirectoryError
from vae4counts.models import NotInModelError
from vae4counts.models.covariates import At

HERE = Path(__file__).parent


def write_report(
    run: Run,
    adata: Data,
    path: str | Path,
    *,
    label: str | AsFitted | None = AS_FITTED,
    layer: str | AsFitted | None = AS_FITTED,
    at: At | None = None,
    colour_by: Sequence[str] = (),
    seed: int = 0,
) -> None:
    """Write a page of HTML that shows a run and its view of data.

    The page holds all that it shows, and tells the browser to load nothing else and to run no
    script but the one for the latent space.

    Args:
        run: The run.
        adata: Observations: the fitted data, or others.
        path: The file to write, which is replaced if it exists.
        label: Column of ``obs`` with known classes; None for none; by default the run's own.
        layer: Layer that holds the counts; None for ``X``; by default the run's own.
        at: Values at which covariates are held, see `Interpretation.holding`.
        colour_by: Columns of ``obs`` and features by which the map of the latents is coloured too.
        seed: Seed of all draws.

    Raises:
        DataError: Values that are not counts, missing features, or an unknown covariate or level.
        UnknownName: No such column or feature.
        RunDirectoryError: The file cannot be written there.

    Warns:
        UserWarning: A section cannot be made: the page says so in its place.
    """
    write_page(run.on(adata, label=label, layer=layer, seed=seed), Path(path), at, colour_by)


def write_page(
    on: RunOnData, path: Path, at: At | None = None, colour_by: Sequence[str] = ()
) -> None:
    """Write the page of a run on data, see `write_report`."""
    if not path.parent.is_dir():
        raise RunDirectoryError(f"{path.parent} is not a directory: make it first")
    if path.is_dir():
        raise RunDirectoryError(f"{path} is a directory: name a file to write")
    on.run.model.covariates.held(at, on.run.device)  # an unknown one is no section's fault either
    subject = Subject(on, at, tuple(colour_by))
    # a label or a name that the data lack is an error, and no section's fault
    subject.classes, subject.further_colourings  # noqa: B018
    page = render(_sections(subject), subject)
    with storage.replace_file(path) as staged:
        # half of a pair of surrogates, as in the name of a file, is no text
        staged.write_text(page, encoding="utf-8", errors="backslashreplace")


def _sections(subject: Subject) -> dict[str, Section]:
    """The sections that the run has, by name; one that fails costs its own place alone."""
    found = {}
    for name, make in SECTIONS.items():
        try:
            section = make(subject)
        except NotInModelError:  # it asks for something that the model does not have
            continue
        except Exception as error:  # it may fail in any way
            words = f"could not be made ({reason_of(error)})"
            warn(f"the section '{name}' of the report {words}")
            title = name.replace("-", " ").capitalize()
            section = Section(title, [paragraph(f"This section {words}.")])
        if section is not None:
            found[name] = section
    return found


def render(sections: dict[str, Section], subject: Subject) -> Markup:
    """Return the whole page.

    Args:
        sections: The sections by the names that links point to.
        subject: What the page is about.
    """
    script = _read("map.js")
    # the browser runs the script with this digest, and nothing else
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    links = (
        Markup('<li><a href="#{}">{}</a></li>').format(name, section.title)
        for name, section in sections.items()
    )
    bodies = (
        Markup(
            '<section id="{0}" aria-labelledby="{0}-title"><h2 id="{0}-title">{1}</h2>\n{2}'
        ).format(name, section.title, Markup("\n").join(section.body))
        + Markup("</section>")
        for name, section in sections.items()
    )
    return _read("page.html").format(
        title=subject.title,
        digest=digest,
        style=_read("page.css"),
        links=Markup("\n").join(links),
        sections=Markup("\n").join(bodies),
        script=script,
    )


def _read(name: str) -> Markup:
    """A file of this folder, which goes into the page as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8"))  # noqa: S704
