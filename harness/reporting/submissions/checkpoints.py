"""The hashes of checkpoints, which stay with whoever made them: `checkpoints.csv`. The hash of the
logits that a checkpoint names was written when the row was made, by the worker that scored it; so a
row whose hash was changed afterwards no longer agrees with it."""

import csv
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput

COLUMNS = ("id", "bytes", "sha256", "logits_sha256")
_FORMS = (r"[0-9a-f]{12}", r"[0-9]{1,15}", r"[0-9a-f]{64}", r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Checkpoint:
    """What is said of a final run's checkpoint."""

    bytes: int
    sha256: str
    """Of the file."""
    logits_sha256: str
    """Of the scored logits, by the file's own metadata."""


def of_file(file: Path) -> Checkpoint:
    """Reads the file's metadata, no tensor. Raises `BadInput`."""
    import json

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "np") as opened:
            metadata = opened.metadata() or {}
        logits = json.loads(metadata["origin"])["logits_sha256"]
        with file.open("rb") as raw:
            digest = hashlib.file_digest(raw, "sha256").hexdigest()
        return Checkpoint(file.stat().st_size, digest, str(logits))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{file} can't be read as a checkpoint: {str(error)[:100]}.") from error


def write(file: Path, checkpoints: Mapping[str, Checkpoint]) -> None:
    """By the results' ids."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened, lineterminator="\n")
        table.writerow(COLUMNS)
        for id, one in sorted(checkpoints.items()):
            table.writerow((id, one.bytes, one.sha256, one.logits_sha256))


def read(file: Path) -> dict[str, Checkpoint]:
    """By the results' ids. Raises `BadInput` with the line of a fault."""
    try:
        first, *lines = file.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} can't be read, or is empty.") from error
    found: dict[str, Checkpoint] = {}
    if first != ",".join(COLUMNS):
        raise BadInput(f"{file}, line 1: write {','.join(COLUMNS)}.")
    for number, line in enumerate(lines, start=2):
        values = line.split(",")
        good = len(values) == len(COLUMNS) and all(map(re.fullmatch, _FORMS, values))
        if not good or values[0] in found:
            raise BadInput(f"{file}, line {number}: not one more checkpoint: {line[:60]!r}.")
        found[values[0]] = Checkpoint(int(values[1]), values[2], values[3])
    return found
