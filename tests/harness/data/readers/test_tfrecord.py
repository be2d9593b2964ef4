"""TFRecord without TensorFlow: framing, checksums, Examples; and DMLab, which comes in them.
`tiny_tfrecords` writes the bytes."""

import struct
from pathlib import Path

import numpy as np
import pytest
from tiny_tfrecords import dmlab, encoded, example, field, framed, mask, write_dmlab

from harness.data.readers import check, records, resolve, tfrecord
from harness.data.splits import order
from harness.errors import BadInput


def test_the_checksum_is_rfc_3720s():
    assert tfrecord.crc32c(b"123456789") == 0xE3069283
    assert tfrecord.crc32c(bytes(32)) == 0x8A9136AA
    assert tfrecord.masked(0xE3069283) == struct.unpack("<I", mask(0xE3069283))[0]


@pytest.mark.parametrize("packed", [True, False])
def test_an_example_is_read_back(packed: bool):
    features = {"a": [b"x", b"", bytes(300)], "b": [0, 1, -5, 2**40], "c": [0.5, -2.0]}
    assert tfrecord.example(example(features, packed)) == features


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (field(1, field(1, b"")), "without a name or a value"),
        (field(1, field(1, field(2, b""))), "without a name or a value"),
        (field(1, field(1, field(1, b"\xff") + field(2, b""))), "can't decode"),
        (field(1, field(1, b"\x0a\x05ab")), "Error parsing"),
        (b"\x0f\xff", "Error parsing"),
    ],
)
def test_what_is_no_example_is_damaged(message: bytes, fault: str):
    with pytest.raises(tfrecord.Damaged, match=r"isn't a tf\.train\.Example") as caught:
        tfrecord.example(message)
    assert fault in str(caught.value)


def test_records_are_found_and_checked(tmp_path: Path):
    path, contents = tmp_path / "a.tfrecord", [b"one", b"", bytes(1000)]
    path.write_bytes(b"".join(framed(content) for content in contents))
    assert [tfrecord.read(path, *place) for place in tfrecord.index(path)] == contents
    whole = bytearray(path.read_bytes())
    for at, said in ((2, "length at byte 0"), (13, None)):
        damaged = whole.copy()
        damaged[at] ^= 1
        path.write_bytes(bytes(damaged))
        if said:
            with pytest.raises(tfrecord.Damaged, match=said):
                tfrecord.index(path)
        else:
            with pytest.raises(tfrecord.Damaged, match="record at byte 12"):
                tfrecord.read(path, *tfrecord.index(path)[0])
    path.write_bytes(bytes(whole[:-1]))
    with pytest.raises(tfrecord.Damaged, match="truncated"):
        tfrecord.index(path)
    with pytest.raises(tfrecord.Damaged, match=r"isn't a tf\.train\.Example"):
        tfrecord.example(b"\x0f\xff")


def test_dmlab_is_read_in_the_order_of_its_file_names(tmp_path: Path):
    write_dmlab(tmp_path)
    card = resolve(dmlab(), tmp_path)
    assert (card.reader.format, card.pixels) == ("dmlab", "tf")
    check(card, tmp_path)
    train = records(card, tmp_path, "train")
    assert [record.key for record in train] == order([f"train_{row}.png" for row in range(20)])[:8]
    for record in train:
        row = int(record.key[6:-4])
        assert record.label == row % 6
        assert np.asarray(record.image())[0, 0].tolist() == [row] * 3
        assert record.raw() == encoded(row)
    assert [record.key for record in records(card, tmp_path, "val")] == order(
        [f"validation_{row}.png" for row in range(9)], "validation"
    )[:4]


def test_damaged_dmlab_is_one_line(tmp_path: Path):
    write_dmlab(tmp_path, train="label")
    with pytest.raises(BadInput, match=r"that lacks the fields for its key or label \('label'\)"):
        check(resolve(dmlab(), tmp_path), tmp_path)
    path = tmp_path / "dmlab" / "tfrecords" / "dmlab-test.tfrecord-00001-of-00002"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(bytes(content))
    card = resolve(dmlab(), tmp_path)
    with pytest.raises(
        BadInput, match=r"dmlab-test.tfrecord-00001-of-00002: the checksum of the record at byte 12"
    ):
        records(card, tmp_path, "test")
