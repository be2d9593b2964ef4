"""Makes a submission from a store: its results with their cells and searches, without paths of the
machine, and the hashes of its checkpoints."""

import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.reporting.submissions import checkpoints, folder
from harness.reporting.submissions.about import About, text_of
from harness.reporting.submissions.check import Checked, check_all
from harness.store import Store
from harness.store.records import Cell, Result, Trial
from harness.store.transfer import exchange, reproduced
from harness.store.transfer.exchange import StoreRows
from harness.text import plain

_FOLDERS = re.compile(r"(?<![\w.:/~-])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\:=,'\"]+[/\\])+")
"""The folders of an absolute path, where it begins: not within a URL or a relative path."""
PRIVATE = ("traceback", "platform")
"""Of a row's provenance: no number depends on the build of a kernel."""
PICTURES = "strip"
"""In a segmentation result's extras: images, which would make a submission large."""


def make(
    store: Store,
    to: Path,
    *,
    who: str,
    contact: str,
    hardware: str | None = None,
    command: str | None = None,
    note: str = "",
    cells: Collection[str] | None = None,
    records: Sequence[Path] = (),
    board: Path | None = None,
) -> Checked:
    """Writes the folder `to`, replacing a submission that was there, if its check finds no fault.

    `hardware`, `command`: None for what the rows say. `cells`: keys of those to send; None: all.
    `records`: files of `harness reproduce --record`. `board`: submissions that are known. Raises
    `BadInput`, with the faults, if there is any; then nothing is written.
    """
    if to.exists() and not folder.is_submission(to):
        raise BadInput(f"{to} exists, and isn't a submission: name another folder.")
    rows = _sendable(exchange.of_store(store, cells))
    if not rows.results and not records:
        raise BadInput(f"{store.name} holds no results of these, and no --record is given.")
    part = to.with_name(f".{to.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        # under the final name, which messages have and which is checked too
        inside = part / to.name
        inside.mkdir(parents=True)
        _write(inside, store, rows, records)
        about = {
            "who": who,
            "contact": contact,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "hardware": hardware or _hardware(rows.results) or "unknown",
            "command": command or _command(rows) or "harness reproduce",
            "harness": version("vpt-harness"),
            "note": note,
            "files": {name: folder.digest(inside / name) for name in folder.files(inside)},
        }
        text = text_of(About.model_construct(**about))
        (inside / folder.ABOUT).write_text(text, encoding="utf-8")
        (outcome,) = check_all(inside, board)
        if outcome.faults:
            raise BadInput("\n".join(map(str, (f"{to}: {fault}" for fault in outcome.faults))))
        if to.exists():
            shutil.rmtree(to)
        inside.rename(to)
    except OSError as error:
        raise BadInput(f"can't write {to} ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return outcome


def _write(inside: Path, store: Store, rows: StoreRows, records: Sequence[Path]) -> None:
    if rows.results:
        exchange.write(rows, inside / folder.ROWS)
        files = {row.id: store.checkpoints / f"{row.id}.safetensors" for row in rows.results}
        hashes = {id: checkpoints.of_file(file) for id, file in files.items() if file.is_file()}
        if hashes:
            checkpoints.write(inside / folder.CHECKPOINTS, hashes)
    for file in records:
        record = reproduced.read(file)
        (inside / folder.RECORDS).mkdir(exist_ok=True)
        reproduced.write(record, inside / folder.RECORDS / f"{record.id}.json")


def _sendable(rows: StoreRows) -> StoreRows:
    """Results, their cells and searches; failures, which hold tracebacks, stay."""
    keys = {row.cell for row in rows.results}
    return StoreRows(
        [
            replace(cell, labels=_without_paths(cell.labels))
            for cell in rows.cells
            if cell.key in keys
        ],
        [_trial(row) for row in rows.trials if row.cell in keys],
        [_result(row) for row in rows.results],
        [],
    )


def _result(row: Result) -> Result:
    extras = {name: value for name, value in row.extras.items() if name != PICTURES}
    return replace(row, provenance=_public(row.provenance), extras=_without_paths(extras))


def _trial(row: Trial) -> Trial:
    """Without its traceback, and without the curves of its steps, which are most of a store."""
    reason = row.reason and _without_paths(row.reason.partition("\nTraceback")[0])
    return replace(row, reason=reason, provenance=_public(row.provenance), curves={})


def _public(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What a number may depend on."""
    kept = {name: value for name, value in provenance.items() if name not in PRIVATE}
    return _without_paths(kept)


def _without_paths(value: Any) -> Any:
    """Every absolute path in a value of JSON cut to its last name."""
    if isinstance(value, str):
        return _FOLDERS.sub("", value)
    if isinstance(value, list):
        return [_without_paths(one) for one in value]
    if isinstance(value, dict):
        return {_without_paths(name): _without_paths(one) for name, one in value.items()}
    return value


def _hardware(results: Sequence[Result]) -> str:
    """`AMD EPYC, 2 cores; NVIDIA H100`."""
    found = dict.fromkeys(_machine(row.provenance) for row in results)
    return "; ".join(filter(None, found))[:300]


def _machine(provenance: Mapping[str, Any]) -> str:
    device = str(provenance.get("device") or "")
    if device != "cpu":
        return plain(device)
    cores = provenance.get("cores")
    name = str(provenance.get("processor") or "a CPU")
    return plain(f"{name}, {cores} cores" if cores else name)


def _command(rows: StoreRows) -> str:
    """What would make these rows, as far as they say: variants, tasks, backbone and protocol."""
    if not rows.cells:
        return ""

    def names(of: list[str]) -> str:
        return ",".join(dict.fromkeys(of))

    suites = names([cell.labels["suite"] for cell in rows.cells])
    words = ["harness run --methods", _quoted(names([one.labels["variant"] for one in rows.cells]))]
    words += ["--suite", suites] if "," not in suites else ["--tasks", names(_tasks(rows.cells))]
    for flag, values in (
        ("--backbone", names([cell.identity["backbone"]["name"] for cell in rows.cells])),
        ("--protocol", names([cell.labels["protocol"] for cell in rows.cells])),
        ("--seeds", names([str(seed) for seed in sorted({row.seed for row in rows.results})])),
    ):
        words += [flag, _quoted(values)]
    return plain(" ".join(words))[:4000]


def _tasks(cells: Sequence[Cell]) -> list[str]:
    return [cell.identity["task"]["name"] for cell in cells]


def _quoted(text: str) -> str:
    return f"'{text}'" if "(" in text else text
