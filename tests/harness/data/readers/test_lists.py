"""Lists as editors, spreadsheets and other systems save them: the same records, or one line that
shows what can't be seen."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from tiny_fgvc import card_of as fgvc_card
from tiny_fgvc import write_cub, write_json
from tiny_originals import FORMS, card_of

from harness.data.fingerprint import fingerprint
from harness.data.readers import check, records, resolve
from harness.errors import BadInput
from harness.tasks.cards import TaskCard, load_cards

Change = Callable[[bytes], bytes]
HARMLESS: dict[str, Change] = {
    "a mark": lambda content: b"\xef\xbb\xbf" + content,
    "CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "CR alone": lambda content: content.replace(b"\n", b"\r"),
    "a mark and CRLF": lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"),
    "blank lines at the end": lambda content: content + b"\n\n  \n",
    "a blank line within": lambda content: content.replace(b"\n", b"\n\n", 1),
    "no end of the last line": lambda content: content.rstrip(b"\n"),
    "spaces at lines' ends": lambda content: content.replace(b"\n", b"  \n").rstrip(b" "),
    "spaces before": lambda content: b"  " + content,
    "a mark within, of lists put together": lambda content: content.replace(
        b"\n", b"\n\xef\xbb\xbf", 1
    ),
}
LISTS = {
    "pets": ["trainval.txt", "test.txt"],
    "dtd": ["train1.txt", "val1.txt", "test1.txt"],
    "sun397": ["sun397_tfds_tr.txt", "sun397_tfds_va.txt", "sun397_tfds_te.txt"],
    "kitti": ["train_mapping.txt", "train_rand.txt", "000003.txt"],
    "retinopathy": ["trainLabels.csv", "retinopathy_solution.csv"],
}


def rewrite(root: Path, names: list[str], change: Change) -> None:
    for name in names:
        (path,) = (path for path in root.rglob(name) if path.is_file())
        path.write_bytes(change(path.read_bytes()))


def told(card: TaskCard, root: Path) -> str:
    with pytest.raises(BadInput) as error:
        check(resolve(card, root), root)
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize("form", LISTS)
def test_what_an_editor_changes_makes_no_difference(form: str, tmp_path: Path):
    FORMS[form][1](tmp_path)
    card = resolve(card_of(form), tmp_path)

    def seen() -> dict:
        check(card, tmp_path)
        return {
            split: [(record.key, record.label) for record in records(card, tmp_path, split)]
            for split in card.sizes
        }

    before, kept = (
        seen(),
        {path: path.read_bytes() for name in LISTS[form] for path in tmp_path.rglob(name)},
    )
    for how, change in HARMLESS.items():
        for path, content in kept.items():
            path.write_bytes(change(content))
        assert seen() == before, how


@pytest.mark.parametrize("how", HARMLESS)
def test_nor_in_the_vtab_folder(card: TaskCard, root: Path, how: str):
    before = fingerprint(card, root)
    rewrite(root, ["train800.txt", "val200.txt", "train800val200.txt", "test.txt"], HARMLESS[how])
    check(card, root)
    assert fingerprint(card, root) == before


@pytest.mark.parametrize("how", HARMLESS)
def test_nor_in_fgvcs_official_lists(how: str, tmp_path: Path):
    write_cub(tmp_path)
    card = resolve(fgvc_card("cub200_2011"), tmp_path)
    before = [record.key for record in records(card, tmp_path, "train")]
    rewrite(
        tmp_path, ["images.txt", "image_class_labels.txt", "train_test_split.txt"], HARMLESS[how]
    )
    check(card, tmp_path)
    assert [record.key for record in records(card, tmp_path, "train")] == before


def test_backslashes_tabs_and_quotes_in_the_vtab_folder(card: TaskCard, root: Path):
    before = fingerprint(card, root)
    rewrite(root, ["train800.txt"], lambda content: content.replace(b"/", b"\\"))
    rewrite(root, ["test.txt"], lambda content: content.replace(b" ", b"\t"))
    rewrite(
        root,
        ["val200.txt"],
        lambda content: b"".join(
            b'"%s" %s\n' % tuple(line.split()) for line in content.splitlines()
        ),
    )
    check(card, root)
    assert fingerprint(card, root) == before
    rewrite(root, ["train800.txt"], lambda content: b"..\\" + content)
    assert "is outside the task's folder" in told(card, root)


@pytest.mark.parametrize(("on_disk", "listed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_composed_otherwise_than_on_the_disk(
    on_disk: Literal["NFC", "NFD"], listed: Literal["NFC", "NFD"], card: TaskCard, root: Path
):
    """A list written on Linux beside files copied from macOS, and the other way about; a folder's
    name and a file's."""
    names = [unicodedata.normalize(form, "images/café/Ångström.jpg") for form in (on_disk, listed)]
    image = root / "tiny" / names[0]
    image.parent.mkdir()
    (root / "tiny" / "images" / "train800" / "000000.jpg").rename(image)
    rewrite(
        root,
        ["train800.txt"],
        lambda content: content.replace(b"images/train800/000000.jpg", names[1].encode()),
    )
    check(card, root)
    row = records(card, root, "train")[0]
    assert row.key == "images/café/Ångström.jpg"
    assert row.raw() == image.read_bytes()


