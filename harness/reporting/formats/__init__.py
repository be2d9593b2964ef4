"""A leaderboard in each format: a file that defines a `Format`, and its line in `FORMATS`.

Modules are imported when their format is requested: some take a second, and `harness --help` lists
them all.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.reporting.formats.format import Format

FORMATS = {
    "table": "terminal.TERMINAL",
    "md": "markdown.MARKDOWN",
    "csv": "csv.CSV",
    "json": "json.JSON",
    "parquet": "parquet.PARQUET",
    "latex": "latex.LATEX",
    "html": "page.html.PAGE",
    "png": "picture.PNG",
    "pdf": "picture.PDF",
    "svg": "picture.SVG",
}
"""Where in this folder each format is defined, in the order in which they are listed."""


def load(name: str) -> "Format":
    from harness.reporting.formats.format import Format

    module, _, attribute = FORMATS[name].rpartition(".")
    loaded = getattr(import_module(f"{__name__}.{module}"), attribute)
    if not isinstance(loaded, Format):
        raise TypeError(f"format {name}: {FORMATS[name]} is not a Format")
    return loaded


def by_suffix(suffix: str) -> str | None:
    """The format of files with this suffix: `.tex` is latex, `.csv` csv."""
    name = suffix.removeprefix(".")
    if name in FORMATS:
        return name
    return next((name for name in FORMATS if suffix in load(name).suffixes), None)
