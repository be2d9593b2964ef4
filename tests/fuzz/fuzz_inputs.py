"""Broken inputs: a good file with bytes changed, cut, doubled, swapped or put in; behind its
compression and checksums too.

All of it follows from a seed.
"""

import gzip
import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from google_crc32c import value as crc32c

from harness.data.readers.tfrecord import masked

NUMBERS = (
    0,
    1,
    -1,
    2,
    127,
    128,
    255,
    256,
    65535,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32 - 1,
    2**40,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
)
WORDS = (
    *(
        b"0",
        b"-1",
        b"-0",
        b"1e309",
        b"nan",
        b"NaN",
        b"-Infinity",
        b"99999999999999999999",
        b"9" * 5000,
        b"2147483648",
        b"0x10",
        b"1_0",
    ),
    *(
        b"",
        b" ",
        b"\n",
        b"\r",
        b"\0",
        b"\t",
        b"\xff\xfe",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b'"',
        b"'",
        b",",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\\",
    ),
    *(
        b"../../../../etc/passwd",
        b"/etc/passwd",
        b"a" * 5000,
        b"[" * 5000,
        b'{"a":' * 3000,
        b"%s%n",
        b"{number:>999999999}",
        b"null",
        b"true",
    ),
)
SIZES = (1, 1, 2, 4, 8, 16, 100, 1000)
EDGE = 2048
"""Bytes at both ends of a file, where formats keep what they say of themselves."""


def broken(content: bytes, rng: random.Random, name: str = "") -> bytes:
    """`content` with one to four changes; behind its compression or checksums in one case of two,
    where its `name` says how."""
    inside = next((change for ending, change in INSIDE.items() if re.search(ending, name)), None)
    if inside is not None and rng.random() < 0.5:
        try:
            return inside(content, rng)
        except (
            ValueError,
            KeyError,
            OSError,
            EOFError,
            zlib.error,
            struct.error,
            zipfile.BadZipFile,
        ):
            pass
    return changed(content, rng)


def changed(content: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = rng.choice(CHANGES)(content, rng)
    return content


def _place(content: bytes, rng: random.Random) -> int:
    """Near an end more often than not."""
    n = len(content)
    if n > 2 * EDGE and rng.random() < 0.7:
        return rng.choice(
            (rng.randrange(min(n, 128)), rng.randrange(EDGE), n - 1 - rng.randrange(EDGE))
        )
    return rng.randrange(n + 1)


def _bit(content: bytes, rng: random.Random) -> bytes:
    """One bit the other way."""
    place = min(_place(content, rng), len(content) - 1)
    return (
        content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
        if content
        else content
    )


def _cut(content: bytes, rng: random.Random) -> bytes:
    """The end goes."""
    return content[: _place(content, rng)]


def _piece(content: bytes, rng: random.Random) -> bytes:
    """A piece goes, comes twice, or becomes noise, another piece or a word."""
    place, size, other = _place(content, rng), rng.choice(SIZES), _place(content, rng)
    piece = content[place : place + size]
    others = (
        b"",
        2 * piece,
        rng.randbytes(size),
        content[other : other + size],
        rng.choice(WORDS),
        piece + rng.choice(WORDS),
    )
    return content[:place] + rng.choice(others) + content[place + size :]


def _number(content: bytes, rng: random.Random) -> bytes:
    """A binary number of 1 to 8 bytes, in either order of bytes, becomes another."""
    place, size = _place(content, rng), rng.choice((1, 1, 2, 4, 4, 8))
    value = (rng.choice(NUMBERS) % 2 ** (8 * size)).to_bytes(size, rng.choice(("little", "big")))
    return content[:place] + value + content[place + size :]


def _digits(content: bytes, rng: random.Random) -> bytes:
    """A number in text becomes a word."""
    start = _place(content, rng)
    found = re.search(rb"-?\d+(\.\d+)?", content[start : start + 65536])
    if found is None:
        return _number(content, rng)
    return content[: start + found.start()] + rng.choice(WORDS) + content[start + found.end() :]


def _line(content: bytes, rng: random.Random) -> bytes:
    """A line goes, or comes twice."""
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    return b"\n".join(lines[:place] + rng.choice(([], 2 * [lines[place]])) + lines[place + 1 :])


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _bit,
    _bit,
    _cut,
    _piece,
    _piece,
    _piece,
    _number,
    _number,
    _digits,
    _line,
)
"""Some twice: they find more."""


