"""`harness data`: which data are present, whether they are right, and how to get them."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options, shown
from harness.cli.command import Group, registering
from harness.cli.options import Cards, DataRoot, TaskOptions, TextOrJson, expanded
from harness.errors import BadInput
from harness.io import flags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.tasks.cards import TaskCard

    Progress = Callable[[int, int], None]

app = typer.Typer(
    cls=Group,
    help="List, check, download and prepare the tasks' data.",
    no_args_is_help=True,
    add_completion=False,
)
command = registering(app, "data")


@command("keys")
@expanded
def keys(
    *,
    split: Annotated[
        str, typer.Option("--split", help="train800, val200, train800val200 or test.")
    ],
    which: TaskOptions,
    data_root: DataRoot = None,
    cards: Cards = None,
) -> None:
    """Print the keys of a split in order, one per line; for several tasks, each after its task's
    name and a tab.

    Needs no data if they follow from counts or names, and only the lists if they follow from
    those.
    """
    from harness.data.keys import keys as keys_of

    chosen = _chosen(which, cards)
    # all, before any is printed
    of_task = [(one.name, keys_of(one, data_root, split)) for one in chosen]
    print(
        "\n".join(
            key if len(chosen) == 1 else f"{name}\t{key}"
            for name, listed in of_task
            for key in listed
        )
    )


@command("card")
@expanded
def card(
    *,
    which: TaskOptions,
    cards: Cards = None,
) -> None:
    """Show tasks' cards."""
    print(
        "\n".join(one.path.read_text(encoding="utf-8-sig") for one in _chosen(which, cards)),
        end="",
    )


@command("status")
@expanded
def status(
    *,
    which: TaskOptions,
    data_root: DataRoot = None,
    cards: Cards = None,
    format: TextOrJson = "text",
) -> None:
    """Show which tasks' data are present; of all tasks if none is named. Exit code 1 if any are
    missing."""
    from rich.console import Console

    from harness.data import status as of

    options.check_format(format, ("text", "json"))
    statuses = [of.status(one, data_root) for one in _chosen(which, cards, default="all")]
    if format == "json":
        print(json.dumps([row.json() for row in statuses], indent=2))
    else:
        of.show(statuses, data_root, Console())
    if any(row.state != "found" for row in statuses):
        raise typer.Exit(1)


@command("verify")
@expanded
def verify(
    *,
    which: TaskOptions,
    data_root: DataRoot = None,
    cards: Cards = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Don't decode images: truncated or invalid files go unnoticed."
        ),
    ] = False,
    format: TextOrJson = "text",
) -> None:
    """Read all data and decode every image: checks counts, labels, fingerprints and duplicate
    images. Exit code 1 if anything is wrong."""
    from harness.data.verify import verify as check
    from harness.engine.progress import ProgressView

    options.check_format(format, ("text", "json"))
    wrong, verdicts = False, []
    with ProgressView(shown.progress_console()) as view:
        for one in _chosen(which, cards, default="mini"):
            try:
                verdict = check(one, data_root, view.stage, quick)
            except BadInput as error:
                wrong = True
                verdicts.append({"task": one.name, "faults": [str(error)]})
                lines = [str(error)]
            else:
                wrong = wrong or bool(verdict.faults)
                verdicts.append(verdict.json())
                lines = verdict.lines(one.classes)
            if format == "text":
                print("\n".join(lines))
    if format == "json":
        print(json.dumps(verdicts, indent=2))
    if wrong:
        raise typer.Exit(1)


