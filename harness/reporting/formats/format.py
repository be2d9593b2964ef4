"""What an output format is."""

from abc import ABC, abstractmethod

from rich.console import RenderableType

from harness.reporting.contents import Contents


class Format(ABC):
    suffixes: tuple[str, ...] = ()
    """Of files that are of this format, beside `.NAME`."""
    text = True
    """Whether it can be printed; a format that can't makes a file, and has no `render`."""

    @abstractmethod
    def content(self, contents: Contents) -> bytes:
        """A whole file. Raises `BadInput`."""

    def render(self, contents: Contents, live: str = "") -> RenderableType:
        """What is printed: a text, or what rich prints. `live`: the store's state that a served
        page was made at. Raises `BadInput`."""
        raise NotImplementedError


class TextFormat(Format):
    """One whose file holds what is printed."""

    @abstractmethod
    def render(self, contents: Contents, live: str = "") -> str:
        """See `Format`."""

    def content(self, contents: Contents) -> bytes:
        return self.render(contents).encode()
