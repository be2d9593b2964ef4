"""Files that are whole or absent: what is there stays until all of the new is, and nothing is left
behind."""

import os
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.io import atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_placing_replaces_when_all_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a.parquet"
    target.write_text("old")
    with atomic.placing(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"
        assert names(tmp_path) == ["a.parquet", f"a.parquet.{os.getpid()}.tmp"]
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.parquet"]


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
def test_what_ends_badly_leaves_the_old_file_alone(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.parquet"
    target.write_text("old")

    def place() -> None:
        with atomic.placing(target) as part:
            part.write_text("ne")
            raise error

    def replace() -> None:
        with atomic.replacing(target) as file:
            file.write(b"ne")
            raise error

    with pytest.raises(type(error)):
        place()
    with pytest.raises((BadInput, KeyboardInterrupt)):
        replace()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.parquet"]


def test_bytes_are_on_the_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, seen = tmp_path / "a", []
    real = os.fsync

    def fsync(number: int) -> None:
        seen.append((os.fstat(number).st_size, target.exists()))
        real(number)

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    with atomic.placing(target) as part:
        part.write_bytes(b"12345")
    target.unlink()
    with atomic.replacing(target) as file:
        file.write(b"12345")
    target.unlink()
    with atomic.replacing(target, sync=False) as file:
        file.write(b"12345")
    assert target.read_bytes() == b"12345"
    assert seen == [(5, False), (5, False)]


def test_a_path_that_cant_be_written_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic.placing(tmp_path / "absent" / "a") as part:
        part.write_text("new")
    assert names(tmp_path) == []
