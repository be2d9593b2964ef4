"""Directories of TensorFlow Datasets, of all of VTAB-1k's tasks: read in their own order, labels by
VTAB's rules."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_originals import FORMS, card_of
from tiny_tfrecords import (
    COUNTS,
    encoded,
    example,
    framed,
    of_tfds,
    tfds_value,
    tiny_tfds,
    write_tfds,
)

from harness.data.fingerprint import fingerprint
from harness.data.keys import keys
from harness.data.readers import check, records, resolve
from harness.data.splits import parse
from harness.errors import BadInput
from harness.tasks.cards import load_cards, load_suites

TASKS = load_suites()["vtab"].tasks


def expected(task: str, row: int) -> int:
    if task == "clevr_count":
        return row % 3
    if task == "clevr_distance":
        return [0, 0, 1, 2, 4, 5][row % 6]
    if task == "kitti_distance":
        return [3, 0, 1, 1, 2][row % 5]
    value = tfds_value(task, row)
    return (
        int(value / 2)
        if task == "dsprites_location"
        else int(value / 2.5)
        if task == "dsprites_orientation"
        else value
    )


def key_of(task: str, key: str, source: str, row: int) -> str:
    made = {
        "class-and-filename": f"name_name_{row}",
        "label-and-file-name": f"{tfds_value(task, row)}/name_{row}",
    }
    return made.get(key) or (f"{source}/{row}" if key in ("", "id") else f"name_{row}")


@pytest.mark.parametrize("task", TASKS)
def test_records_come_in_the_order_of_the_shards(task: str, tmp_path: Path):
    write_tfds(tmp_path, task)
    card = resolve(tiny_tfds(task), tmp_path)
    assert (card.reader.format, card.pixels) == ("tfds", "tf")
    check(card, tmp_path)
    key = of_tfds(task).arguments.get("key", "")
    for split in ("train", "val", "test"):
        source, start, stop = parse(card.slices[split])
        rows = range(start, COUNTS[source] if stop is None else stop)
        found = records(card, tmp_path, split)
        assert [record.label for record in found] == [expected(task, row) for row in rows]
        assert [record.key for record in found] == [key_of(task, key, source, row) for row in rows]
        for record, row in zip(found, rows, strict=True):
            value = row % 2 * 255 if task.startswith("dsprites") else row
            assert record.image().mode == "RGB"
            assert np.unique(np.asarray(record.image())).tolist() == [value]
            assert record.stamp() == record.stamp() != ""
    if task == "dtd":
        assert records(card, tmp_path, "train")[3].raw() == encoded(3)


def test_the_newest_version_is_read_and_others_are_not(tmp_path: Path):
    older = write_tfds(tmp_path / "tensorflow_datasets", "dtd", "9.0")
    newer = write_tfds(tmp_path / "tensorflow_datasets", "dtd", "10.0")
    write_tfds(tmp_path / "tensorflow_datasets", "eurosat")
    card = resolve(tiny_tfds("dtd"), tmp_path)
    check(card, tmp_path)
    for path in older.glob("*.tfrecord*"):
        path.unlink()
    check(card, tmp_path)
    newer.rename(newer.with_name("4.0.0"))
    with pytest.raises(BadInput, match="no file"):
        check(card, tmp_path)


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "dataset_info.json"
        info = json.loads(path.read_text())
        change(info)
        path.write_text(json.dumps(info))

    return damage


def shard(change: Callable[[bytearray], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "dtd-train.tfrecord-00000-of-00002"
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(bytes(content))

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda folder: (folder / "dataset_info.json").write_text("{"),
            "dataset_info.json is damaged",
        ),
        (edit(lambda info: info.pop("name")), "dataset_info.json is damaged"),
        (edit(lambda info: info["splits"].pop(0)), "has no split 'train' with shardLengths"),
        (
            edit(lambda info: info["splits"][0].pop("shardLengths")),
            "has no split 'train' with shardLengths",
        ),
        (
            edit(lambda info: info.update(fileFormat="array_record")),
            "holds array_record files; only tfrecord is read",
        ),
        (
            edit(lambda info: info["splits"][0].update(shardLengths=["3", "17"])),
            "has 13 records, expected 3",
        ),
        (
            edit(lambda info: info["splits"][0].update(shardLengths=["3"])),
            "has 3 records of train, expected 20",
        ),
        (shard(lambda content: content.__delitem__(slice(-5, None))), "truncated in the record"),
        (shard(lambda content: content.__setitem__(3, 9)), "the checksum of the length at byte 0"),
        (
            shard(lambda content: content.__setitem__(40, content[40] ^ 1)),
            "the checksum of the record at byte 12",
        ),
        (
            lambda folder: (folder / "dtd-train.tfrecord-00000-of-00002").unlink(),
            "no file .*dtd-train.tfrecord-00000-of-00002",
        ),
    ],
)
def test_a_damaged_directory_is_one_line(
    damage: Callable[[Path], object], said: str, tmp_path: Path
):
    damage(write_tfds(tmp_path, "dtd"))
    card = tiny_tfds("dtd")
    with pytest.raises(BadInput, match=said) as error:
        check(resolve(card, tmp_path), tmp_path)
    assert str(error.value).startswith("task dtd: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", ["eurosat", "resisc45"])
def test_a_fingerprint_is_the_same_whichever_reader_reads_it(form: str, tmp_path: Path):
    """The archive's class folders, and the shards that TensorFlow Datasets makes of them: in md5
    order of keys, which it doesn't store."""
    FORMS[form][1](tmp_path / "folders")
    card = card_of(form)
    folders = resolve(card, tmp_path / "folders")
    (source,) = (one for one in load_cards()[form].sources if one.format == "tfds")
    dataset = source.arguments["dataset"]
    folder = tmp_path / "shards" / dataset / f"{source.arguments['version']}.0.0"
    folder.mkdir(parents=True)
    whole = folders.model_copy(update={"sizes": {"train": 21}, "slices": {"train": "train"}})
    files = {path.name: path for path in (tmp_path / "folders").rglob("*.jpg")}
    classes = sorted({path.parent.name for path in files.values()})
    content = b""
    for record in records(whole, tmp_path / "folders", "train"):
        path = files[re.sub(r"^(\w+?)_(?=\1_)", "", record.key)]
        features = {
            "filename": [path.name.encode()],
            "image": [path.read_bytes()],
            "label": [classes.index(path.parent.name)],
        }
        content += framed(example(features))
    name = dataset.partition("/")[0]
    (folder / f"{name}-train.tfrecord-00000-of-00001").write_bytes(content)
    splits = [{"name": "train", "shardLengths": ["21"], "numBytes": "1"}]
    (folder / "dataset_info.json").write_text(
        json.dumps({"name": name, "fileFormat": "tfrecord", "splits": splits})
    )
    alone = card.model_copy(
        update={"sources": (source.model_copy(update={"counts": {"train": 21}}),)}
    )
    shards = resolve(alone, tmp_path / "shards")
    assert shards.reader.format == "tfds"
    for split in ("train", "val", "test"):
        assert [record.key for record in records(shards, tmp_path / "shards", split)] == keys(
            card, None, split
        )
    assert fingerprint(shards, tmp_path / "shards") == fingerprint(folders, tmp_path / "folders")


def test_caltechs_keys_name_records(tmp_path: Path):
    """Its files are called the same in every class: 136 names for VPT's 800 records."""
    write_tfds(tmp_path, "caltech101")
    found = records(resolve(tiny_tfds("caltech101"), tmp_path), tmp_path, "train")
    assert len({record.key for record in found}) == len(found)
    assert found[3].key == f"{found[3].label}/name_3"
