"""Records of TFRecord shards of tf.Example: every one is read and checked once, and where it lies
is remembered in the cache."""

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
"""Takes an Example's features and its place in the split; gives key and label. Raises `KeyError` or
`IndexError` for one without them. Its `repr` says all that it does: what it gave is remembered
under that."""


class Shards(NamedTuple):
    """A split's files, in order."""

    task: str
    paths: tuple[Path, ...]
    lengths: tuple[int, ...] | None = None
    """How many records each has, where that is known: then only the shards that a slice touches are
    read."""


class Row(NamedTuple):
    key: str
    label: int
    shard: int
    offset: int
    length: int


def rows(shards: Shards, describe: Describe, start: int = 0, stop: int | None = None) -> list[Row]:
    """The records from `start` to before `stop`. Raises `BadInput`."""
    for path in shards.paths:
        if not path.is_file():
            raise BadInput(f"task {shards.task}: no file {path}. Get a whole copy.")
    return _rows(shards, describe, start, stop, "".join(stamp(path) for path in shards.paths))


@lru_cache(maxsize=8)
def _rows(
    shards: Shards, describe: Describe, start: int, stop: int | None, changed: str
) -> list[Row]:
    name = hashlib.sha256(
        f"{shards.paths}{changed}{describe!r}{start}:{stop}".encode()
    ).hexdigest()[:24]
    memo = cache_dir() / "tfrecords" / f"{shards.task}-{name}.json"
    with making(memo):
        if memo.is_file():
            return [Row(*row) for row in json.loads(memo.read_bytes())]
        found = _read(shards, describe, start, stop)
        with replacing(memo) as file:
            file.write(json.dumps(found).encode())
    return found


def _read(shards: Shards, describe: Describe, start: int, stop: int | None) -> list[Row]:
    found: list[Row] = []
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
                    f" {shards.lengths[number]}. Get it again."
                )
            for offset, length in index:
                if start <= place and (stop is None or place < stop):
                    key, label = describe(
                        tfrecord.example(tfrecord.read(path, offset, length)), place
                    )
                    found.append(Row(key, label, number, offset, length))
                place += 1
        except (tfrecord.Damaged, OSError) as error:
            raise BadInput(f"task {shards.task}: {path}: {error}. Get it again.") from error
        except (KeyError, IndexError, ValueError) as error:
            raise BadInput(
                f"task {shards.task}: {path} has a record without what its key or label needs"
                f" ({error}). Get it again."
            ) from error
    return found


def text(value: bytes | float) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def records(shards: Shards, chosen: Sequence[Row], scale: int = 1) -> list[Record]:
    """Records whose `image` is the Example's, as it was encoded; its pixels are multiplied by
    `scale`."""
    found = []
    for row in chosen:
        path = shards.paths[row.shard]
        of = (shards.task, path, row.offset, row.length)
        found.append(
            Record(
                row.key,
                row.label,
                partial(_raw, *of),
                partial(_image, *of, scale),
                partial(stamp, path),
                file=f"{path} at byte {row.offset}",
            )
        )
    return found


def _raw(task: str, path: Path, offset: int, length: int) -> bytes:
    """The encoded image."""
    try:
        return tfrecord.example(tfrecord.read(path, offset, length))["image"][0]  # type: ignore[return-value]
    except (tfrecord.Damaged, KeyError, IndexError) as error:
        raise BadInput(f"task {task}: {path}: {error}. Get it again.") from error


def _image(task: str, path: Path, offset: int, length: int, scale: int) -> Image.Image:
    decoded = rgb(io.BytesIO(_raw(task, path, offset, length)), "dropped")  # as TensorFlow decodes
    return decoded if scale == 1 else Image.fromarray(np.asarray(decoded) * np.uint8(scale))
