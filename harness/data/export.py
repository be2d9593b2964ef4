"""`harness data export`: writes a task as a VTAB-1k folder, which many projects' code reads, so
that they can use the exact splits too."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from PIL import Image

from harness.data.decode import decoded
from harness.data.fingerprint import signature
from harness.data.readers import open_reader, resolve
from harness.data.readers.vtab_folder import LISTS, UNION
from harness.errors import BadInput
from harness.io.atomic import begin, making, replacing, unwritable
from harness.tasks.cards import SPLITS, TaskCard

QUALITY = 75
"""Pillow's default, which the common copies use too."""


def export(
    card: TaskCard,
    root: Path,
    to: Path,
    form: Literal["png", "jpeg"],
    progress: Callable[[int, int], None],
) -> tuple[Path, bool]:
    """Writes `<to>/<folder of the card>`. Returns the folder, and whether it is new. Raises
    `BadInput`.

    Images are `images/train800/000000.png` and so on, in the split's order. `keys/train800.txt`
    keeps their keys; other projects ignore it. The folder appears once everything is written.
    """
    folder_reader = next(
        (reader for reader in (card.reader, *card.sources) if reader.format == "vtab-folder"), None
    )
    if folder_reader is None:
        raise BadInput(
            f"task {card.name} isn't a VTAB-1k task: only these can be exported as VTAB-1k folders."
        )
    folder = to / folder_reader.argument("folder", card.name, str)
    part = folder.with_name(f"{folder.name}.part")
    if folder.exists():
        return folder, False
    resolved = resolve(card, root)
    reader = open_reader(resolved, root)
    reader.check_all()
    with making(folder):
        if folder.exists():
            return folder, False
        splits = {split: reader.read(split) for split in SPLITS if split in card.sizes}
        total, done = sum(len(rows) for rows in splits.values()), 0
        lists: dict[str, list[str]] = {UNION: []}
        try:
            begin(
                part,
                form
                + signature(
                    resolved,
                    root,
                    [(split, record) for split, rows in splits.items() for record in rows],
                ),
            )
            for split, rows in splits.items():
                listed, images = LISTS[split], part / "images" / LISTS[split]
                images.mkdir(parents=True, exist_ok=True)
                paths = [
                    images / f"{number:06}.{'jpg' if form == 'jpeg' else 'png'}"
                    for number in range(len(rows))
                ]
                missing = [number for number, path in enumerate(paths) if not path.exists()]
                done += len(rows) - len(missing)
                for number, image in zip(
                    missing,
                    decoded(card.name, [rows[number] for number in missing], _rgb),
                    strict=True,
                ):
                    _save(image, paths[number], form)
                    progress(done := done + 1, total)
                lines = [
                    f"images/{listed}/{path.name} {record.label}"
                    for path, record in zip(paths, rows, strict=True)
                ]
                lists[listed] = lines
                lists[UNION] += lines if split != "test" else []
                (part / "keys").mkdir(exist_ok=True)
                _text(part / "keys" / f"{listed}.txt", [record.key for record in rows])
            for listed, lines in lists.items():
                _text(part / f"{listed}.txt", lines)
            (part / "origin").unlink()
            part.rename(folder)
        except OSError as error:
            raise unwritable(part, error) from error
    return folder, True


def _rgb(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _save(image: Image.Image, path: Path, form: Literal["png", "jpeg"]) -> None:
    """Atomically."""
    with replacing(path, sync=False) as file:  # one of many thousands
        image.save(file, form, **({"quality": QUALITY} if form == "jpeg" else {}))


def _text(path: Path, lines: list[str]) -> None:
    if any("\n" in line or "\r" in line for line in lines):
        raise BadInput(f"{path}: a key contains a line break, so it can't be listed.")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
