"""`harness data`: what is there, what it should be, and how to get it. Thin, like `cli.py`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options
from harness.cli.options import Cards, DataRoot, Named, expanded
from harness.errors import BadInput
from harness.io import flags
from harness.text import some

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.tasks.cards import TaskCard

    Progress = Callable[[int, int], None]

app = typer.Typer(
    help="See, check, get and prepare the tasks' data.", no_args_is_help=True, add_completion=False
)


@app.command()
@expanded
def keys(
    *,
    split: Annotated[
        str, typer.Option("--split", help="train800, val200, train800val200 or test.")
    ],
    which: Named,
    data_root: DataRoot = None,
    cards: Cards = None,
) -> None:
    """Print the keys of a split in order, one a line; of several tasks, each behind its task's name
    and a tab.

    Needs no data where they follow from counts or names, and only the lists where they follow from
    these.
    """
    from harness.data.keys import keys as keys_of

    chosen = _chosen(which, cards)
    # all, before any is printed
    of_task = [(one.name, keys_of(one, data_root, split)) for one in chosen]
    print(
        "\n".join(
            key if len(chosen) == 1 else f"{name}\t{key}"
            for name, found in of_task
            for key in found
        )
    )


@app.command()
@expanded
def card(
    *,
    which: Named,
    cards: Cards = None,
) -> None:
    """Show tasks' cards."""
    print(
        "\n".join(one.path.read_text(encoding="utf-8-sig") for one in _chosen(which, cards)),
        end="",
    )


@app.command()
@expanded
def status(
    *,
    which: Named,
    data_root: DataRoot = None,
    cards: Cards = None,
) -> None:
    """Show which tasks' data are there; of all tasks, where none is named. Exit code 1 where any
    are not."""
    from rich.console import Console

    from harness.data import status as of

    found = [of.status(one, data_root) for one in _chosen(which, cards, default="all")]
    of.show(found, data_root, Console())
    if any(row.state != "found" for row in found):
        raise typer.Exit(1)


@app.command()
@expanded
def verify(
    *,
    which: Named,
    data_root: DataRoot = None,
    cards: Cards = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Decode no image: a file that is cut short, or no image, isn't noticed."
        ),
    ] = False,
) -> None:
    """Read all data and decode every image: counts, labels, fingerprints, images that are there
    twice. Exit code 1 where one is wrong."""
    from rich.console import Console

    from harness.data.verify import verify as check
    from harness.engine.progress import ProgressView

    chosen = _chosen(which, cards, default="mini")
    wrong = False
    with ProgressView(Console(stderr=True)) as view:
        for one in chosen:
            try:
                verdict = check(one, data_root, view.stage, quick)
            except BadInput as error:
                wrong = True
                print(error)
                continue
            seen = ", ".join(
                f"{split} {len(counts)}"
                f" ({min(counts.values(), default=0)}-{max(counts.values(), default=0)} images"
                " each)"
                for split, counts in verdict.histograms.items()
            )
            decoded = (
                "no image decoded (--quick)"
                if quick
                else f"{some(verdict.decoded, 'image')} decoded"
            )
            what = f"{verdict.format}, fingerprint {verdict.fingerprint[:16]}, {decoded}"
            print(f"{verdict.task}: {what}, classes of {one.classes} seen: {seen}")
            for warning in verdict.warnings:
                print(f"{verdict.task}: warning: {warning}.")
            for fault in verdict.faults:
                wrong = True
                print(f"{verdict.task}: {fault}.")
    if wrong:
        raise typer.Exit(1)


@app.command()
@expanded
def fetch(
    *,
    data_root: Annotated[
        Path, typer.Option("--data-root", help="Where the data go.", parser=flags.path)
    ],
    which: Named,
    cards: Cards = None,
) -> None:
    """Download tasks' originals from their owners, checked and extracted. Goes on where it was
    cut."""
    from rich.console import Console
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
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("", total=None)
        for card in chosen:
            try:
                got = get(
                    card,
                    data_root,
                    lambda what, done, total: bar.update(
                        row, description=what, completed=done, total=total
                    ),
                )
            except BadInput as error:  # the others may be had
                wrong = True
                print(f"harness: {error}", file=sys.stderr)
                continue
            print(f"{card.name}: " + (f"fetched {', '.join(got)}" if got else "was there"))
            if card.by_hand:
                print(f"{card.name}: {card.by_hand}")
    if wrong:
        raise typer.Exit(2)


@app.command()
@expanded
def prepare(
    *,
    origin: Annotated[
        Path,
        typer.Option(
            "--from", help="Folder that holds the tasks' data, in any form.", parser=flags.path
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="Where the prepared folders go. Default: where the data are.",
            parser=flags.path,
        ),
    ] = None,
    which: Named,
    cards: Cards = None,
) -> None:
    """Decode tasks once, into folders that are read at full speed. Lossless; goes on where it was
    killed."""
    from harness.data.prepare import prepare as make
    from harness.data.readers.prepared import folder_of

    def one(card, progress) -> str:
        folder = folder_of(card.name, to or origin)
        return (
            f"prepared: {folder}"
            if make(card, origin, to or origin, progress)
            else f"was there: {folder}"
        )

    _each(one, _chosen(which, cards, default="mini"))


@app.command()
@expanded
def export(
    *,
    data_root: Annotated[
        Path,
        typer.Option(
            "--data-root", help="Folder that holds the tasks' data, in any form.", parser=flags.path
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="Where the folders go.", parser=flags.path)],
    form: Annotated[
        str, typer.Option("--format", help="vtab1k-folder, which other projects' code reads.")
    ] = "vtab1k-folder",
    lossy: Annotated[
        bool,
        typer.Option(
            "--jpeg/--png", help="JPEG of quality 75, as in the common copies; or lossless."
        ),
    ] = False,
    which: Named,
    cards: Cards = None,
) -> None:
    """Write tasks as the VTAB-1k folder: images and train800.txt, val200.txt, train800val200.txt,
    test.txt."""
    from harness.data.export import export as write

    options.check_format(form, ("vtab1k-folder",))

    def one(card, progress) -> str:
        folder, new = write(card, data_root, to, "jpeg" if lossy else "png", progress)
        return f"written: {folder}" if new else f"was there: {folder}"

    _each(one, _chosen(which, cards, default="mini"))


def _each(do: "Callable[[TaskCard, Progress], str]", chosen: "Sequence[TaskCard]") -> None:
    """Does one thing to each task, with a progress bar; the tasks that can't are said in a line
    each, then the exit code is 2."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    wrong = False
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
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
                wrong = True
                print(f"harness: {error}", file=sys.stderr)
            bar.remove_task(row)
    if wrong:
        raise typer.Exit(2)


def _chosen(which: Named, cards: Path | None, default: str | None = None) -> "list[TaskCard]":
    """The tasks that are asked for, by name, --tasks or --suite alike; those of the suite `default`
    where none is. Raises `BadInput`."""
    from harness.planning.plan import choose_tasks

    names = [*(which.named or ()), *([which.tasks] if which.tasks is not None else [])]
    wanted = ",".join(names) if names else None
    if wanted is None and which.suite is None and default is None:
        raise BadInput(
            "name a task, as in `harness data card cifar100`; or give --tasks or --suite."
        )
    return choose_tasks(which.suite or (default if wanted is None else None), wanted, cards)[1]
