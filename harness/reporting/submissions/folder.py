"""A submission's folder: what is in it, how large that may be, and reading it.

submission.toml     who sends it, how the rows were made, and the sha256 of the other files
rows.parquet        cells, searches and results, as `harness results export` writes them
checkpoints.csv     the hashes of checkpoints and of the logits they name
reproduced/ID.json  records of `harness reproduce --record`, of other people's rows
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import BadInput
from harness.reporting.submissions import about, checkpoints
from harness.reporting.submissions.about import About
from harness.reporting.submissions.checkpoints import Checkpoint
from harness.store.records import Cell, Result, Trial
from harness.store.transfer import exchange, reproduced
from harness.store.transfer.exchange import StoreRows
from harness.store.transfer.reproduced import Record
from harness.text import visible

ABOUT, ROWS, CHECKPOINTS, RECORDS = (
    "submission.toml",
    "rows.parquet",
    "checkpoints.csv",
    "reproduced",
)
LARGEST = {ABOUT: 2_000_000, ROWS: 20_000_000, CHECKPOINTS: 5_000_000}
"""Bytes of each file."""
MOST_RECORDS = 2000
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
"""Of a submission: its folder, and its page on the site."""
_RECORD = re.compile(r"[0-9a-f]{12}\.json")

NO_ROWS = StoreRows([], [], [], [])


@dataclass(frozen=True)
class Submission:
    """What one person sends, as read; not yet checked."""

    name: str
    folder: Path
    about: About
    rows: StoreRows
    checkpoints: dict[str, Checkpoint]
    """By result id."""
    records: tuple[Record, ...]

    @cached_property
    def cells(self) -> dict[str, Cell]:
        return {cell.key: cell for cell in self.rows.cells}

    @cached_property
    def results(self) -> dict[str, Result]:
        return {row.id: row for row in self.rows.results}

    @cached_property
    def trials(self) -> dict[str, list[Trial]]:
        """By cell."""
        found: dict[str, list[Trial]] = {}
        for trial in self.rows.trials:
            found.setdefault(trial.cell, []).append(trial)
        return found

    def label(self, result: Result) -> str:
        """A result as a message names it."""
        cell = self.cells[result.cell]
        task = cell.identity["task"]["name"]
        return f"{cell.labels['variant']} on {task}, seed {result.seed} ({result.id})"


def is_submission(folder: Path) -> bool:
    return (folder / ABOUT).is_file()


def within(folder: Path) -> list[Path]:
    """The submissions of a folder: itself, or those in it, by name. Raises `BadInput` where there
    are none."""
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}.")
    found = accepted(folder)
    if not found:
        raise BadInput(f"{folder} holds no submission: a folder with a {ABOUT}.")
    return found


def accepted(board: Path) -> list[Path]:
    """As `within`; none of a board that is still empty."""
    if is_submission(board):
        return [board]
    return sorted(one for one in board.iterdir() if one.is_dir() and one.name[0] != ".")


def files(folder: Path) -> list[str]:
    """The names of a submission's files, except `submission.toml`, as its `files` has them."""
    found = [name for name in (ROWS, CHECKPOINTS) if (folder / name).exists()]
    records = sorted((folder / RECORDS).glob("*")) if (folder / RECORDS).is_dir() else []
    return [*found, *(f"{RECORDS}/{file.name}" for file in records)]


def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def strangers(folder: Path) -> Iterator[str]:
    """What is wrong with a folder before anything in it is read: names, links, sizes."""
    if not NAME.fullmatch(folder.name):
        yield f"a submission's name is of a-z, 0-9, '.', '_' and '-': {visible(folder.name)}"
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            yield f"{visible(name)} is a link or a device: send files alone"
        elif path.is_dir():
            if name != RECORDS:
                yield f"{visible(name)}: a submission has no such folder"
        elif name not in LARGEST and not (path.parent.name == RECORDS and _is_record(path)):
            yield f"{visible(name)}: a submission has no such file"


def oversize(folder: Path) -> Iterator[str]:
    """Files that are larger than they may be, or too many of them."""
    for name, largest in LARGEST.items():
        file = folder / name
        size = file.stat().st_size if file.is_file() else 0
        if size > largest:
            yield f"{name} has {size:,} bytes, and may have {largest:,}: split the submission"
    records = list((folder / RECORDS).glob("*"))
    if len(records) > MOST_RECORDS:
        yield f"{len(records):,} records, and at most {MOST_RECORDS:,} may be sent at once"
    for file in records:
        if file.stat().st_size > reproduced.LARGEST:
            yield f"{RECORDS}/{file.name} has more than {reproduced.LARGEST:,} bytes"


def _is_record(path: Path) -> bool:
    return _RECORD.fullmatch(path.name) is not None


def read(folder: Path) -> Submission:
    """Reads a folder in which nothing is strange or oversize. Raises `BadInput`."""
    if not is_submission(folder):
        raise BadInput(f"{folder} has no {ABOUT}.")
    rows, hashes = folder / ROWS, folder / CHECKPOINTS
    records = sorted((folder / RECORDS).glob("*.json"))
    if not rows.is_file() and not records:
        raise BadInput(f"{folder} has neither {ROWS} nor a record in {RECORDS}/.")
    return Submission(
        folder.name,
        folder,
        about.read(folder / ABOUT),
        exchange.read(rows) if rows.is_file() else NO_ROWS,
        checkpoints.read(hashes) if hashes.is_file() else {},
        tuple(reproduced.read(file) for file in records),
    )
