"""`harness run` and `harness ablate`."""

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import NoReturn, TypeVar

import typer
from rich.console import Console, RenderableType

from harness import api
from harness.cli import options
from harness.cli.options import Carried, Ended, Measured, MethodsToRun, MethodToAblate
from harness.errors import BadInput
from harness.io import commands
from harness.io.flags import DEFAULT_METHODS
from harness.text import some

Done = TypeVar("Done", bound=api.Run)


@options.expanded
def run(
    *, methods: MethodsToRun = DEFAULT_METHODS, what: Measured, how: Carried, end: Ended
) -> None:
    """Tune, train and score every method on every task; then show the leaderboard. Run it again to
    go on where it stopped."""
    if end.dry_run:
        Console().print(api.plan(methods, **asdict(what)))
        return
    done = _until_interrupted(lambda: api.run(methods, **asdict(what), **asdict(how)))
    _show(done.leaderboard(), [*_tracebacks(done), *_missing(done), *_links(done)])
    _end(done, end)


@options.expanded
def ablate(*, method: MethodToAblate = "ivpt", what: Measured, how: Carried, end: Ended) -> None:
    """Switch a method's toggles, every valid combination, and show what each is worth. Shares its
    cells with `harness run`."""
    if end.dry_run:
        Console().print(api.plan(api.toggled(method), **asdict(what)))
        return
    done = _until_interrupted(lambda: api.ablate(method, **asdict(what), **asdict(how)))
    _show(done.table(), _missing(done))
    _end(done, end)


def _until_interrupted(do: Callable[[], Done]) -> Done:
    """A run in a process of its own: what interrupts it ends the process, at once, since Ray may
    take its time to end."""
    from harness.engine.signals import Interrupted, owning_the_process

    try:
        with owning_the_process():
            return do()
    except Interrupted as interrupted:
        _end_interrupted(interrupted.__notes__, interrupted.exit_code)


def _end_interrupted(saved: list[str], exit_code: int) -> NoReturn:
    print(f"\nInterrupted. {' '.join(saved)} The same command goes on from there.", flush=True)
    os._exit(exit_code)


def _show(board: RenderableType, lines: list[str]) -> None:
    """The last lines are unbroken, so that commands in them can be copied."""
    Console().print(board)
    print("\n".join(lines), end="\n" * bool(lines))


def _end(done: api.Run, end: Ended) -> None:
    """With code 3 where a result is missing that was asked for."""
    if done.gaps and not end.allow_gaps:
        raise typer.Exit(3)


def _tracebacks(done: api.Run) -> list[str]:
    """With --debug, those of the final runs that failed, each once."""
    if not (options.debugging() and done.gaps):
        return []
    return list(dict.fromkeys(done.failures["traceback"].dropna()))


def _missing(done: api.Run) -> list[str]:
    """A line where there are gaps."""
    if not done.gaps:
        return []
    why = commands.command("results", "list", "--failed", store=done.store)
    results = some(done.wanted, "result")
    are, them = ("is", "it") if done.gaps == 1 else ("are", "them")
    return [
        f"{done.gaps} of {results} {are} missing: `{why}` says why. The same command tries"
        f" again; --allow-gaps accepts {them}."
    ]


def _links(done: api.Run) -> list[str]:
    """Where the results are, and commands to go on with."""
    lines = [f"Stored in {done.store.name}."]
    if done.ids:
        report = commands.command("report", "--format", "md", store=done.store)
        show = commands.command("show", done.ids[0], store=done.store)
        lines += [_page(done), f"Next: `{report}`, or `{show}`"]
    return lines


def _page(done: api.Run) -> str:
    """Where the page is now; one that can't be written is no reason to lose the leaderboard."""
    try:
        return f"Everything in it as a page: {done.write_page()}"
    except BadInput as error:
        return f"No page: {error}"
