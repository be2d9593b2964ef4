"""`harness data fetch` against a local server that supports ranges, cuts connections, and lies."""

import gzip
import hashlib
import io
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.data import download as downloading
from harness.data.fetch import fetch
from harness.data.unpack import unpack
from harness.errors import BadInput
from harness.tasks.cards import Archive, Reader, TaskCard, load_cards

BODY = bytes(range(256)) * 1000


class Server:
    """What it serves by path, and how: `cuts` bytes an answer, `ranges` or not, `status` codes to
    give first."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None
        self.ranges = True
        self.status: list[int] = []
        self.slow = 0.0
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                asked = self.headers.get("Range", "")
                server.asked.append(f"{self.path} {asked}".strip())
                if server.status:
                    return self.send_error(server.status.pop(0))
                if self.path not in server.files:
                    return self.send_error(404)
                body = server.files[self.path]
                begin = int(re.findall(r"\d+", asked)[0]) if asked and server.ranges else 0
                if begin and begin >= len(body):
                    return self.send_error(416)
                self.send_response(206 if begin else 200)
                if begin:
                    self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
                self.send_header("Content-Length", str(len(body) - begin))
                self.end_headers()
                left = body[begin:] if server.cut is None else body[begin : begin + server.cut]
                for place in range(0, len(left), 10_000):
                    time.sleep(server.slow)
                    self.wfile.write(left[place : place + 10_000])
                self.close_connection = True

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def archive(self, name: str, content: bytes = BODY, **fields) -> Archive:
        self.files[f"/{name}"] = content
        known = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        return Archive(**{"url": f"{self.address}/{name}", **known, **fields})


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.http.shutdown()
    found.thread.join()
    found.http.server_close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "WAIT", 0.001)
    monkeypatch.setattr(downloading, "CHUNK", 10_000)


CARD = TaskCard(
    name="tiny",
    title="Tiny",
    suite="mine",
    group="natural",
    kind="classification",
    classes=3,
    sizes={"train": 6, "val": 4, "test": 5},
    reader=Reader(format="vtab-folder"),
    pixels="pil",
    metric="top1",
    source="here",
    licence="none",
    citation="none",
    howto="draw it",
)


def card_with(*archives: Archive, **fields: str) -> TaskCard:
    return CARD.model_copy(update={"archives": archives, **fields})


def quiet(what: str, done: int, total: int | None) -> None:
    assert what
    assert total is None or done <= total


def zipped(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def tarred(mode: str = "w:gz", link: str = "", **files: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
        if link:
            entry = tarfile.TarInfo("link")
            entry.type, entry.linkname = tarfile.SYMTYPE, link
            archive.addfile(entry)
    return content.getvalue()


FILES = {"images/one.jpg": "1", "list.txt": "two"}


def seen(folder: Path) -> dict[str, str]:
    """Files by name, without the notes and locks."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and ".fetched" not in path.parts
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.zip", zipped(**FILES)),
        ("a.tar.gz", tarred(**FILES)),
        ("a.tgz", tarred(**FILES)),
        ("a.tar", tarred("w", **FILES)),
    ],
)
def test_an_archive_is_fetched_and_extracted_once(
    server: Server, tmp_path: Path, name: str, content: bytes
):
    card = card_with(server.archive(name, content))
    assert fetch(card, tmp_path, quiet) == [name]
    assert seen(tmp_path / "tiny") == FILES
    assert fetch(card, tmp_path, quiet) == []
    assert len(server.asked) == 1


def test_a_single_gz_and_a_plain_file(server: Server, tmp_path: Path):
    card = card_with(
        server.archive("x.h5.gz", gzip.compress(b"data")), server.archive("train.mat", b"plain")
    )
    fetch(card, tmp_path, quiet)
    assert seen(tmp_path / "tiny") == {"x.h5": "data", "train.mat": "plain"}


def test_tasks_that_share_files_fetch_them_once(server: Server, tmp_path: Path):
    archive = server.archive("a.zip", zipped(**FILES), folder="both")
    assert fetch(card_with(archive), tmp_path, quiet) == ["a.zip"]
    assert fetch(card_with(archive, name="other"), tmp_path, quiet) == []
    assert seen(tmp_path / "both") == FILES


