"""`harness report`: what is stored, filtered, in the form that is asked for."""

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast, get_args

import pandas as pd
from rich.console import Console, RenderableType

from harness.errors import BadInput, unknown
from harness.io.atomic import replacing
from harness.reporting import frame
from harness.reporting.columns import PLAIN, Layout
from harness.reporting.selection import of_methods, one_variant, stored
from harness.reporting.stats import Section, Sort, sections
from harness.store import Store

TEXTS = ("table", "md", "csv", "json", "latex", "html")
FILES = ("parquet", "png", "pdf", "svg")
"""Forms that aren't text: they go to a file."""
SUFFIXES = {".txt": "table", ".tex": "latex", ".htm": "html"}
"""What a file's name says, where it isn't the form's own name."""
FIGURE = "tradeoff"


def form_of(form: str | None, output: Path | None) -> str:
    """The form that was asked for, else what the file's name says, else a table. Raises
    `BadInput`."""
    if form is None and output is not None:
        suffix = output.suffix.lower()
        form = SUFFIXES.get(suffix, suffix.removeprefix("."))
        if form not in (*TEXTS, *FILES):
            raise BadInput(f"--output {output}: its name doesn't say a format. Give --format.")
    form = form or "table"
    if form not in (*TEXTS, *FILES):
        raise unknown("format", form, (*TEXTS, *FILES))
    if form in FILES and output is None:
        raise BadInput(f"--format {form} makes a file: give --output FILE.{form}.")
    return form


@dataclass(frozen=True)
class Report:
    """What of a store is shown, and how."""

    store: Store
    tasks: Sequence[str] | None = None
    """The columns' names and order; None: all, with a table for each suite."""
    methods: Sequence[str] | None = None
    """Names (`ivpt`: all its variants) or whole variants (`ivpt(da=false)`); None: all."""
    suite: str | None = None
    """For display."""
    cells: Collection[str] | None = None
    """Keys of the cells to show; None: all."""
    layout: Layout = PLAIN
    sort: str = "mean"
    complete_only: bool = False
    published: bool = False
    """Whether published numbers stand beside. The page has them anyway."""
    figure: str | None = None

    def render(self, form: str, live: str = "") -> str | RenderableType:
        """A text; for `table` something that rich prints. `live`: the store's state that a served
        page was made at. Raises `BadInput`."""
        if form == "table":
            from harness.reporting.formats.terminal import Leaderboard

            return Leaderboard(self.sections, self.checked_layout, self.literature)
        if form == "md":
            from harness.reporting.formats.markdown import markdown

            return markdown(self.sections, self.checked_layout, self.literature)
        if form == "json":
            from harness.reporting.formats.json import json_

            return json_(
                self.sections,
                self.checked_layout.baseline,
                [] if self.literature is None else frame.records(self.literature),
            )
        if form == "csv":
            return self.tidy.to_csv(index=False)
        if form == "latex":
            from harness.reporting.formats.latex import latex

            return latex(self.sections, self.checked_layout)
        if form == "html":
            from harness.reporting.formats.page import page
            from harness.reporting.published import published

            return page(
                self.store,
                tasks=self.tasks,
                methods=self.methods,
                suite_name=self.suite,
                baseline=self.layout.baseline,
                published=published(),
                cells=self.cells,
                sort=self.checked_sort,
                complete_only=self.complete_only,
                live=live,
            )
        raise unknown("format", form, TEXTS)

    def write(self, form: str, path: Path) -> None:
        """To a file, whole or not at all. Raises `BadInput`."""
        if not path.absolute().parent.is_dir():
            raise BadInput(f"--output {path}: no folder {path.parent}.")
        if path.is_dir():
            raise BadInput(f"--output {path} is a folder: name a file in it.")
        if form in ("png", "pdf", "svg"):
            from harness.reporting.figures import figure, save

            drawn = figure(
                self.figure or FIGURE,
                self.sections,
                store=self.store,
                baseline=self.checked_layout.baseline,
            )
            return save(drawn, path)
        if form == "parquet":
            content = io.BytesIO()
            self.tidy.to_parquet(content, index=False)
            made = content.getvalue()
        elif form == "table":
            text = io.StringIO()
            Console(file=text, width=120).print(self.render(form))
            made = text.getvalue().encode()
        else:
            made = str(self.render(form)).encode()
        with replacing(path) as file:
            file.write(made)

    @cached_property
    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Final runs and failures, as asked for."""
        results, failed = stored(
            self.store, self.tasks, self.suite, self.cells, precision=self.published
        )
        return (
            (results, failed) if self.methods is None else of_methods(results, failed, self.methods)
        )

    @cached_property
    def sections(self) -> list[Section]:
        return sections(
            frame.leaderboard(*self.frames),
            self.tasks,
            self.suite,
            self.checked_sort,
            self.complete_only,
        )

    @property
    def checked_sort(self) -> Sort:
        if self.sort not in get_args(Sort):
            raise unknown("order", self.sort, get_args(Sort))
        return cast(Sort, self.sort)

    @property
    def checked_layout(self) -> Layout:
        """With the baseline by its whole name."""
        baseline = self.layout.baseline
        if baseline is None:
            return self.layout
        return Layout(self.layout.groups, self.layout.budgets, one_variant(*self.frames, baseline))

    @property
    def tidy(self) -> pd.DataFrame:
        return frame.tidy(*self.frames, self.literature)

    @cached_property
    def literature(self) -> pd.DataFrame | None:
        """Published numbers on the tasks shown, and means; None unless asked for."""
        if not self.published:
            return None
        from harness.reporting.published import means, published

        found, shown = published(), {task for section in self.sections for task in section.tasks}
        return pd.DataFrame(found[found["task"].isin([*shown, *means()])])
