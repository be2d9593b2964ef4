"""What all readers are: classes that a card's format names, which read a list once."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import tiny_fgvc
from tiny_originals import FORMS, card_of
from tiny_tfrecords import tiny_tfds, write_tfds

from harness.data.fingerprint import data_summary, rows_of
from harness.data.keys import keys
from harness.data.readers import FORMATS, open_reader, resolve
from harness.data.readers import check as check_anew
from harness.data.readers.reader import SlicedReader, TaskReader
from harness.data.readers.record import Record
from harness.data.verify import verify
from harness.errors import BadInput
from harness.planning.plan import check_data, plan
from harness.planning.request import Request
from harness.tasks.cards import Reader, SplitName, TaskCard, load_cards

LISTS = {".txt", ".csv", ".json", ".mat", ".gz", ".bin", ".tfrecord", ""}
_watching: list[Callable[[str], object]] = []


def _hook(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[0], str | Path):
        opened = [str(arguments[0])]
    elif event == "subprocess.Popen":  # MATLAB's lists are opened by a process of their own
        opened = [str(part) for part in arguments[1]]
    else:
        return
    for see in _watching:
        for path in opened:
            see(path)


sys.addaudithook(_hook)  # can't be taken away again: it is idle unless someone watches


@contextmanager
def opens(root: Path) -> Iterator[Counter[str]]:
    """How often each list under `root` is opened meanwhile."""
    seen: Counter[str] = Counter()

    def see(path: str) -> None:
        if path.startswith(str(root)) and Path(path).suffix in LISTS:
            seen[str(Path(path).relative_to(root))] += 1

    _watching.append(see)
    try:
        yield seen
    finally:
        _watching.remove(see)


LISTED: dict[str, tuple[TaskCard, Callable[[Path], object], str]] = {
    **{
        name: (card_of(name), FORMS[name][1], some)
        for name, some in {
            "dtd": "dtd/labels/train1.txt",
            "flowers": "setid.mat",
            "pets": "trainval.txt",
            "kitti": "train_rand.txt",
            "sun397": "sun397_tfds_te.txt",
            "retinopathy": "retinopathy_solution.csv",
            "clevr_count": "scenes.json",
        }.items()
    },
    "vpt's lists": (
        tiny_fgvc.card_of("cub200_2011"),
        partial(tiny_fgvc.write_json, task="cub200_2011", images="images"),
        "train.json",
    ),
    "nabirds": (tiny_fgvc.card_of("nabirds"), tiny_fgvc.write_nabirds, "images.txt"),
    "cars": (
        tiny_fgvc.card_of("stanford_cars"),
        tiny_fgvc.write_cars_devkit,
        "cars_train_annos.mat",
    ),
    "tfds": (
        tiny_tfds("cifar100"),
        partial(write_tfds, task="cifar100"),
        "dataset_info.json",
    ),
}


@pytest.mark.parametrize("name", LISTED)
def test_a_plan_and_verify_open_each_list_once(name: str, tmp_path: Path):
    """fgvc's JSON lists were parsed a dozen times a plan: for every split, class and check."""
    card, write, some = LISTED[name]
    root = tmp_path / "data"
    write(root)
    card = resolve(card, root)
    with opens(root) as seen:
        reader = check_data([card], root)[card.name]
        data_summary(card, root, rows_of(reader))
    assert any(path.endswith(some) for path in seen), seen
    assert {*seen.values()} == {1}, seen
    with opens(root) as seen:
        assert verify(card, root, lambda line: None, quick=True).faults == ()
    assert all(n == 1 for path, n in seen.items() if path.endswith(some)), seen


def test_a_whole_plan_opens_each_list_once(tmp_path: Path, cards: Path, root: Path):
    with opens(root) as seen:
        plan(Request(methods="linear", tasks="tiny", cards=cards, data_root=root))
    assert seen == {
        f"tiny/{name}.txt": 1 for name in ("train800", "val200", "test", "train800val200")
    }


def test_a_list_that_has_changed_is_read_anew(tmp_path: Path):
    card, write, _ = LISTED["nabirds"]
    write(tmp_path)
    card = resolve(card, tmp_path)
    check_anew(card, tmp_path)
    (path,) = tmp_path.rglob("images.txt")
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(BadInput):
        check_anew(card, tmp_path)


def test_every_format_of_a_card_has_its_class():
    """And each says what of a card it knows."""
    for card in load_cards().values():
        for reader in (card.reader, *card.sources):
            assert reader.arguments.keys() <= {*FORMATS[reader.format].arguments}
    for name, of in FORMATS.items():
        assert issubclass(of, TaskReader)
        assert of.format == name


class Spots(SlicedReader[int]):
    """A format of somebody's own, with the least that one needs."""

    format = "spots"
    arguments = ("count",)

    def keys(self, source: str) -> range:
        return range(self.argument("count", int))

    def records(self, split: SplitName) -> list[Record]:
        from PIL import Image

        return [
            Record(
                str(key),
                key % 3,
                lambda key=key: bytes([key]),
                lambda: Image.new("RGB", (8, 8)),
            )
            for key in self.selected(split)
        ]


def test_a_new_format_is_a_class_and_its_name(card: TaskCard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(FORMATS, Spots.format, Spots)
    reader = Reader(format="spots", count=15)  # type: ignore[call-arg]
    slices = {"train": "train[:6]", "val": "train[6:10]", "test": "train[10:]"}
    mine = card.model_copy(update={"reader": reader, "slices": slices})
    opened = open_reader(mine, None)
    assert opened.present()
    opened.check_all()
    assert keys(mine, None, "val") == [record.key for record in opened.read("val")]
    assert len(data_summary(mine, None).fingerprint) == 64
    wrong = mine.model_copy(update={"reader": Reader(format="spots", cuont=15)})  # type: ignore[call-arg]
    with pytest.raises(BadInput, match="Did you mean 'count'"):
        open_reader(wrong, None)