def test_it_goes_on_behind_every_cut(server: Server, tmp_path: Path):
    server.cut = 100_000
    fetch(card_with(server.archive("a.bin")), tmp_path, quiet)
    assert (tmp_path / "tiny" / "a.bin").read_bytes() == BODY
    assert server.asked == ["/a.bin", "/a.bin bytes=100000-", "/a.bin bytes=200000-"]


def test_a_server_without_ranges_gives_it_anew(server: Server, tmp_path: Path):
    server.ranges = False
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "a.bin.part").write_bytes(b"x" * 1000)
    fetch(card_with(server.archive("a.bin")), tmp_path, quiet)
    assert (tmp_path / "tiny" / "a.bin").read_bytes() == BODY


def test_a_part_that_is_too_long_begins_anew(server: Server, tmp_path: Path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "a.bin.part").write_bytes(BODY + b"more")
    (tmp_path / "tiny" / "b.bin.part").write_bytes(BODY + b"more")
    fetch(card_with(server.archive("a.bin"), server.archive("b.bin", bytes=None)), tmp_path, quiet)
    assert (
        (tmp_path / "tiny" / "a.bin").read_bytes()
        == (tmp_path / "tiny" / "b.bin").read_bytes()
        == BODY
    )


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path):
    server.status = [503, 500, 429]
    fetch(card_with(server.archive("a.bin")), tmp_path, quiet)
    assert len(server.asked) == 4


def test_a_file_put_there_by_hand_is_checked_and_not_fetched(server: Server, tmp_path: Path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "a.bin").write_bytes(BODY)
    fetch(card_with(server.archive("a.bin")), tmp_path, quiet)
    assert not server.asked


SCRIPT = """
import sys
from pathlib import Path
from harness.tasks.cards import Archive
from harness.data import download
download.CHUNK = 10_000
archive = Archive.model_validate_json(sys.argv[1])
download.download(archive, Path(sys.argv[2]), lambda what, done, total: print(done, flush=True))
"""


def test_killed_it_goes_on(server: Server, tmp_path: Path):
    server.slow = 0.02
    archive, path = server.archive("a.bin"), tmp_path / "a.bin"
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, archive.model_dump_json(), str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not path.exists()
    downloading.download(archive, path, quiet)
    assert path.read_bytes() == BODY
    assert re.fullmatch(r"/a\.bin bytes=[1-9]\d*-", server.asked[1])


