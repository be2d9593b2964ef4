"""DMLab as VTAB published it: TFRecord shards of tf.Example with `image` (encoded), `filename` (the key) and `label`."""

import io
import json
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

from PIL import Image

from harness.cards import SplitName, TaskCard
from harness.data.atomic import making, replacing
from harness.data.readers import tfrecord
from harness.data.readers.files import stamp
from harness.data.readers.record import Record
from harness.data.splits import parse, select
from harness.errors import BadInput
from harness.resources import cache_dir

ARGUMENTS = ()
Row = tuple[str, int, int, int, int]
"""Key, label, shard, offset, length."""


def present(card: TaskCard, root: Path | None) -> bool:
    return bool(_shards(card, root, "train"))


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[str]:
    """The records' `filename`."""
    return [key for key, *_ in _rows(card, root, source)]


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    source, _, _ = parse(card.slices[split])
    shards, rows = _shards(card, root, source), {row[0]: row for row in _rows(card, root, source)}
    found = []
    for key in select(card, split, partial(keys, card, root)):
        _, label, shard, offset, length = rows[key]
        place = (card.name, shards[shard], offset, length)
        found.append(Record(key, label, partial(_raw, *place), partial(_image, *place), partial(stamp, shards[shard])))
    return found


def check(card: TaskCard, root: Path | None) -> None:
    """Nothing beyond what each split shows."""


def _shards(card: TaskCard, root: Path | None, source: str) -> list[Path]:
    """`dmlab-train.tfrecord-00000-of-00010` and the like, below `<root>/dmlab` or `<root>`."""
    for folder in (root / card.name, root) if root is not None else ():
        found = sorted(path for path in folder.glob(f"**/*{source}*tfrecord*") if path.is_file()) if folder.is_dir() else []
        if found:
            return found
    return []


def _rows(card: TaskCard, root: Path | None, source: str) -> list[Row]:
    shards = _shards(card, root, source)
    if not shards:
        raise BadInput(f"task {card.name}: no TFRecord files of {source} under {root}. To get them: {card.howto.rstrip('.')}.")
    return _indexed(card.name, source, tuple(shards), "".join(stamp(path) for path in shards))


@lru_cache(maxsize=4)
def _indexed(task: str, source: str, shards: tuple[Path, ...], changed: str) -> list[Row]:
    """Every record is read and checked once; where it lies is remembered."""
    import hashlib

    name = hashlib.sha256(f"{shards}{changed}".encode()).hexdigest()[:24]
    memo = cache_dir() / "tfrecords" / f"{task}-{source}-{name}.json"
    with making(memo):
        if memo.is_file():
            return [tuple(row) for row in json.loads(memo.read_bytes())]
        rows: list[Row] = []
        for number, path in enumerate(shards):
            try:
                for offset, length in tfrecord.index(path):
                    features = tfrecord.example(tfrecord.read(path, offset, length))
                    key, label = features["filename"][0], features["label"][0]
                    rows.append((key.decode() if isinstance(key, bytes) else str(key), int(label), number, offset, length))
            except (tfrecord.Damaged, OSError) as error:
                raise BadInput(f"task {task}: {path}: {error}. Get it again.") from error
            except (KeyError, IndexError) as error:
                raise BadInput(f"task {task}: {path} has a record without filename or label. Get it again.") from error
        with replacing(memo) as file:
            file.write(json.dumps(rows).encode())
    return rows


def _raw(task: str, path: Path, offset: int, length: int) -> bytes:
    """The encoded image."""
    try:
        return tfrecord.example(tfrecord.read(path, offset, length))["image"][0]  # type: ignore[return-value]
    except (tfrecord.Damaged, KeyError, IndexError) as error:
        raise BadInput(f"task {task}: {path}: {error}. Get it again.") from error


def _image(task: str, path: Path, offset: int, length: int) -> Image.Image:
    with Image.open(io.BytesIO(_raw(task, path, offset, length))) as image:
        return image.convert("RGB")
