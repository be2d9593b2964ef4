"""Records of TFRecord shards of tf.Example: each is read and checked once, and its location is
cached."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from harness.data.images import rgb
from harness.data.readers import tfrecord
from harness.data.readers.files import stamp
from harness.data.readers.record import Record
from harness.data.readers.tfrecord import Values
from harness.errors import BadInput
from harness.io.atomic import making, replacing
from harness.io.resources import cache_dir

Describe = Callable[[dict[str, Values], int], tuple[str, int]]
"""Takes an Example's features and its position in the split; returns key and label. Raises
`KeyError` or `IndexError` for one without them. Its `repr` identifies it: its results are cached
under that."""


class Shards(NamedTuple):
    """A split's files, in order."""

    task: str
    paths: tuple[Path, ...]
    lengths: tuple[int, ...] | None = None
    """How many records each has, if known: then only the shards that a slice touches are read."""


class IndexedRecord(NamedTuple):
    key: str
    label: int
    shard: int
    offset: int
    length: int


def rows(
    shards: Shards, describe: Describe, start: int = 0, stop: int | None = None
) -> list[IndexedRecord]:
    """The records from `start` to before `stop`. Raises `BadInput`."""
    for path in shards.paths:
        if not path.is_file():
            raise BadInput(f"task {shards.task}: no file {path}. Get a complete copy.")
    return _rows(shards, describe, start, stop, "".join(stamp(path) for path in shards.paths))


@lru_cache(maxsize=8)
def _rows(
    shards: Shards, describe: Describe, start: int, stop: int | None, changed: str
) -> list[IndexedRecord]:
    name = hashlib.sha256(
        f"{shards.paths}{changed}{describe!r}{start}:{stop}".encode()
    ).hexdigest()[:24]
    memo = cache_dir() / "tfrecords" / f"{shards.task}-{name}.json"
    with making(memo):
        if memo.is_file():
            return [IndexedRecord(*row) for row in json.loads(memo.read_bytes())]
        selected = _read(shards, describe, start, stop)
        with replacing(memo) as file:
            file.write(json.dumps(selected).encode())
    return selected


def _read(shards: Shards, describe: Describe, start: int, stop: int | None) -> list[IndexedRecord]:
    selected: list[IndexedRecord] = []
    place = 0
    for number, path in enumerate(shards.paths):
        if shards.lengths is not None:
            length = shards.lengths[number]
            if place + length <= start or (stop is not None and place >= stop):
                place += length
                continue
        try:
            index = tfrecord.index(path)
            if shards.lengths is not None and len(index) != shards.lengths[number]:
                raise BadInput(
                    f"task {shards.task}: {path} has {len(index)} records, expected"
                    f" {shards.lengths[number]}. Download it again."
                )
            for offset, length in index:
                if start <= place and (stop is None or place < stop):
                    key, label = describe(
                        tfrecord.example(tfrecord.read(path, offset, length)), place
                    )
                    selected.append(IndexedRecord(key, label, number, offset, length))
                place += 1
        except (tfrecord.Damaged, OSError) as error:
            raise BadInput(f"task {shards.task}: {path}: {error}. Download it again.") from error
        except (KeyError, IndexError, ValueError) as error:
            raise BadInput(
                f"task {shards.task}: {path} has a record that lacks the fields for its key or"
                f" label ({error}). Download it again."
            ) from error
    return selected


def text(value: bytes | float) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def records(shards: Shards, chosen: Sequence[IndexedRecord], scale: int = 1) -> list[Record]:
    """Records with the Example's encoded `image`; pixels are multiplied by `scale`."""
    result = []
    for row in chosen:
        path = shards.paths[row.shard]
        of = (shards.task, path, row.offset, row.length)
        result.append(
            Record(
                row.key,
                row.label,
                partial(_raw, *of),
                partial(_image, *of, scale),
                partial(stamp, path),
                file=f"{path} at byte {row.offset}",
            )
        )
    return result


def _raw(task: str, path: Path, offset: int, length: int) -> bytes:
    """The encoded image."""
    try:
        return tfrecord.example(tfrecord.read(path, offset, length))["image"][0]  # type: ignore[return-value]
    except (tfrecord.Damaged, KeyError, IndexError) as error:
        raise BadInput(f"task {task}: {path}: {error}. Download it again.") from error


def _image(task: str, path: Path, offset: int, length: int, scale: int) -> Image.Image:
    decoded = rgb(io.BytesIO(_raw(task, path, offset, length)), "dropped")  # as TensorFlow decodes
    return decoded if scale == 1 else Image.fromarray(np.asarray(decoded) * np.uint8(scale))
