"""`harness site`: the board of many people as a static site."""

from pathlib import Path
from typing import Annotated

import typer

from harness.io import flags


def site(
    submissions: Annotated[
        Path,
        typer.Argument(
            help="A folder of submissions, such as results/submissions.", parser=flags.path
        ),
    ],
    to: Annotated[
        Path,
        typer.Option("--to", help="The folder to write, such as public/.", parser=flags.path),
    ],
) -> None:
    """Check submissions to a board, and build its static site: a page per board, method, task and
    submission, and the history."""
    from harness.reporting.submissions.check import check_all
    from harness.reporting.submissions.pages import build

    built = build(check_all(submissions), to)
    print(f"{to / 'index.html'}: {built.pages:,} pages, {built.bytes / 1e6:.1f} MB")
