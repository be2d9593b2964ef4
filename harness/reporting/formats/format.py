"""What an output format is."""

from abc import ABC, abstractmethod

from rich.console import RenderableType

from harness.reporting.contents import Contents


class Format(ABC):
    suffixes: tuple[str, ...] = ()
    """Suffixes of files in this format, besides `.NAME`."""
    text = True
    """Whether it can be printed; one that can't makes a file, and has no `render`."""

    @abstractmethod
    def content(self, contents: Contents) -> bytes:
        """A whole file. Raises `BadInput`."""

    def render(self, contents: Contents, live: str = "") -> RenderableType:
        """What is printed: a text, or something that rich prints. `live`: for a served page, the
        state of the store that it shows. Raises `BadInput`."""
        raise NotImplementedError


class TextFormat(Format):
    """One whose file holds what is printed."""

    @abstractmethod
    def render(self, contents: Contents, live: str = "") -> str:
        """See `Format`."""

    def content(self, contents: Contents) -> bytes:
        return self.render(contents).encode()
