"""The page: its sections put together and written."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from uuid import uuid4

from anndata import AnnData
from markupsafe import Markup

from vae4counts.inference.report.sections import SECTIONS
from vae4counts.inference.report.subject import Section, Subject
from vae4counts.inference.run.run import Run
from vae4counts.inference.run.storage import RunDirectoryError

HERE = Path(__file__).parent


def write_report(
    run: Run, adata: AnnData, path: Path, *, label: str | None = None, seed: int = 0
) -> None:
    """Writes a page of HTML that shows a run and its view of data.

    The page holds all it shows, and its browser is told to load nothing else and to run no
    script but the one for the latent space.

    Args:
        run: The run.
        adata: Observations: the fitted data, or others.
        path: The file to write; one that is there is replaced.
        label: Column of ``obs`` with known classes; the fit's own if None.
        seed: Seed of all draws.

    Raises:
        DataError: Values that are no counts, or missing features.
        UnknownName: No such column.
        RunDirectoryError: The file cannot be there.
    """
    if not path.parent.is_dir():
        raise RunDirectoryError(f"{path.parent} is no directory: make it first")
    if path.is_dir():
        raise RunDirectoryError(f"{path} is a directory: name a file to write")
    subject = Subject(run, adata, run.label if label is None else label, seed)
    made = {name: make(subject) for name, make in SECTIONS.items()}
    page = render({name: section for name, section in made.items() if section is not None}, subject)
    staging = path.with_name(f".{path.name}-{uuid4().hex[:8]}")
    try:
        staging.write_text(page, encoding="utf-8")
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def render(sections: dict[str, Section], subject: Subject) -> Markup:
    """The whole page, of sections by the names that links to them have."""
    script = _read("map.js")
    # the browser runs what has this digest, and nothing else
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
    """A file of this folder, which is HTML (or in it) as it stands."""
    return Markup((HERE / name).read_text(encoding="utf-8"))  # noqa: S704
