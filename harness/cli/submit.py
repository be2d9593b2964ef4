"""`harness submit`: sends results to a board of many people, and checks what is sent."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options
from harness.cli.options import SettingOptions, Store, StoredMethods, SuiteOfResults, TaskNames
from harness.errors import BadInput
from harness.io import flags
from harness.io.flags import DEFAULT_STORE
from harness.text import some

if TYPE_CHECKING:
    from harness.reporting.submissions.check import Checked

Board = Annotated[
    Path | None,
    typer.Option(
        "--known",
        help="A folder of accepted submissions, for comparison. Default: those that ship with the"
        " harness.",
        parser=flags.path,
    ),
]


@options.expanded
def submit(
    *,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", help="The folder to write, e.g. results/submissions/NAME.", parser=flags.path
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            help="Only check this submission, or all of a folder. Exit code 1 if one has a fault.",
            parser=flags.path,
        ),
    ] = None,
    who: Annotated[
        str | None, typer.Option("--who", help="You or your group, as the board shall say.")
    ] = None,
    contact: Annotated[
        str | None, typer.Option("--contact", help="A mail address, or an account's page.")
    ] = None,
    hardware: Annotated[
        str | None, typer.Option("--hardware", help="What it ran on. Default: what the rows say.")
    ] = None,
    made_by: Annotated[
        str | None,
        typer.Option("--command", help="What made the rows. Default: as far as they say."),
    ] = None,
    note: Annotated[str, typer.Option("--note", help="A sentence for readers.")] = "",
    record: Annotated[
        list[Path] | None,
        typer.Option(
            "--record",
            help="A file that `harness reproduce ID --record FILE` wrote of somebody else's row."
            " Repeatable.",
            parser=flags.path,
        ),
    ] = None,
    known: Board = None,
    suite: SuiteOfResults = None,
    tasks: TaskNames = None,
    methods: StoredMethods = None,
    setting: SettingOptions,
    store: Store = DEFAULT_STORE,
) -> None:
    """Make a submission to a board from a store, checked; or check one. It holds no path of this
    machine."""
    from harness.io.resources import submissions_dir

    board = known or submissions_dir()
    if (to is None) == (check is None):
        raise BadInput("give --to FOLDER to make a submission, or --check FOLDER to check some.")
    if check is not None:
        from harness.reporting.submissions.check import check_all

        # what is checked isn't known yet
        own = board is None or (board.exists() and check.exists() and _holds(board, check))
        _report(check_all(check, known if own else board))
        return
    assert to is not None
    if who is None or contact is None:
        raise BadInput(
            "a submission needs --who and --contact: rows without a sender aren't taken."
        )
    from harness.reporting.submissions.make import make
    from harness.store import Store as ResultStore

    opened = ResultStore(store)
    wanted = options.wanted(suite, tasks, methods, setting)
    outcome = make(
        opened,
        to,
        who=who,
        contact=contact,
        hardware=hardware,
        command=made_by,
        note=note,
        cells=wanted.cells(opened) if wanted or not record else (),
        records=record or [],
        board=board,
    )
    for line in outcome.lines:
        print(line)
    submission = outcome.submission
    assert submission is not None
    size = sum(file.stat().st_size for file in to.rglob("*") if file.is_file())
    print(
        f"{to}: {some(len(submission.rows.results), 'result')},"
        f" {some(len(submission.rows.trials), 'trial')},"
        f" hashes of {some(len(submission.checkpoints), 'checkpoint')},"
        f" {some(len(submission.records), 'record')}, {size:,} bytes"
    )


def _holds(board: Path, check: Path) -> bool:
    """Whether a folder is a board, or one of its submissions."""
    return check.samefile(board) or any(one.samefile(board) for one in check.absolute().parents)


def _report(outcomes: "list[Checked]") -> None:
    """Prints what was found; exit code 1 if there is a fault."""
    for line in (line for outcome in outcomes for line in outcome.lines):
        print(line)
    bad = [outcome.name for outcome in outcomes if outcome.faults]
    if bad:
        print(f"{some(len(bad), 'submission')} refused: {', '.join(bad)}.")
        raise typer.Exit(1)
    print(f"{some(len(outcomes), 'submission')} without a fault.")
