"""The tidy frame as CSV: a row per final run."""

from harness.reporting.contents import Contents
from harness.reporting.formats.format import TextFormat


class _Csv(TextFormat):
    def render(self, contents: Contents, live: str = "") -> str:
        return contents.tidy.to_csv(index=False)


CSV = _Csv()
