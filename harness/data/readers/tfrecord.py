"""TFRecord files and the tf.train.Example messages in them, without TensorFlow.

A record is its length (8 bytes, little-endian), a masked CRC-32C of these bytes (4), the data, and
a masked CRC-32C of the data (4). An Example is a protobuf message: a map from names to lists of
bytes, floats or integers.
"""

import struct
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google_crc32c import value as crc32c  # Castagnoli's, as in RFC 3720

Values = list[bytes] | list[float] | list[int]


class Damaged(ValueError):
    """The file is truncated, or a checksum doesn't match."""


def masked(crc: int) -> int:
    """TensorFlow's mask, so that CRCs of data that contain CRCs stay reliable."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def index(path: Path) -> list[tuple[int, int]]:
    """(offset, length) of each record's data. The lengths' checksums are verified, the data aren't
    read. Raises `Damaged`."""
    records, size = [], path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while place < size:
            file.seek(place)
            head = file.read(12)
            if len(head) < 12:
                raise Damaged(f"truncated at byte {place}")
            length, crc = struct.unpack("<QI", head)
            if masked(crc32c(head[:8])) != crc:
                raise Damaged(f"the checksum of the length at byte {place} doesn't match")
            if place + 16 + length > size:
                raise Damaged(f"truncated in the record at byte {place}")
            records.append((place + 12, length))
            place += 16 + length
    return records


def read(path: Path, offset: int, length: int) -> bytes:
    """One record's data, checked. Raises `Damaged`."""
    with path.open("rb") as file:
        file.seek(offset)
        data, tail = file.read(length), file.read(4)
    if (
        len(data) != length
        or len(tail) != 4
        or masked(crc32c(data)) != struct.unpack("<I", tail)[0]
    ):
        raise Damaged(f"the checksum of the record at byte {offset} doesn't match")
    return data


def example(data: bytes) -> dict[str, Values]:
    """The features of a tf.train.Example. Raises `Damaged`."""
    message, features = _EXAMPLE(), {}
    try:
        message.ParseFromString(data)
        for entry in message.features.feature:
            if not (entry.HasField("key") and entry.HasField("value")):
                raise ValueError("a feature without a name or a value")
            kind = entry.value.WhichOneof("kind")
            features[entry.key.decode()] = list(getattr(entry.value, kind).value) if kind else []
    except (DecodeError, ValueError) as error:
        raise Damaged(f"a record isn't a tf.train.Example ({error})") from error
    return features


def _message() -> Any:
    """The class of a tf.train.Example (TensorFlow's `example.proto` and `feature.proto`), in a
    separate pool, as TensorFlow's may be in the default one.

    The map's entries are spelt out, so that one without a name is noticed.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", syntax="proto2")

    def message(name: str, *fields: tuple[str, Any, str], repeated: bool, kind: str = "") -> None:
        descriptor = file.message_type.add(name=name)
        if kind:
            descriptor.oneof_decl.add(name=kind)
        for label, of_type, of_name in fields:
            added = descriptor.field.add(
                name=label,
                number=len(descriptor.field) + 1,
                type=of_type,
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
            )
            if of_name:
                added.type_name = of_name
            if kind:
                added.oneof_index = 0

    message("BytesList", ("value", field.TYPE_BYTES, ""), repeated=True)
    message("FloatList", ("value", field.TYPE_FLOAT, ""), repeated=True)
    message("Int64List", ("value", field.TYPE_INT64, ""), repeated=True)
    lists = [(name, field.TYPE_MESSAGE, name) for name in ("BytesList", "FloatList", "Int64List")]
    message("Feature", *lists, repeated=False, kind="kind")
    message(
        "Entry",
        ("key", field.TYPE_BYTES, ""),
        ("value", field.TYPE_MESSAGE, "Feature"),
        repeated=False,
    )
    message("Features", ("feature", field.TYPE_MESSAGE, "Entry"), repeated=True)
    message("Example", ("features", field.TYPE_MESSAGE, "Features"), repeated=False)
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("Example"))


_EXAMPLE = _message()
