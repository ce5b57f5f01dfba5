"""A run as one page of HTML: everything in one file, nothing from the network.

A section is a function of a `Subject` in the table `SECTIONS`: it returns its `Section`, or None
where it does not apply to the run.
"""

from .page import write_page, write_report
from .sections import SECTIONS
from .subject import Section, Subject

__all__ = ["SECTIONS", "Section", "Subject", "write_page", "write_report"]