def wrong_sum(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.zip", zipped(**FILES), sha256="0" * 64))


def wrong_md5(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.zip", zipped(**FILES), sha256=None, md5="0" * 32))


def wrong_size(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.zip", zipped(**FILES), bytes=10_000))


def too_large(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.zip", zipped(**FILES), bytes=10**18))


def wrong_by_hand(server: Server, tmp_path: Path) -> TaskCard:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "a.bin").write_bytes(b"other")
    return card_with(server.archive("a.bin"))


def not_there(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(Archive(url=f"{server.address}/none.zip"))


def offline(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(Archive(url="http://127.0.0.1:9/none.zip"))


def always_busy(server: Server, tmp_path: Path) -> TaskCard:
    server.status = [503] * 9
    return card_with(server.archive("a.bin"))


def always_cut(server: Server, tmp_path: Path) -> TaskCard:
    server.cut = 0
    return card_with(server.archive("a.bin"))


def leaves_zip(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.zip", zipped(**{"one.txt": "1", "../evil.txt": "2"})))


def leaves_zip_windows(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.zip", zipped(**{"one.txt": "1", "..\\evil.txt": "2"})))


def leaves_tar(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.tar.gz", tarred(**{"one.txt": "1", "../evil.txt": "2"})))


def absolute_tar(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(
        server.archive("a.tar", tarred("w", **{"one.txt": "1", "x/../../evil.txt": "2"}))
    )


def link_tar(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.tar.gz", tarred(link="/etc/passwd", **FILES)))


def link_zip(server: Server, tmp_path: Path) -> TaskCard:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    return card_with(server.archive("a.zip", content.getvalue()))


def cut_zip(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.zip", zipped(**FILES)[:-30]))


def cut_tar(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.tar.gz", tarred(**FILES)[:-30]))


def cut_gz(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.gz", gzip.compress(BODY)[:-30]))


def no_zip(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(server.archive("a.zip", b"<html>"))


def by_hand(server: Server, tmp_path: Path) -> TaskCard:
    return card_with(by_hand="its owner wants a signature.")


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        (wrong_sum, r"has sha256 [0-9a-f]{64}, expected 0{64}\. Try again"),
        (wrong_md5, r"has md5 [0-9a-f]{32}, expected 0{32}\. Try again"),
        (wrong_size, r"has [\d,]+ bytes, expected 10,000"),
        (too_large, "but .* free. Free some space"),
        (wrong_by_hand, "has 5 bytes, expected 256,000. Delete"),
        (not_there, "can't be downloaded: its server responded 404"),
        (offline, "can't download none.zip from 127.0.0.1 .*is this machine online"),
        (always_busy, "its server responded 503"),
        (always_cut, "can't download a.bin from 127.0.0.1"),
        (leaves_zip, "has an entry outside its folder"),
        (leaves_zip_windows, "has an entry outside its folder"),
        (leaves_tar, "has an entry outside its folder"),
        (absolute_tar, "has an entry outside its folder"),
        (link_tar, "has an entry outside its folder"),
        (link_zip, "has an entry outside its folder"),
        (cut_zip, "is damaged or truncated"),
        (cut_tar, "is damaged or truncated"),
        (cut_gz, "is damaged or truncated"),
        (no_zip, "is damaged or truncated"),
        (by_hand, "task tiny can't be fetched: its owner wants a signature. To get it: draw it."),
    ],
)
def test_what_can_go_wrong_is_one_line_and_leaves_nothing(
    server: Server, tmp_path: Path, setup, said: str
):
    root = tmp_path / "in" / "here"
    root.mkdir(parents=True)
    card = setup(server, root)
    with pytest.raises(BadInput, match=said) as error:
        fetch(card, root, quiet)
    assert "\n" not in str(error.value)
    kept = {"a.zip", "a.tar", "a.tar.gz", "a.gz", "a.bin", "a.bin.part"}
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"}
    assert left <= kept
    assert not list(root.rglob("*.json"))


def test_a_full_disk_is_one_line(server: Server, tmp_path: Path):
    with (
        mock.patch.object(Path, "open", side_effect=OSError(28, "No space left on device")),
        pytest.raises(BadInput, match="No space left"),
    ):
        downloading.download(server.archive("a.bin"), tmp_path / "a.bin", quiet)


def test_unpacking_again_after_a_kill_is_whole(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(zipped(**FILES))
    (tmp_path / "a.zip.unpacking").mkdir()
    (tmp_path / "a.zip.unpacking" / "half").write_text("half")
    (tmp_path / "images").mkdir()
    unpack(tmp_path / "a.zip", tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "a.zip",
        "one.jpg",
        "list.txt",
    }


def test_the_command(server: Server, tmp_path: Path, cards: Path):
    archive = server.archive("a.zip", zipped(**FILES))
    with (cards / "tiny.toml").open("a") as file:
        file.write(f'\n[[archives]]\nurl = "{archive.url}"\nsha256 = "{archive.sha256}"\n')
    command = [
        "data",
        "fetch",
        "tiny",
        "--data-root",
        str(tmp_path / "root"),
        "--cards",
        str(cards),
    ]
    first, again = (CliRunner().invoke(app, command) for _ in range(2))
    assert (first.exit_code, first.stdout) == (0, "tiny: fetched a.zip\n")
    assert (again.exit_code, again.stdout) == (0, "tiny: already there\n")


def test_the_shipped_archives_are_named_and_checked():
    archives = {archive.url: archive for card in load_cards().values() for archive in card.archives}
    unchecked = {
        archive.name for archive in archives.values() if not (archive.sha256 or archive.md5)
    }
    assert not unchecked
    assert all(archive.name for archive in archives.values())
    vtab_fgvc = [card for card in load_cards().values() if card.suite in ("vtab", "fgvc")]
    assert all(card.archives or card.by_hand for card in vtab_fgvc)