def test_names_composed_otherwise_in_vpts_lists_and_backslashes(tmp_path: Path):
    write_json(tmp_path, "cub200_2011", "images")
    card = resolve(fgvc_card("cub200_2011"), tmp_path)
    folder = tmp_path / "cub200_2011"
    first = next(iter(json.loads((folder / "train.json").read_text())))
    (folder / "images" / unicodedata.normalize("NFD", "é")).mkdir()
    (folder / "images" / first).rename(
        folder / "images" / unicodedata.normalize("NFD", "é") / "1.jpg"
    )
    content = (folder / "train.json").read_text().replace(first, "é\\\\1.jpg")
    (folder / "train.json").write_bytes(b"\xef\xbb\xbf" + content.encode())
    check(card, tmp_path)
    assert records(card, tmp_path, "train")[0].key == "é/1.jpg"


def test_windows_lists_of_the_originals(tmp_path: Path):
    for form in ("dtd", "sun397"):
        FORMS[form][1](tmp_path)
        card = resolve(card_of(form), tmp_path)
        before = [record.key for record in records(card, tmp_path, "train")]
        rewrite(
            tmp_path,
            LISTS[form],
            lambda content: content.replace(b"/", b"\\").replace(b"\n", b"\r\n"),
        )
        assert [record.key for record in records(card, tmp_path, "train")] == before


@pytest.mark.parametrize(("form", "names"), LISTS.items())
def test_other_encodings_are_named(form: str, names: list[str], tmp_path: Path):
    FORMS[form][1](tmp_path)
    (path,) = tmp_path.rglob(names[0])
    content = path.read_text()
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        path.write_bytes(content.encode(encoding))
        message = told(card_of(form), tmp_path)
        assert "Save it as UTF-8" in message
        assert names[0] in message


@pytest.mark.parametrize("end", ["\x85", "\u2028", "\u2029"])
def test_line_ends_that_some_take_for_letters_are_named(end: str, card: TaskCard, root: Path):
    rewrite(root, ["test.txt"], lambda content: content.decode().replace("\n", end).encode())
    assert f"test.txt has the line ending {end!a}" in told(card, root)


def test_latin_1_is_told_by_its_line(card: TaskCard, root: Path):
    rewrite(
        root,
        ["test.txt"],
        lambda content: content.replace(b"images/test/000002", "images/test/é2".encode("latin-1")),
    )
    message = told(card, root)
    assert r"line 3 is 'images/test/\xe92.jpg 2'" in message
    assert "Save it as UTF-8" in message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"000002.jpg 2", "000002.jpg\u00a02", r"line 3 is 'images/test/000002.jpg\xa02'"),
        (b"000002.jpg 2", "000002.jpg,2", "line 3 is 'images/test/000002.jpg,2'"),
        (b"000002.jpg 2", "000002.jpg \u0662", r"line 3 is 'images/test/000002.jpg \u0662'"),
        (b"000002.jpg 2", "000\u200b002.jpg 2", r"as 'images/test/000\u200b002.jpg'"),
        (b"000002.jpg 2", "00000\u0662.jpg 2", r"as 'images/test/00000\u0662.jpg'"),
        (b"images/test/000002", "im\u0430ges/test/000002", r"as 'im\u0430ges/test/000002.jpg'"),
        (b"images/test/000002", "images/test\x0b/000002", r"as 'images/test\x0b/000002.jpg'"),
    ],
)
def test_what_can_t_be_seen_is_shown(old: bytes, new: str, said: str, card: TaskCard, root: Path):
    rewrite(root, ["test.txt"], lambda content: content.replace(old, new.encode()))
    assert said in told(card, root)


def test_a_card_with_a_mark(cards: Path):
    path = cards / "tiny.toml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_cards(cards)["tiny"].classes == 3
    path.write_bytes(path.read_bytes()[3:].decode().encode("utf-16"))
    with pytest.raises(BadInput, match=r"tiny\.toml: can't be read"):
        load_cards(cards)
