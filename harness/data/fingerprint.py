"""What a task's data are, as one hash: part of every score's key."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cards import TaskCard
from harness.data.atomic import making, replacing
from harness.data.decode import masks
from harness.data.readers import records
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.resources import cache_dir


def fingerprint(card: TaskCard, root: Path | None) -> str:
    """sha256 over the key, label and stored bytes of every record of every split, test included; masks with their images.

    All bytes are read once, and masks decoded once, so that a wrong one is said before anything runs; after that, only the files' sizes
    and times are looked at. Raises `BadInput`.
    """
    rows = [(split, record) for split in sorted(card.sizes) for record in records(card, root, split)]
    try:
        memo = cache_dir() / "fingerprints" / signature(card, root, rows)
        if known := _recall(memo):
            return known
        with making(memo):
            if known := _recall(memo):
                return known
            for _ in masks(card.name, [record for _, record in rows if record.mask]):
                """Each is looked at, and dropped."""
            found = _digest([split, record.key, record.label, record.sha256()] for split, record in rows)
            with replacing(memo) as file:
                file.write(found.encode())
        return found
    except OSError as error:
        raise BadInput(f"task {card.name}: can't read {error.filename} ({error.strerror}).") from error


def forget(card: TaskCard, root: Path | None) -> str | None:
    """Drops what was remembered of these data, so that all bytes are read again; gives it back. None where nothing was."""
    rows = [(split, record) for split in sorted(card.sizes) for record in records(card, root, split)]
    memo = cache_dir() / "fingerprints" / signature(card, root, rows)
    known = _recall(memo)
    memo.unlink(missing_ok=True)
    return known


def signature(card: TaskCard, root: Path | None, rows: Sequence[tuple[str, Record]]) -> str:
    """Of every record's key, label and file time; as long as it stays, the data needn't be read again. Raises `BadInput`."""

    def lines() -> Iterator[list]:
        yield [card.digest(), str(card.path), str(root and root.absolute())]
        yield from ([split, record.key, record.label, record.stamp()] for split, record in rows)

    return _digest(lines())


def _digest(lines: Iterator[list]) -> str:
    total = hashlib.sha256()
    for line in lines:
        total.update(json.dumps(line).encode() + b"\n")
    return total.hexdigest()


def _recall(memo: Path) -> str | None:
    try:
        text = memo.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None