def _in_gzip(content: bytes, rng: random.Random) -> bytes:
    return gzip.compress(changed(gzip.decompress(content), rng), 1)


def _in_zip(content: bytes, rng: random.Random) -> bytes:
    """One member changed, or its name."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        chosen = rng.choice(old.infolist())
        for entry in old.infolist():
            data = old.read(entry)
            if entry is chosen and rng.random() < 0.9:
                data = changed(data, rng)
            elif entry is chosen:
                entry.filename = changed(entry.filename.encode(), rng)[:60000].decode("latin1")
            new.writestr(entry, data, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)), 1)
    return target.getvalue()


def _in_tfrecord(content: bytes, rng: random.Random) -> bytes:
    """One record changed, with checksums that fit."""
    records, place = [], 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        records.append(content[place + 12 : place + 12 + length])
        place += 16 + length
    chosen = rng.randrange(len(records))
    records[chosen] = changed(records[chosen], rng)
    return b"".join(framed(record) for record in records)


def framed(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return (
        head
        + struct.pack("<I", masked(crc32c(head)))
        + data
        + struct.pack("<I", masked(crc32c(data)))
    )


def _in_mat(content: bytes, rng: random.Random) -> bytes:
    """A MATLAB file's elements without their compression, changed, and in one case of two
    compressed again."""
    parts, place = [], 128
    while place + 8 <= len(content):
        kind, size = struct.unpack_from("<II", content, place)
        data = content[place + 8 : place + 8 + size]
        parts.append(zlib.decompress(data) if kind == 15 else content[place : place + 8 + size])
        place += 8 + size
    # no matrices: smallNORB's files are called .mat too
    if not parts or any(part[:1] != b"\x0e" for part in parts):
        raise ValueError("not MATLAB's")
    chosen = rng.randrange(len(parts))
    parts[chosen] = changed(parts[chosen], rng)
    if rng.random() < 0.5:
        parts = [
            struct.pack("<II", 15, len(packed)) + packed
            for packed in (zlib.compress(part, 1) for part in parts)
        ]
    return content[:128] + b"".join(parts)


def _in_png(content: bytes, rng: random.Random) -> bytes:
    """One chunk changed, with a checksum that fits; of the pixels in one case of two behind their
    compression."""
    place, chunks = 8, []
    while place + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    chosen = rng.randrange(len(chunks))
    kind, data = chunks[chosen]
    if kind == b"IDAT" and rng.random() < 0.5:
        data = zlib.compress(changed(zlib.decompress(data), rng))
    else:
        data = changed(data, rng)
    chunks[chosen] = (kind, data)
    if rng.random() < 0.2:
        chunks.insert(chosen, rng.choice(chunks))
    whole = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return content[:8] + whole


INSIDE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    r"\.(gz|tgz)$": _in_gzip,
    r"\.(npz|zip|pt|pth)$": _in_zip,
    r"tfrecord": _in_tfrecord,
    r"\.mat$": _in_mat,
    r"\.png$": _in_png,
}
"""By a pattern that a file's name has."""


def spoil(folder: Path, files: list[Path], rng: random.Random) -> str:
    """Breaks one of the files, now and then two, or puts something else in its place. Says what it
    did.

    Lists are broken as often as images, however many these are.
    """
    kinds: dict[tuple[str, str], list[Path]] = {}
    for path in files:
        kinds.setdefault(
            (path.parent.name if path.suffix in (".txt", ".mat", ".npz") else "", path.suffix), []
        ).append(path)
    said = []
    for of_kind in rng.choices(sorted(kinds), k=rng.choice((1, 1, 1, 1, 2))):
        path = rng.choice(kinds[of_kind])
        if not path.is_file() or path.is_symlink():
            continue  # broken already
        content = path.read_bytes()
        path.unlink()  # never through a hard link to the original
        what = rng.choices(
            ("changed", "gone", "a folder", "a link to itself", "empty"), (95, 1, 1, 1, 2)
        )[0]
        if what == "changed":
            path.write_bytes(broken(content, rng, path.name))
        elif what == "a folder":
            path.mkdir()
        elif what == "a link to itself":
            path.symlink_to(path.name)
        elif what == "empty":
            path.touch()
        said.append(f"{path.relative_to(folder)} {what}")
    return ", ".join(said)
