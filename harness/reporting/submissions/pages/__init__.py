"""The static site of a board: a page for each suite and backbone, method, task and submission, and
the history of changes. Needs no server, no network and no script: the one it has sorts and
filters."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput
from harness.reporting.submissions.check import Checked
from harness.reporting.submissions.pages import boards, changes, methods, senders, tasks
from harness.reporting.submissions.pages.board import board_of
from harness.reporting.submissions.pages.render import Page, rendered

MARKER = "built-by-vpt-harness"
"""A file in a built site: a folder without it is somebody's work, and isn't replaced."""


@dataclass(frozen=True)
class Built:
    """What was written."""

    to: Path
    pages: int
    files: int
    bytes: int


def build(outcomes: list[Checked], to: Path) -> Built:
    """Writes the site of submissions that were checked, in place of an earlier one. Raises
    `BadInput` if one has a fault, or the folder holds anything else."""
    bad = [line for outcome in outcomes if outcome.faults for line in outcome.lines]
    if bad:
        raise BadInput("\n".join(bad))
    if to.exists() and not ((to / MARKER).is_file() or (to.is_dir() and not any(to.iterdir()))):
        raise BadInput(f"{to} holds something else than a site of this: name another folder.")
    board = board_of(outcomes)
    history = changes.entries(board)
    pages: list[Page] = [
        boards.index(board, history),
        changes.page(history),
        *boards.pages(board),
        *methods.pages(board),
        *tasks.pages(board),
        *senders.pages(board),
    ]
    files = {page.path: rendered(page, board) for page in pages} | boards.tables(board)
    part = to.with_name(f".{to.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / MARKER).write_text("", encoding="ascii")
        for name, text in files.items():
            (part / name).parent.mkdir(exist_ok=True)
            # a lone surrogate, from a file's name, can't be written
            (part / name).write_bytes(text.encode(errors="replace"))
        shutil.rmtree(to, ignore_errors=True)
        part.rename(to)
    except OSError as error:
        raise BadInput(f"can't write {to} ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Built(to, len(pages), len(files), sum(len(text.encode()) for text in files.values()))
