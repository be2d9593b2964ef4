"""Files that somebody made to do harm: each is refused in one line, runs nothing, and writes
nothing outside of its folder."""

import ast
import gzip
import io
import json
import os
import pickle
import re
import sqlite3
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from made_up import filled
from safetensors.torch import save_file
from scipy.io import savemat

from harness import backbones
from harness.data.images import rgb
from harness.data.readers import hdf5, matlab, opencv, prepared
from harness.data.readers.arrays import Arrays
from harness.data.readers.cifar100 import unpickled
from harness.data.readers.class_folders import ClassFolders
from harness.data.readers.lists import inside
from harness.data.readers.vtab_folder import VTABFolder
from harness.data.unpack import unpack
from harness.errors import BadInput
from harness.inference import checkpoint, tuned_model
from harness.planning import protocols
from harness.planning.variants import recorded
from harness.store import Store, cell_key, result_id
from harness.store.transfer.sources import sources
from harness.tasks.cards import Archive, Reader, TaskCard, load_cards

ROOT = Path(__file__).parent.parent


class Evil:
    """Unpickled, it makes a file named `touched` in the working directory."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch touched",)


@pytest.fixture(autouse=True)
def _nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob("touched")), "code was run"


def refused(read: Callable[[], Any], said: str = ".") -> None:
    with pytest.raises(BadInput, match=said) as caught:
        read()
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 800


def card(**changes: Any) -> TaskCard:
    return load_cards()["digits"].model_copy(update={"name": "tiny", **changes})


# -- pickles


def test_the_pickle_of_these_tests_does_run():
    """Or the others would prove nothing."""
    pickle.loads(pickle.dumps(Evil()))
    assert Path("touched").exists()
    Path("touched").unlink()


def test_a_weights_file_with_a_pickle_is_not_unpickled(tmp_path: Path):
    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    arrays: dict[str, Any] = {"embedding/kernel": np.array([Evil()], dtype=object)}
    np.savez(tmp_path / "evil.npz", **arrays)
    for name in ("evil.pt", "evil.npz"):
        refused(
            lambda name=name: backbones.load(f"vit_tiny_patch16_224={tmp_path / name}"),
            "holds Python objects",
        )


def test_an_npz_of_images_with_a_pickle_is_not_unpickled(tmp_path: Path):
    np.savez(
        tmp_path / "evil.npz",
        train_images=np.array([Evil()], dtype=object),
        train_labels=np.zeros(1, int),
    )
    evil = card(path=tmp_path / "tiny.toml", reader=Reader(format="arrays", file="evil.npz"))  # type: ignore[call-arg]
    refused(lambda: Arrays(evil, None).records("train"), "not an npz file of plain arrays")


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()),
        # NumPy has functions that read pickles, write files and start compilers
        b"cnumpy\nload\n.",
        b"cnumpy.f2py\ncompile\n.",
        b"cnumpy.core.multiarray\nfrombuffer\n.",
        b"cbuiltins\neval\n.",
        b"r\xff\xff\xff\x7f.",  # a memo for two thousand million entries
        b"]" + b"\x94" * 0 + b"r\xff\xff\xff\x7f.",
    ],
)
def test_cifars_unpickler_makes_arrays_and_plain_values_alone(content: bytes):
    with pytest.raises(pickle.UnpicklingError):
        unpickled(content)


def test_cifars_unpickler_reads_what_numpy_wrote_then_and_now():
    content = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for protocol in (2, 3, 4):
        assert (
            unpickled(pickle.dumps({"data": content}, protocol))["data"].array() == content
        ).all()
    assert (unpickled(pickle.dumps(np.asfortranarray(content), 2)).array() == content).all()
    of_python_2 = pickle.dumps(content, 2).replace(
        b"numpy._core.multiarray", b"numpy.core.multiarray"
    )
    assert (unpickled(of_python_2).array() == content).all()
    with pytest.raises(ValueError, match="not an array of bytes"):
        unpickled(pickle.dumps(np.array([{}]), 2)).array()


PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
MAY = {
    ("harness/data/readers/cifar100.py", "pickle"),
    ("harness/engine/ray_private.py", "cloudpickle"),
}
"""The restricted unpickler above; and Ray's own, which reads the error that Tune has just
written."""


def test_nothing_else_reads_pickles():
    found = set()
    for path in (
        path
        for folder in ("harness", "methods", "scripts")
        for path in (ROOT / folder).rglob("*.py")
    ):
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import | ast.ImportFrom)
                else []
            )
            found |= {
                (name, part)
                for text in (*modules, *names)
                for part in text.split(".")
                if part in PICKLES
            }
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                options = {
                    option.arg: getattr(option.value, "value", None) for option in node.keywords
                }
                assert options.get("allow_pickle") is not True, f"{name}:{node.lineno}"
                assert node.func.attr not in ("read_pickle", "to_pickle"), f"{name}:{node.lineno}"
                if ast.unparse(node.func) == "torch.load":
                    assert options.get("weights_only") is True, f"{name}:{node.lineno}"
    assert found == MAY


# -- archives


def archive_of(
    path: Path,
    name: str = "a.txt",
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
    size: int | None = None,
) -> Path:
    """A tar with one entry."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, link, 3
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        archive.addfile(entry, io.BytesIO(b"abc"))
    if size is not None:
        head = bytearray(path.read_bytes())
        head[124:136] = (
            b"\xff" * 4 + struct.pack(">q", size) if size < 0 else f"{size:011o}\0".encode()
        )
        head[148:156] = b" " * 8
        head[148:156] = f"{sum(head[:512]):06o}\0 ".encode()
        path.write_bytes(head)
    return path


