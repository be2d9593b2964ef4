"""The tidy frame as Parquet: a row per final run, with types."""

import io

from harness.reporting.contents import Contents
from harness.reporting.formats.format import Format


class _Parquet(Format):
    text = False

    def content(self, contents: Contents) -> bytes:
        file = io.BytesIO()
        contents.tidy.to_parquet(file, index=False)
        return file.getvalue()


PARQUET = _Parquet()
