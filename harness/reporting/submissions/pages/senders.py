"""The page of a submission: who sent it, how its rows were made, and what its check has noted."""

from collections.abc import Iterator
from typing import Any

from harness.reporting.submissions.folder import Submission
from harness.reporting.submissions.pages.board import Board
from harness.reporting.submissions.pages.render import Page


def pages(board: Board) -> Iterator[Page]:
    for one in board.submissions:
        yield Page(
            f"submissions/{one.name}.html", "submission.html", one.name, {"one": _facts(one, board)}
        )


def _facts(one: Submission, board: Board) -> dict[str, Any]:
    about = one.about
    return {
        "name": one.name,
        "who": about.who,
        "contact": about.contact,
        "link": about.contact if about.contact.startswith(("https://", "http://")) else None,
        "when": about.when,
        "hardware": about.hardware,
        "command": about.command,
        "harness": about.harness,
        "note": about.note,
        "files": about.files,
        "notes": [str(note) for note in board.notes[one.name]],
        "hashes": len(one.checkpoints),
        "trials": len(one.rows.trials),
        "boards": [
            {
                "slug": part.slug,
                "title": part.title,
                "protocol": part.protocol,
                "results": len(shown),
                "reproduced": sum(bool(board.marks[id].by) for id in shown),
            }
            for part in board.parts
            if (shown := [id for id in part.ids if board.senders[id][0] == one.name])
        ],
        "again": sum(board.senders[id][0] != one.name for id in one.results),
        "records": [_record(one, record, board) for record in one.records],
    }


def _record(one: Submission, record: Any, board: Board) -> dict[str, Any]:
    run = board.runs.get(record.id)
    counts = run is not None and one.name in board.marks[record.id].by
    return {
        "id": record.id,
        "what": f"{run.cell.variant} on {run.cell.task}, seed {run.seed}"
        if run
        else "not here yet",
        "score": record.score,
        "again": record.again_score,
        "equal": record.equal,
        "device": record.again_device,
        "day": record.created[:10],
        "counts": counts,
        "of": board.senders[record.id][0] if run else None,
    }
