"""`harness data verify` decodes what it reads: any file that isn't a whole image is named, with the
reason."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from harness.data.decode import CHUNK, decode_checks
from harness.data.images import FORMATS
from harness.data.readers.record import Record
from harness.data.verify import verify
from harness.tasks.cards import TaskCard


def whole(kind: str, side: int = 64) -> bytes:
    import io

    file = io.BytesIO()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def put(root: Path, content: bytes) -> Path:
    path = root / "tiny" / "images" / "test" / "000002.jpg"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<html><body>404</body></html>", "not one of JPEG, PNG"),
        (b"", "not one of JPEG, PNG"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "not one of JPEG, PNG",
        ),
        (whole("JPEG")[:3000], "truncated"),
        (whole("PNG")[:3000], ""),
        (whole("PNG")[:6000] + bytes(len(whole("PNG")) - 6000), ""),
        (whole("GIF")[:1000], ""),
        (whole("BMP")[:3000], "truncated"),
        (whole("TIFF")[:3000], ""),
        (whole("WEBP")[:1000], ""),
        (whole("PPM")[:3000], "truncated"),
        (whole("ICO"), "not one of JPEG, PNG"),
    ],
)
def test_what_is_no_whole_image_is_named(content: bytes, why: str, card: TaskCard, root: Path):
    path = put(root, content)
    verdict = verify(card, root, lambda line: None)
    (fault,) = verdict.faults
    assert fault.startswith(
        "test: images/test/000002.jpg is missing, or can't be decoded as an image ("
    )
    assert f"{path}: " in fault
    assert why in fault
    assert "\n" not in fault
    assert verdict.decoded == 14
    quick = verify(card, root, lambda line: None, quick=True)
    assert (quick.faults, quick.decoded) == ((), None)
    assert quick.fingerprint == verdict.fingerprint


def test_all_is_decoded_and_counted(card: TaskCard, root: Path):
    verdict = verify(card, root, lambda line: None)
    assert (verdict.decoded, verdict.faults, verdict.warnings) == (15, (), ())


def test_many_wrong_files_are_counted_and_the_first_named(card: TaskCard, root: Path):
    for path in (root / "tiny" / "images" / "train800").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    faults = verify(card, root, lambda line: None).faults
    assert len(faults) == 6
    assert [fault.split()[1] for fault in faults[:2]] == [
        "images/train800/000000.jpg",
        "images/train800/000001.png",
    ]
    assert faults[-1] == "train: 1 more image can't be decoded"


def test_memory_is_bounded_by_the_threads():
    """A thousand images, of which only as many are alive as there are threads."""
    import threading

    alive, most, lock = [0], [0], threading.Lock()

    class Picture:
        def __init__(self):
            with lock:
                alive[0] += 1
                most[0] = max(most[0], alive[0])

        def __del__(self):
            with lock:
                alive[0] -= 1

        def load(self):
            pass

        info: ClassVar[dict] = {}

    rows = [Record(str(row), 0, bytes, Picture) for row in range(10 * CHUNK)]  # type: ignore[arg-type]
    assert [check.failure for check in decode_checks(rows)] == [""] * len(rows)
    assert most[0] <= 9


def test_a_download_with_a_hole_at_its_end_is_told(card: TaskCard, root: Path):
    """libjpeg fills what it lacks with grey, without a word."""
    put(root, whole("JPEG")[:2000] + bytes(3000))
    verdict = verify(card, root, lambda line: None)
    assert verdict.faults == ()
    assert verdict.warnings == (
        (
            "test: 1 image has no end marker: its last part may be missing, and is grey:"
            " images/test/000002.jpg"
        ),
    )


def test_every_format_is_decoded(card: TaskCard, root: Path):
    for kind in FORMATS:
        put(root, whole(kind))
        assert verify(card, root, lambda line: None).faults == ()
