"""TFRecord files and the tf.train.Example messages in them, without TensorFlow.

A record is its length (8 bytes, little-endian), a masked CRC-32C of these bytes (4), the data, and
a masked CRC-32C of the data (4). An Example is a protobuf message: a map from names to lists of
bytes, floats or integers.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from google_crc32c import value as crc32c  # Castagnoli's, as in RFC 3720

Values = list[bytes] | list[float] | list[int]


class Damaged(ValueError):
    """The file is cut short, or a checksum doesn't fit."""


def masked(crc: int) -> int:
    """TensorFlow's mask, so that a CRC of data with CRCs in it stays good."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def index(path: Path) -> list[tuple[int, int]]:
    """(offset, length) of each record's data. The lengths' checksums are checked, the data aren't
    read. Raises `Damaged`."""
    found, size = [], path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while place < size:
            file.seek(place)
            head = file.read(12)
            if len(head) < 12:
                raise Damaged(f"cut short at byte {place}")
            length, crc = struct.unpack("<QI", head)
            if masked(crc32c(head[:8])) != crc:
                raise Damaged(f"the checksum of the length at byte {place} doesn't fit")
            if place + 16 + length > size:
                raise Damaged(f"cut short in the record at byte {place}")
            found.append((place + 12, length))
            place += 16 + length
    return found


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
        raise Damaged(f"the checksum of the record at byte {offset} doesn't fit")
    return data


def example(data: bytes) -> dict[str, Values]:
    """The features of a tf.train.Example. Raises `Damaged`."""
    found: dict[str, Values] = {}
    try:
        for features in _fields(data, 1):
            for entry in _fields(features, 1):
                (name,), (feature,) = _fields(entry, 1), _fields(entry, 2)
                found[name.decode()] = _values(feature)
    except (IndexError, struct.error, ValueError) as error:
        raise Damaged(f"a record is no tf.train.Example ({error})") from error
    return found


def _values(feature: bytes) -> Values:
    for number, kind, content in _parts(feature):
        if kind != 2:
            continue
        if number == 1:
            return list(_fields(content, 1))
        if number == 2:
            return [
                value
                for part in _fields(content, 1)
                for value in np.frombuffer(part, "<f4").tolist()
            ]
        if number == 3:
            return [
                value
                for _, kind, part in _parts(content)
                for value in ([_signed(part)] if kind == 0 else _packed(part))
            ]
    return []


def _packed(data: bytes) -> list[int]:
    values, place = [], 0
    while place < len(data):
        value, place = _varint(data, place)
        values.append(_signed(value))
    return values


def _signed(value) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _fields(message: bytes, wanted: int) -> list[bytes]:
    """The contents of a message's field: of bytes or messages, or of single floats."""
    return [content for number, kind, content in _parts(message) if number == wanted and kind != 0]


def _parts(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(field number, wire type, content); a varint's content is the number itself."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            content, place = _varint(message, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            content, place = message[place : place + length], place + length
        elif kind == 2:
            length, place = _varint(message, place)
            content, place = message[place : place + length], place + length
            if len(content) != length:
                raise ValueError("a field is cut short")
        else:
            raise ValueError(f"wire type {kind}")
        yield number, kind, content  # type: ignore[misc]


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError("a number has too many bytes")
