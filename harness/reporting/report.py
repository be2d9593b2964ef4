"""`harness report`: what is stored, in the requested format."""

from pathlib import Path

from rich.console import RenderableType

from harness.errors import BadInput, unknown
from harness.io.atomic import replacing
from harness.reporting import formats
from harness.reporting.contents import Contents
from harness.reporting.formats import FORMATS


def format_of(name: str | None, output: Path | None) -> str:
    """The requested format, else the one of the file's suffix, else a table. Raises `BadInput`."""
    if name is None and output is not None:
        name = formats.by_suffix(output.suffix.lower())
        if name is None:
            known = ", ".join(f".{name}" for name in FORMATS)
            raise BadInput(
                f"--output {output}: no format has this suffix. Give --format, or a name that ends"
                f" in one of {known}."
            )
    name = (name and formats.by_suffix(f".{name}")) or name or "table"
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    if output is None and not formats.load(name).text:
        raise BadInput(f"--format {name} can't be printed: give --output FILE.{name}.")
    return name


class Report(Contents):
    """Which part of a store is shown, and what it looks like in each format."""

    def render(self, format: str, live: str = "") -> RenderableType:
        """A text; for `table`, something that rich prints. `live`: for a served page, the state of
        the store that it shows. Raises `BadInput`."""
        if format not in FORMATS or not formats.load(format).text:
            texts = [name for name in FORMATS if formats.load(name).text]
            raise unknown("format", format, texts)
        return formats.load(format).render(self, live)

    def write(self, format: str, path: Path) -> None:
        """Writes a file, atomically. Raises `BadInput`."""
        if not path.absolute().parent.is_dir():
            raise BadInput(f"--output {path}: there is no folder {path.parent}.")
        if path.is_dir():
            raise BadInput(f"--output {path} is a folder: give the name of a file.")
        content = formats.load(format).content(self)
        with replacing(path) as file:
            file.write(content)
