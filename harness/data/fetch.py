"""`harness data fetch`: downloads a task's original files from their owners, where these have plain
URLs. Never runs by itself."""

import json
from pathlib import Path

from pydantic import ValidationError

from harness.data.download import Progress, download
from harness.data.unpack import is_packed, unpack
from harness.errors import BadInput
from harness.io.atomic import making, replacing
from harness.tasks.cards import Archive, TaskCard


def fetch(card: TaskCard, root: Path, progress: Progress) -> list[str]:
    """Downloads and extracts what is missing; returns the names of the downloaded archives. Raises
    `BadInput`.

    What was extracted is recorded in `<folder>/.fetched/NAME.json`, and the archive itself is
    deleted.
    """
    if not card.archives:
        howto = f" To get it: {card.howto.rstrip('.')}." if card.howto else ""
        raise BadInput(
            f"task {card.name} can't be fetched:"
            f" {card.by_hand or 'its card has no archives.'}{howto}"
        )
    fetched = []
    for archive in card.archives:
        folder = root / (archive.folder or card.name)
        path, mark = folder / archive.name, folder / ".fetched" / f"{archive.name}.json"
        with making(mark):
            if not _is_noted(mark, archive):
                download(archive, path, progress)
                if is_packed(path):
                    progress(f"extracting {archive.name}", 0, None)
                    unpack(path, folder)
                with replacing(mark) as file:
                    file.write(archive.model_dump_json(exclude_none=True).encode())
                fetched.append(archive.name)
            if is_packed(path):
                path.unlink(missing_ok=True)
    return fetched


def _is_noted(mark: Path, archive: Archive) -> bool:
    try:
        return Archive(**json.loads(mark.read_bytes())).url == archive.url
    except (OSError, ValueError, TypeError, RecursionError, ValidationError):
        return False
