"""A leaderboard as a Python object: text in a terminal, a table in a notebook, a file in any
format, or a frame."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult

from harness.errors import BadInput
from harness.reporting.formats.picture import USUAL
from harness.reporting.report import Report, format_of
from harness.text import rendered

if TYPE_CHECKING:
    import pandas as pd

    from harness.reporting.serve import Server


class Leaderboard:
    """What `harness.report` and `Run.leaderboard` return.

    `print(board)` and a terminal's prompt show it as text, a notebook as a table, and
    `board.results` is the same as a pandas frame. Rows are read from the store when they are first
    needed, once; make another to see newer ones. Its methods raise `harness.BadInput` where there
    is nothing to show, or a name is unknown.
    """

    def __init__(self, report: Report):
        self._report = report
        self.store = report.store

    @cached_property
    def results(self) -> "pd.DataFrame":
        """One row per final run, and per published number if requested: the columns of
        `harness report --format csv`."""
        return self._report.tidy

    def to_html(self, path: str | Path | None = None) -> str | Path:
        """The page: one file to open, mail or publish. Returns its text; with a `path` it writes
        it there and returns the path, as the other methods do."""
        return self._text("html", path)

    def to_markdown(self, path: str | Path | None = None) -> str | Path:
        """GitHub's Markdown."""
        return self._text("md", path)

    def to_latex(self, path: str | Path | None = None) -> str | Path:
        """A booktabs table for a paper."""
        return self._text("latex", path)

    def to_json(self, path: str | Path | None = None) -> str | Path:
        """Means, ranks and tests, for programs."""
        return self._text("json", path)

    def to_csv(self, path: str | Path | None = None) -> str | Path:
        """One row per final run."""
        return self._text("csv", path)

    def to_figure(
        self, path: str | Path, figure: str = USUAL, x: str | None = None, caption: bool = True
    ) -> Path:
        """A figure for a paper, as `.pdf`, `.png` or `.svg`, of the backbone and protocol with
        most rows. `figure`: `tradeoff`, `ranks`, `differences`, `ablation`, `search` or `cost`.
        `x`: the cost of a `tradeoff`, such as `flops`; None: `params`. `caption`: whether what
        it shows is written below; a paper has captions of its own."""
        return self.write(path, figure=figure, x=x, caption=caption)

    @property
    def left_out_of_figures(self) -> str | None:
        """A sentence on what a figure doesn't show, where there are several backbones or
        protocols."""
        from harness.reporting.figures import left_out

        return left_out(self._report.sections)

    def write(
        self,
        path: str | Path,
        format: str | None = None,
        figure: str | None = None,
        x: str | None = None,
        caption: bool = True,
    ) -> Path:
        """Writes a file, whole or not at all, in the format that its suffix or `format` gives:
        `table`, `md`, `csv`, `json`, `latex`, `html`, `parquet`, `png`, `pdf`, `svg`. `figure`,
        `x` and `caption`: as for `to_figure`, for the last three."""
        path = Path(path).expanduser()
        report = replace(self._report, figure=figure or self._report.figure, x=x, caption=caption)
        report.write(format_of(format, path), path)
        return path

    def text(self, format: str = "table") -> str:
        """The report in this format, as text. `table` is as wide as the terminal."""
        if format == "table":
            return rendered(self)
        form = format_of(format, None)
        return str(self._report.render(form))

    def server(self, port: int = 8765) -> "Server":
        """A server for the page, reachable from this machine only, which follows the store: use it
        as a context manager, and call `serve_forever`. `port` 0 picks a free one."""
        from harness.reporting.serve import Server

        self._report.render("html")  # what can't be shown is an error now

        def page(state: str) -> str:
            return str(replace(self._report).render("html", live=state))

        return Server(page, self._report.store.state, port)

    def __str__(self) -> str:
        return self.text().rstrip()

    def __repr__(self) -> str:
        try:
            return str(self)
        except BadInput as error:
            return f"<Leaderboard: {error}>"

    def _repr_html_(self) -> str:
        from harness.reporting.formats.notebook import table

        return table(self._report.sections, self._report.checked_layout)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._report.render("table")

    def _text(self, form: str, path: str | Path | None) -> str | Path:
        return self.text(form) if path is None else self.write(path, form)
