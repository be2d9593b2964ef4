"""`harness data export`: a task as the VTAB-1k folder that many projects' code reads, so that they
get exact splits too."""

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
"""Pillow's default, which the common copies have too."""


def export(
    card: TaskCard,
    root: Path,
    to: Path,
    form: Literal["png", "jpeg"],
    progress: Callable[[int, int], None],
) -> tuple[Path, bool]:
    """Writes `<to>/<folder of the card>`: the folder, and whether it is new. Raises `BadInput`.

    Images are `images/train800/000000.png` and so on, in the split's order. `keys/train800.txt`
    keeps their keys; other projects don't look at it. The folder appears when all is written.
    """
    like = next(
        (reader for reader in (card.reader, *card.sources) if reader.format == "vtab-folder"), None
    )
    if like is None:
        raise BadInput(
            f"task {card.name}: not a VTAB-1k task, and the VTAB-1k folder has lists for"
            " VTAB-1k's splits only."
        )
    folder = to / like.argument("folder", card.name, str)
    part = folder.with_name(f"{folder.name}.part")
    if folder.exists():
        return folder, False
    found = resolve(card, root)
    reader = open_reader(found, root)
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
                    found,
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
    """Whole or not at all."""
    with replacing(path, sync=False) as file:  # of many thousands
        image.save(file, form, **({"quality": QUALITY} if form == "jpeg" else {}))


def _text(path: Path, lines: list[str]) -> None:
    if any("\n" in line or "\r" in line for line in lines):
        raise BadInput(f"{path}: a key has a line break in it, and can't be listed.")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
