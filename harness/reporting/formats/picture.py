"""A figure of the leaderboard: PNG, PDF or SVG."""

import io

from harness.reporting.contents import Contents
from harness.reporting.formats.format import Format

USUAL = "tradeoff"
"""The figure if none is named."""


class _Picture(Format):
    text = False

    def __init__(self, name: str):
        self._name = name

    def content(self, contents: Contents) -> bytes:
        from harness.reporting.figures import encode, figure

        drawn = figure(
            contents.figure or USUAL,
            contents.sections,
            store=contents.store,
            baseline=contents.checked_layout.baseline,
            x=contents.x,
            caption=contents.caption,
        )
        file = io.BytesIO()
        encode(drawn, file, self._name)
        return file.getvalue()


PNG, PDF, SVG = (_Picture(name) for name in ("png", "pdf", "svg"))