def zip_of(path: Path, name: str, content: bytes = b"abc", mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


ARCHIVES: dict[str, Callable[[Path], Path]] = {
    "a zip that climbs": lambda at: zip_of(at / "a.zip", "../touched-outside"),
    "an absolute zip": lambda at: zip_of(at / "a.zip", str(at / "touched-outside")),
    "a zip with a drive": lambda at: zip_of(at / "a.zip", "C:\\touched-outside"),
    "a zip with a link": lambda at: zip_of(at / "a.zip", "link", b"/etc/passwd", 0o120777),
    "a zip with an empty name": lambda at: zip_of(at / "a.zip", "/"),
    "a zip bomb": lambda at: zip_of(at / "a.zip", "a", bytes(200_000_000)),
    "a tar that climbs": lambda at: archive_of(at / "a.tar", "../touched-outside"),
    "an absolute tar": lambda at: archive_of(at / "a.tar", str(at / "touched-outside")),
    "a tar with a link": lambda at: archive_of(at / "a.tar", "link", tarfile.SYMTYPE, "a.txt"),
    "a tar with a hard link": lambda at: archive_of(
        at / "a.tar", "link", tarfile.LNKTYPE, "/etc/passwd"
    ),
    "a tar with a device": lambda at: archive_of(at / "a.tar", "null", tarfile.CHRTYPE),
    "a tar with a pipe": lambda at: archive_of(at / "a.tar", "pipe", tarfile.FIFOTYPE),
    "a tar that goes back": lambda at: archive_of(at / "a.tar", size=-512),
    "a tar with a name of gigabytes": lambda at: archive_of(
        at / "a.tar", kind=tarfile.GNUTYPE_LONGNAME, size=8**10
    ),
    "a tar that isn't": lambda at: written(at / "a.tar", b"no" * 999),
    "a gzip bomb": lambda at: written(at / "a.gz", gzip.compress(bytes(200_000_000))),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_hostile_archive_leaves_nothing(name: str, tmp_path: Path):
    (tmp_path / "in").mkdir()
    archive = ARCHIVES[name](tmp_path / "in")
    (tmp_path / "in" / "into").mkdir()
    refused(lambda: unpack(archive, tmp_path / "in" / "into"))
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {
        "in",
        "in/into",
        f"in/{archive.name}",
    }


def test_a_tgz_bomb_is_stopped_by_its_size(tmp_path: Path):
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        entry = tarfile.TarInfo("zeros")
        entry.size = 200_000_000
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    (tmp_path / "into").mkdir()
    refused(lambda: unpack(tmp_path / "a.tgz", tmp_path / "into"), "was not extracted")
    assert not list((tmp_path / "into").iterdir())


# -- images


def test_postscript_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pillow would start Ghostscript for it, whatever the file is called."""
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text("#!/bin/sh\ntouch touched\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}:{os.environ['PATH']}")
    (tmp_path / "a.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(OSError, match="cannot identify"):
        rgb(tmp_path / "a.jpg")
    with pytest.raises(OSError, match="cannot identify"):
        opencv.decode((tmp_path / "a.jpg").read_bytes())


def png(width: int, height: int) -> bytes:
    """One that says it has this many grey pixels, all black."""
    rows = bytes((1 + -(-width // 8)) * min(height, 8))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    "decode", [lambda content: rgb(io.BytesIO(content)), opencv.decode], ids=["Pillow", "OpenCV"]
)
def test_an_image_of_a_hundred_thousand_squared_is_refused(decode: Callable[[bytes], Any]):
    with pytest.raises(Exception, match=r"pixels|bomb|CV_IO_MAX|cannot identify"):
        decode(png(100_000, 100_000))


def test_a_png_with_a_chunk_of_a_gigabyte_takes_none():
    """OpenCV would free some space for it."""
    good = png(10, 8)
    # after the end, anything may come
    assert opencv.decode(good + b"\xff" * 20).shape == (8, 10, 3)
    place = good.index(b"IDAT") - 4
    with pytest.raises(OSError, match="longer than the file"):
        opencv.decode(good[:place] + struct.pack(">I", 994_246_755) + good[place + 4 :])


def test_an_eye_of_one_pixel_is_not_enlarged_beyond_reason():
    with pytest.raises(OSError, match="enlarged"):
        opencv.resize(np.zeros((2000, 2000, 3), np.uint8), 300.0)


def test_an_empty_image_is_one_line():
    with pytest.raises(OSError, match="cannot identify"):
        opencv.decode(b"")


# -- arrays


def test_a_small_npz_that_would_fill_the_memory_is_refused(tmp_path: Path):
    np.savez_compressed(
        tmp_path / "a.npz", allow_pickle=False, train_images=np.zeros((200, 1000, 1000), np.uint8)
    )
    evil = card(path=tmp_path / "tiny.toml", reader=Reader(format="arrays", file="a.npz"))  # type: ignore[call-arg]
    refused(lambda: Arrays(evil, None).records("train"))


def test_hdf5_leads_to_no_other_file(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(64, np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["linked"] = h5py.ExternalLink("other.h5", "x")
        file["soft"] = h5py.SoftLink("/linked")
        file.create_dataset("raw", (64,), np.uint8, external=[(str(secret), 0, 64)])
        layout = h5py.VirtualLayout((64,), np.uint8)
        layout[:] = h5py.VirtualSource("other.h5", "x", (64,))
        file.create_virtual_dataset("virtual", layout)
        file.create_group("group")
        file.create_dataset("wide", (1 << 30,), np.uint8, chunks=(1 << 30,), compression="gzip")
        file["good"] = np.zeros(64, np.uint8)
    for name in ("linked", "soft", "raw", "virtual", "group", "wide", "absent"):
        refused(
            lambda name=name: hdf5.array("tiny", tmp_path / "a.h5", name, "1"), f"has no {name}"
        )
    assert hdf5.array("tiny", tmp_path / "a.h5", "good", "1").shape == (64,)


@pytest.mark.parametrize("kind", [0, 8, 19, 20, 200, 255])
def test_a_type_that_matlab_lacks_ends_at_most_the_process_that_reads_it(tmp_path: Path, kind: int):
    """SciPy looks it up outside of its table."""
    savemat(tmp_path / "a.mat", {"x": np.arange(100.0)})
    content = (tmp_path / "a.mat").read_bytes()
    place = (
        content.index(struct.pack("<II", 9, 800))
        if struct.pack("<II", 9, 800) in content
        else content.rindex(np.arange(100.0).tobytes()) - 8
    )
    (tmp_path / "a.mat").write_bytes(
        content[:place] + struct.pack("<I", kind) + content[place + 4 :]
    )
    refused(lambda: matlab.read("tiny", tmp_path / "a.mat", ("x",), str(kind)), "is damaged")


def test_a_mat_bomb_is_refused(tmp_path: Path):
    savemat(tmp_path / "a.mat", {"x": np.zeros(200_000_000, np.uint8)}, do_compression=True)
    refused(lambda: matlab.read("tiny", tmp_path / "a.mat", ("x",), "1"), "is damaged")


# -- weights and checkpoints


@pytest.mark.parametrize("length", [2**40, 2**63 - 1, 2**64 - 1, 10])
def test_a_safetensors_header_that_lies_is_one_line(tmp_path: Path, length: int):
    state = {"norm.weight": torch.zeros(192)}
    save_file(state, tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", length) + content[8:])
    refused(lambda: backbones.load(f"vit_tiny_patch16_224={tmp_path / 'a.safetensors'}"))
    refused(lambda: tuned_model.load(tmp_path / "a.safetensors"))


def test_a_tensor_that_repeats_a_few_bytes_for_ever_is_refused(tmp_path: Path):
    torch.save(
        {"norm.weight": torch.zeros(1, dtype=torch.float16).expand(10**12)}, tmp_path / "a.pt"
    )
    refused(lambda: backbones.load(f"vit_tiny_patch16_224={tmp_path / 'a.pt'}"), "times its size")


def made_by(tmp_path: Path, method: str, **changes: Any) -> Path:
    """A checkpoint of the mini backbone that says it was made by `method`."""
    base = backbones.load("mini_vit")
    identity = {
        "method": {"name": "vpt", "version": "1", "arguments": {}},
        "task": {"name": "digits", "data": "d" * 64, "pixels": "pil"},
        "backbone": {"name": "mini_vit", "sha256": base.sha256, "pooling": base.pooling},
        "protocol": {"epochs": 1},
    }
    key = cell_key(identity)
    origin = checkpoint.Origin(
        result_id(key, 0),
        key,
        0,
        identity,
        {"prompts": 2},
        {},
        3,
        (),
        {"method": method},
        50.0,
        "e" * 64,
        {},
    )
    tensors = {
        "head.linear.bias": torch.zeros(3),
        "head.linear.weight": torch.zeros(3, 96),
        "method.prompts": torch.zeros(1, 2, 96),
    }
    metadata = {"format": checkpoint.FORMAT, "origin": json.dumps({**vars(origin), **changes})}
    save_file(tensors, tmp_path / "tuned.safetensors", metadata)
    return tmp_path / "tuned.safetensors"


def test_a_checkpoint_runs_no_file_that_it_names(tmp_path: Path):
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('touched').touch()\n")
    for name in ("evil.py:Evil", f"{tmp_path}/evil.py:Evil", "vpt,evil.py:Evil"):
        refused(
            lambda name=name: tuned_model.load(made_by(tmp_path, name)),
            "read that file, then add --method",
        )
        refused(lambda name=name: recorded(name, None), "read that file")
    refused(lambda: recorded("linear,vpt", None), "isn't one method")


def test_a_checkpoint_allocates_nothing_that_its_tensors_dont_have(tmp_path: Path):
    for changes in (
        {"arguments": {"prompts": 10**11}},
        {"classes": 10**12},
        {"arguments": {"prompts": -1}},
        {"arguments": {"x": 1}},
    ):
        refused(
            lambda changes=changes: tuned_model.load(made_by(tmp_path, "vpt", **changes)),
            "doesn't match vpt",
        )
    for changes in (
        {"identity": {}},
        {"identity": []},
        {"classes": "3"},
        {"cell": "0" * 64},
        {"class_names": 3},
    ):
        refused(
            lambda changes=changes: tuned_model.load(made_by(tmp_path, "vpt", **changes)),
            "no record of its origin",
        )


# -- paths


@pytest.mark.parametrize("folder", ["..", "../x", "/etc", "a/../../b", "a\0b"])
def test_a_card_reads_and_writes_within_the_data_root(folder: str):
    for arguments in (
        {"folder": folder},
        {"folders": ["a", folder]},
        {"images": {folder: 3}},
        {"file": folder},
        {"dataset": folder},
    ):
        with pytest.raises(ValueError, match="is outside the data's folder"):
            Reader(format="vtab-folder", **arguments)  # type: ignore[arg-type]
    for fields in ({"folder": folder}, {"name": folder}):
        with pytest.raises(ValueError, match="should match pattern"):
            Archive(url="https://example.org/a.zip", **fields)  # type: ignore[arg-type]


def test_a_card_makes_no_endless_list_and_no_endless_name():
    for arguments in ({"counts": {"train": 10**12}}, {"images": {"Forest": 10**12}}):
        with pytest.raises(ValueError, match="more than 10,000,000 records"):
            Reader(format="class-folders", **arguments)  # type: ignore[arg-type]
    for folder in ("a" * 151, "b/" * 501):
        with pytest.raises(ValueError, match="too long for a file's name"):
            Reader(format="vtab-folder", folder=folder)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="at most 150 characters"):
        TaskCard(**{**card().model_dump(), "name": "a" * 151})
    for name in ("{class}_{number:>999999999}.jpg", "{number.__class__}", "{class!r:>999999999}"):
        reader = Reader(format="class-folders", folders=["."], images={"Forest": 3}, name=name)  # type: ignore[call-arg]
        refused(
            lambda reader=reader: ClassFolders(card(reader=reader), None).keys("train"),
            "expected e.g.",
        )


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/passwd", "a/../../x.jpg"])
def test_a_list_names_files_within_its_folder(name: str, tmp_path: Path):
    refused(lambda: inside(card(), tmp_path, name), "outside")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "test.txt").write_text(f"{name} 0\n")
    reader = Reader(format="vtab-folder", folder="tiny")  # type: ignore[call-arg]
    refused(
        lambda: VTABFolder(card(reader=reader), tmp_path).records("test"),
        "is outside the task's folder",
    )


# -- texts


DEEP = ["x = " + "[" * 20_000, "x = " + "{a=" * 20_000, "x = " + "9" * 5000, "\xff"]


@pytest.mark.parametrize("text", DEEP, ids=["lists", "tables", "digits", "no UTF-8"])
def test_toml_of_any_depth_is_one_line(text: str, tmp_path: Path):
    (tmp_path / "mine.toml").write_bytes(text.encode("latin1"))
    refused(lambda: load_cards(tmp_path), "can't be read")
    refused(lambda: protocols.load(str(tmp_path / "mine.toml")), "can't be read")


@pytest.mark.parametrize(
    "row", ["a,0,-2,-2,x,y", "a,0,0,5,x,y", "a,0,1,x,x,y", "a,0,1", f"a,0,1,1,{'x' * 200_000},y"]
)
def test_a_prepared_list_has_images_of_some_size(row: str, tmp_path: Path):
    folder = tmp_path / "tiny.prepared"
    folder.mkdir()
    (folder / "prepared.json").write_text('{"pixels": "pil"}')
    (folder / "test.csv").write_text(f"{','.join(prepared.COLUMNS)}\n{row}\n")
    (folder / "test.pixels").write_bytes(bytes(12))
    refused(lambda: prepared.Prepared(card(), tmp_path).records("test"), "is damaged")


# -- stores


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"
COMPUTED = {
    "an endless view": (
        "drop table failures; create view failures as {endless} 'a' cell, i seed, 'x' reason, 'y'"
        " created FROM n"
    ),
    "a view more": "create view mine as {endless} i FROM n",
    "a trigger": "create trigger t after insert on results begin delete from results; end",
    "a computed column": (
        "alter table failures add column more text generated always as (hex(zeroblob(400000)))"
        " virtual"
    ),
    "a virtual table": "create virtual table more using fts5(x)",
}


@pytest.mark.parametrize("name", COMPUTED)
def test_a_store_that_computes_its_rows_is_refused(name: str, tmp_path: Path):
    filled(tmp_path / "theirs.db").close()
    with sqlite3.connect(tmp_path / "theirs.db") as connection:
        connection.executescript(COMPUTED[name].format(endless=ENDLESS))
    connection.close()
    (source,) = sources(str(tmp_path / "theirs.db"), Store(tmp_path / "mine.db"))
    refused(source.rows, "views")
    if name == "an endless view":
        refused(Store(tmp_path / "theirs.db").failures, "views in their place")


def test_a_store_with_a_text_that_is_none_is_refused_at_once(tmp_path: Path):
    filled(tmp_path / "theirs.db").close()
    with sqlite3.connect(tmp_path / "theirs.db") as connection:
        connection.execute("update cells set labels = cast(x'ff7b' as text)")
    connection.close()
    said: list[str] = []
    for store in (
        Store(tmp_path / "theirs.db", say=said.append),
        Store(tmp_path / "theirs.db", foreign=True, say=said.append),
    ):
        refused(store.cells, "UTF-8")
    assert not said  # it hasn't waited


def test_a_message_has_no_control_characters():
    assert (
        str(BadInput("no file \x1b[31mred\x85two\u2028three\nnext"))
        == "no file  [31mred two three\nnext"
    )


# -- what listens


def test_no_part_of_the_harness_serves_others():
    """Ray's dashboard is off, and nothing but `report/serve.py` opens a socket; that one, on
    loopback, is held to it in its own tests."""
    serving, started = set(), []
    for path in (ROOT / "harness").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ray.init", "_connect"):
                options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                assert (
                    ast.unparse(node.args[0]) != "'local'"
                    or options["include_dashboard"] == "False"
                )
                assert "dashboard_host" not in options
                started.append(ast.unparse(node.args[0]))
        # a signature's is no socket's
        if re.search(
            r"HTTPServer|(?<!\))(?<!signature)\.bind\(|create_server|serve_forever",
            path.read_text(),
        ):
            serving.add(path.name)
    assert "'local'" in started
    # the command calls the board, and the board what the third defines
    assert serving == {"serve.py", "board.py", "report.py"}


def test_the_page_is_bound_to_loopback_in_the_kernels_own_words():
    from harness.reporting.serve import Server

    with Server(lambda version: version, lambda: "1", 0) as server:
        port = f"{server.server_address[1]:04X}"
        tables = (Path("/proc/net") / name for name in ("tcp", "tcp6"))
        rows = [
            line.split()
            for table in tables
            if table.exists()
            for line in table.read_text().splitlines()[1:]
        ]
        bound = {
            row[1].partition(":")[0]
            for row in rows
            if row[1].endswith(f":{port}") and row[3] == "0A"
        }
        if not bound and sys.platform != "linux":
            pytest.skip("no /proc/net")
        assert bound == {"0100007F"}  # 127.0.0.1
