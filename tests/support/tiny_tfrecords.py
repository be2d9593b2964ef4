"""TFRecord shards, written bit by bit and so independently of what reads them: DMLab's own, and
TensorFlow Datasets' directories."""

import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.splits import parse
from harness.tasks.cards import Reader, TaskCard, load_cards


def slow_crc(data: bytes) -> int:
    """Bit by bit, by the reversed polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def mask(crc: int) -> bytes:
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32)


def framed(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + mask(slow_crc(head)) + data + mask(slow_crc(data))


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(values: list, packed: bool = True) -> bytes:
    if not values:
        return field(2, b"")
    if isinstance(values[0], bytes):
        return field(1, b"".join(field(1, value) for value in values))
    if isinstance(values[0], float):
        parts = [struct.pack("<f", value) for value in values]
        return field(
            2,
            (
                field(1, b"".join(parts))
                if packed
                else b"".join(varint(1 << 3 | 5) + part for part in parts)
            ),
        )
    numbers = [varint(value) for value in values]
    return field(
        3,
        (
            field(1, b"".join(numbers))
            if packed
            else b"".join(varint(1 << 3) + number for number in numbers)
        ),
    )


def example(features: dict[str, list], packed: bool = True) -> bytes:
    return field(
        1,
        b"".join(
            field(1, field(1, name.encode()) + field(2, feature(of, packed)))
            for name, of in features.items()
        ),
    )


def encoded(row: int, shape: tuple[int, ...] = (6, 8, 3)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full(shape, row, np.uint8)).save(file, "PNG")
    return file.getvalue()


def write_dmlab(root: Path, **missing: str) -> None:
    folder = root / "dmlab" / "tfrecords"
    folder.mkdir(parents=True)
    for part, n in (("train", 20), ("validation", 9), ("test", 6)):
        for shard in range(2):
            rows = range(shard, n, 2)
            features = [
                {
                    "filename": [f"{part}_{row}.png".encode()],
                    "image": [encoded(row)],
                    "label": [row % 6],
                }
                for row in rows
            ]
            for of_row in features:
                of_row.pop(missing.get(part, ""), None)
            content = b"".join(framed(example(of_row)) for of_row in features)
            (folder / f"dmlab-{part}.tfrecord-{shard:05}-of-00002").write_bytes(content)


COUNTS = {"train": 20, "validation": 10, "test": 12}
"""Records of each split of a directory; the first shard has three more than the second."""

DISTANCES = [7.5, 8.0, 8.25, 9.0, 9.75, 10.5]
"""CLEVR's classes 0, 0, 1, 2, 4 and 5, by row."""

DEPTHS: list[list[tuple[int, float]]] = [
    [],
    [(0, 8.0)],
    [(1, 9.5)],
    [(2, 20.0), (1, 30.0)],
    [(3, 2.0), (0, 20.5)],
]
"""KITTI's objects by row, type and depth: classes 3, 0, 1, 1 and 2; people don't count."""


def of_tfds(task: str) -> Reader:
    (source,) = (source for source in load_cards()[task].sources if source.format == "tfds")
    return source


def tiny_tfds(task: str) -> TaskCard:
    """The shipped card with its `tfds` source alone, cut down to `COUNTS`."""
    card = load_cards()[task]
    sources = {split: parse(text) for split, text in card.slices.items()}
    slices = {
        "train": "train[:8]",
        "val": "train[8:12]" if sources["val"][0] == "train" else f"{sources['val'][0]}[:4]",
    }
    name, start, _ = sources["test"]
    begin = COUNTS[name] - 6
    slices["test"] = f"{name}[{begin}:]" if start else name
    sizes = {"train": 8, "val": 4, "test": 6 if start else COUNTS[name]}
    source = of_tfds(task).model_copy(update={"counts": COUNTS})
    return card.model_copy(update={"sizes": sizes, "slices": slices, "sources": (source,)})


STORED = {"class-and-filename": "filename", "label-and-file-name": "image/file_name"}
"""The feature that a rule makes keys of."""


def tfds_features(task: str, row: int) -> dict[str, list]:
    """What TensorFlow Datasets stores of such a record, as far as VTAB reads it."""
    source = of_tfds(task).arguments
    key, label = source.get("key"), source.get("label", "label")
    features: dict[str, list] = {"image": [encoded(row)]}
    if task.startswith("dsprites"):
        features["image"] = [encoded(row % 2, (64, 64))]
    if task.startswith("smallnorb"):
        features["image"] = [encoded(row, (96, 96))]
    if key and key != "id":
        features[STORED.get(key) or key] = [f"name_{row}".encode()]
    if label.startswith("clevr"):
        features["objects/pixel_coords"] = [
            1.0,
            2.0,
            DISTANCES[row % 6],
            3.0,
            4.0,
            50.0,
            1.0,
            2.0,
            60.0,
        ] + [0.0, 0.0, 70.0] * (row % 3)
    elif label.startswith("kitti"):
        objects = DEPTHS[row % 5]
        features["objects/type"] = [kind for kind, _ in objects]
        features["objects/location"] = [
            value for _, depth in objects for value in (-1.0, 1.5, depth)
        ]
    else:
        features[label] = [tfds_value(task, row)]
    return features


def tfds_value(task: str, row: int) -> int:
    return (
        row
        * 2
        % (
            32
            if task == "dsprites_location"
            else 40
            if task == "dsprites_orientation"
            else load_cards()[task].classes
        )
    )


def write_tfds(root: Path, task: str, version: str = "9.0") -> Path:
    """`<root>/<dataset>/<major>.9.0`."""
    source = of_tfds(task).arguments
    name, folder = (
        source["dataset"].partition("/")[0],
        root / source["dataset"] / f"{source['version']}.{version}",
    )
    folder.mkdir(parents=True)
    splits = []
    for split, n in COUNTS.items():
        lengths = [n // 2 + 3, n - n // 2 - 3]
        begin = 0
        for shard, length in enumerate(lengths):
            rows = range(begin, begin + length)
            content = b"".join(framed(example(tfds_features(task, row))) for row in rows)
            (folder / f"{name}-{split}.tfrecord-{shard:05}-of-00002").write_bytes(content)
            begin += length
        splits.append(
            {"name": split, "shardLengths": [str(length) for length in lengths], "numBytes": "1"}
        )
    (folder / "dataset_info.json").write_text(
        json.dumps({"name": name, "fileFormat": "tfrecord", "splits": splits})
    )
    return folder


def dmlab() -> TaskCard:
    """DMLab's shipped card, cut down to what `write_dmlab` writes."""
    slices = {"train": "train[:8]", "val": "validation[:4]", "test": "test"}
    card = load_cards()["dmlab"]
    sources = tuple(
        source.model_copy(update={"counts": {"train": 20, "validation": 9, "test": 6}})
        for source in card.sources
    )
    return card.model_copy(
        update={"sizes": {"train": 8, "val": 4, "test": 6}, "slices": slices, "sources": sources}
    )
