"""What a call shows while it runs, and what has to happen before it imports libraries."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from harness.engine.progress import ProgressView


@contextmanager
def viewing(
    progress: bool, stage: str = "loading libraries"
) -> "Generator[ProgressView, None, None]":
    """Shows the progress of a call. Inside, `breakpoint()` has the terminal to itself."""
    from rich.console import Console

    from harness.engine.progress import ProgressView

    before_libraries()
    with ProgressView(Console(quiet=not progress)) as view:
        view.stage(stage)
        view.pause_at_breakpoints()
        yield view


def before_libraries() -> None:
    """Checks and settings before torch, Ray and methods are imported. Raises `BadInput`."""
    from harness.engine.notebook import ask_for_no_widgets
    from harness.planning import builtin

    builtin.check()
    ask_for_no_widgets()