@command("fetch")
@expanded
def fetch(
    *,
    data_root: Annotated[
        Path, typer.Option("--data-root", help="Where to put the data.", parser=flags.path)
    ],
    which: TaskOptions,
    cards: Cards = None,
) -> None:
    """Download tasks' original files from their owners, verify and extract them. Resumes after
    interruptions."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from harness.data.fetch import fetch as get

    chosen, wrong = _chosen(which, cards), False
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=shown.progress_console(), transient=True) as bar:
        row = bar.add_task("", total=None)
        for card in chosen:
            try:
                fetched = get(
                    card,
                    data_root,
                    lambda what, done, total: bar.update(
                        row, description=what, completed=done, total=total
                    ),
                )
            except BadInput as error:  # the others may be available
                wrong = True
                print(f"harness: {error}", file=sys.stderr)
                continue
            print(
                f"{card.name}: " + (f"fetched {', '.join(fetched)}" if fetched else "already there")
            )
            if card.by_hand:
                print(f"{card.name}: {card.by_hand}")
    if wrong:
        raise typer.Exit(2)


@command("prepare")
@expanded
def prepare(
    *,
    data_root: Annotated[
        Path,
        typer.Option(
            "--data-root", help="Folder with the tasks' data, in any format.", parser=flags.path
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="Where to put the prepared folders. Default: where the data are.",
            parser=flags.path,
        ),
    ] = None,
    which: TaskOptions,
    cards: Cards = None,
) -> None:
    """Decode tasks once, into folders that are fast to read. Lossless; resumes after
    interruptions."""
    from harness.data.prepare import prepare as make
    from harness.data.readers.prepared import folder_of

    def one(card, progress) -> str:
        folder = folder_of(card.name, to or data_root)
        return (
            f"prepared: {folder}"
            if make(card, data_root, to or data_root, progress)
            else f"already there: {folder}"
        )

    _each(one, _chosen(which, cards, default="mini"), data_root)


@command("export")
@expanded
def export(
    *,
    data_root: Annotated[
        Path,
        typer.Option(
            "--data-root", help="Folder with the tasks' data, in any format.", parser=flags.path
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="Where to put the folders.", parser=flags.path)],
    form: Annotated[
        str, typer.Option("--format", help="vtab1k-folder, which other projects' code reads.")
    ] = "vtab1k-folder",
    lossy: Annotated[
        bool,
        typer.Option(
            "--jpeg/--png", help="JPEG of quality 75, as in the common copies; or lossless."
        ),
    ] = False,
    which: TaskOptions,
    cards: Cards = None,
) -> None:
    """Write tasks as VTAB-1k folders: images and train800.txt, val200.txt, train800val200.txt,
    test.txt."""
    from harness.data.export import export as write

    options.check_format(form, ("vtab1k-folder",))

    def one(card, progress) -> str:
        folder, new = write(card, data_root, to, "jpeg" if lossy else "png", progress)
        return f"written: {folder}" if new else f"already there: {folder}"

    _each(one, _chosen(which, cards, default="mini"), data_root)


def _each(
    do: "Callable[[TaskCard, Progress], str]", chosen: "Sequence[TaskCard]", root: Path
) -> None:
    """Calls `do` for each task, with a progress bar; tasks that fail are reported at the end, and
    the exit code is 2."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from harness.data import missing

    problems: dict[str, str] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=shown.progress_console(), transient=True) as bar:
        for card in chosen:
            row = bar.add_task(card.name, total=None)
            try:
                print(
                    do(
                        card,
                        lambda done, total, row=row: bar.update(row, completed=done, total=total),
                    )
                )
            except BadInput as error:
                problems[card.name] = str(error)
            bar.remove_task(row)
    for line in missing.lines(problems, chosen, root):
        print(f"harness: {line}", file=sys.stderr)
    if problems:
        raise typer.Exit(2)


def _chosen(which: TaskOptions, cards: Path | None, default: str | None = None) -> "list[TaskCard]":
    """The requested tasks; those of the suite `default` if there are none. Raises `BadInput`."""
    from harness.planning.choices import choose_tasks

    if which.tasks is None and which.suite is None and default is None:
        raise BadInput(
            "name a task, as in `harness data card cifar100`; or give --tasks or --suite."
        )
    suite = which.suite or (default if which.tasks is None else None)
    return choose_tasks(suite, which.tasks, cards)[1]
