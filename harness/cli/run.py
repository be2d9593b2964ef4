"""`harness run` and `harness ablate`."""

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import NoReturn, TypeVar

import typer
from rich.console import Console, RenderableType

from harness import api
from harness.cli import config, options, shown
from harness.cli.config import Again, ConfigOptions
from harness.cli.options import EndOptions, MethodsToRun, MethodToAblate, PlanOptions, RunOptions
from harness.errors import BadInput
from harness.io import commands
from harness.io.flags import DEFAULT_METHODS
from harness.reporting.formats.page.age import is_current
from harness.text import some

Done = TypeVar("Done", bound=api.Run)


@options.expanded
def run(
    context: typer.Context,
    *,
    methods: MethodsToRun = DEFAULT_METHODS,
    what: PlanOptions,
    how: RunOptions,
    end: EndOptions,
    file: ConfigOptions,
    again: Again = False,
) -> None:
    """Tune, train and score every method on every task; then show the leaderboard. Run it again to
    resume."""
    if again and file.config is not None:
        raise BadInput("--again repeats the last run, --config another: give one of them.")
    _save_config(file, context)
    if end.dry_run:
        Console().print(api.plan(methods, **asdict(what), progress=not shown.quiet))
        return
    done = _until_interrupted(
        lambda: api.run(methods, **asdict(what), **asdict(how), progress=not shown.quiet)
    )
    # with --max-hours, a run may end before its first score
    board = "" if done.late and done.gaps == done.wanted else done.leaderboard()
    _show(board, [*_tracebacks(done), *_missing(done), *_links(done)])
    _end(done, end)


@options.expanded
def ablate(
    context: typer.Context,
    *,
    method: MethodToAblate = "ivpt",
    what: PlanOptions,
    how: RunOptions,
    end: EndOptions,
    file: ConfigOptions,
) -> None:
    """Run every valid combination of a method's toggles, and show what each is worth. Shares its
    cells with `harness run`."""
    _save_config(file, context)
    if end.dry_run:
        Console().print(api.plan(api.toggled(method), **asdict(what), progress=not shown.quiet))
        return
    done = _until_interrupted(
        lambda: api.ablate(method, **asdict(what), **asdict(how), progress=not shown.quiet)
    )
    _show(done.table(), _missing(done))
    _end(done, end)


def _save_config(file: ConfigOptions, context: typer.Context) -> None:
    if file.save_config is not None:
        config.save(file.save_config, context)


def _until_interrupted(do: Callable[[], Done]) -> Done:
    """A run that owns the process: an interrupt ends the process at once, since Ray may be slow to
    shut down."""
    from harness.engine.signals import Interrupted, owning_the_process

    try:
        with owning_the_process():
            return do()
    except Interrupted as interrupted:
        _end_interrupted(interrupted.__notes__, interrupted.exit_code)


def _end_interrupted(saved: list[str], exit_code: int) -> NoReturn:
    print(f"\nInterrupted. {' '.join(saved)} The same command resumes.", flush=True)
    os._exit(exit_code)


def _show(board: RenderableType, lines: list[str]) -> None:
    """The lines aren't wrapped, so that commands in them can be copied."""
    if board:
        Console().print(board)
    print("\n".join(lines), end="\n" * bool(lines))


def _end(done: api.Run, end: EndOptions) -> None:
    """Exits with code 3 if a requested result is missing."""
    if done.gaps and not end.allow_gaps:
        raise typer.Exit(3)


def _tracebacks(done: api.Run) -> list[str]:
    """With --debug, the tracebacks of failed final runs, without repeats."""
    if not (options.debugging() and done.gaps):
        return []
    return list(dict.fromkeys(done.failures["traceback"].dropna()))


def _missing(done: api.Run) -> list[str]:
    """A line if there are gaps."""
    if not done.gaps:
        return []
    why = commands.command("results", "list", "--failed", store=done.store)
    results = some(done.wanted, "result")
    are, them = ("is", "it") if done.gaps == 1 else ("are", "them")
    if done.late:
        return [
            f"{done.gaps} of {results} {are} missing: --max-hours ended the run. The same command"
            f" resumes; --allow-gaps accepts {them}."
        ]
    return [
        f"{done.gaps} of {results} {are} missing: `{why}` says why. The same command"
        f" retries; --allow-gaps accepts {them}."
    ]


def _links(done: api.Run) -> list[str]:
    """Where the results are, and commands to continue with; the page is written anyway."""
    if shown.quiet:
        if done.ids:
            _page(done)
        return []
    lines = [f"Stored in {done.store.name}."]
    if done.ids:
        report = commands.command("report", "--format", "md", store=done.store)
        show = commands.command("show", done.ids[0], store=done.store)
        lines += [_page(done), f"Next: `{report}`, or `{show}`"]
    return lines


def _page(done: api.Run) -> str:
    """Where the page is now, written anew unless it shows all that is stored; if it can't be
    written, the leaderboard is shown anyway."""
    try:
        page = done.store.page
        if not is_current(page, done.store):
            done.write_page(not shown.quiet)
        return f"The whole store as a page: {page}"
    except BadInput as error:
        return f"No page: {error}"
