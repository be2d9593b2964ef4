"""When a run leaves the page as it is: only where writing it again would write the same."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from harness.reporting.formats.page import age
from harness.reporting.formats.page.age import is_current
from harness.reporting.formats.page.html import write
from harness.reporting.report import Report
from harness.store import Store


@pytest.fixture
def store(filler: Any, tmp_path: Path) -> Store:
    """In a file, with its page, which is a second old; the store is older."""
    filler.store = Store(tmp_path / "s.db")
    filler.results(filler.cell("vpt", "digits"), [80.0, 81.0])
    written(filler.store, Report(filler.store))
    return filler.store


def written(store: Store, report: Report) -> None:
    assert store.file is not None
    write(store.page, str(report.render("html")))
    now = time.time()
    os.utime(store.file, (now - 2, now - 2))
    os.utime(store.page, (now - 1, now - 1))


def test_a_page_that_is_newer_than_its_store_is_current(store: Store):
    assert is_current(store.page, store)
    assert store.file is not None
    assert Store(store.file).results(), "reading changes nothing"
    assert is_current(store.page, store)


def test_it_isnt_where_something_was_stored_since(store: Store, filler: Any):
    filler.results(filler.cell("vpt-deep", "digits"), [82.0])
    assert not is_current(store.page, store)


def test_nor_while_what_was_stored_is_still_in_sqlites_log(store: Store):
    assert store.file is not None
    log = Path(f"{store.file}-wal")
    log.touch()
    assert is_current(store.page, store), "an empty one is there while somebody reads"
    log.write_bytes(b"rows")
    assert not is_current(store.page, store)


def test_nor_where_a_row_was_edited_by_hand(store: Store):
    assert store.file is not None
    with sqlite3.connect(store.file) as connection:
        connection.execute("update results set score = 90.0")
    connection.close()
    assert not is_current(store.page, store)


@pytest.mark.parametrize(
    "options", [{"methods": ["vpt"]}, {"tasks": ["digits"]}, {"sort": "params"}]
)
def test_nor_where_it_shows_a_part_or_shows_it_otherwise(store: Store, options: dict[str, Any]):
    written(store, Report(store, **options))
    assert not is_current(store.page, store)


def test_nor_where_what_is_shipped_is_newer(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package, table = tmp_path / "harness", tmp_path / "published.csv"
    (package / "__pycache__").mkdir(parents=True)
    files = [
        package / "__init__.py",
        package / "page.css",
        package / "__pycache__" / "i.pyc",
        table,
    ]
    for file in files:
        file.touch()
        os.utime(file, (0, 0))
    monkeypatch.setattr(age, "SHIPPED", (package, table))
    assert is_current(store.page, store)
    (package / "__pycache__" / "i.pyc").touch()
    assert is_current(store.page, store), "made of code that is older"
    for file in (package / "page.css", table):
        file.touch()
        assert not is_current(store.page, store)
        os.utime(file, (0, 0))
    assert is_current(store.page, store)


def test_what_a_page_reads_is_among_what_is_shipped(store: Store, monkeypatch: pytest.MonkeyPatch):
    """And no other file, but what pip wrote of the harness when it was installed."""
    read: set[str] = set()
    opened = Path.open

    def noted(path: Path, *args: Any, **kwargs: Any) -> Any:
        read.add(str(path.resolve()))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", noted)
    str(Report(store).render("html"))
    shipped = [str(place.resolve()) for place in age.SHIPPED]
    assert any(path.endswith("published.csv") for path in read)
    assert any(path.endswith("page.css") for path in read)
    for path in read:
        if ".dist-info" in path:
            continue
        assert path.startswith((*shipped, str(store.page.parent))), path


def test_nor_where_there_is_none_or_it_is_another_file(store: Store):
    store.page.write_text("<!doctype html><title>mine</title>")
    assert not is_current(store.page, store)
    store.page.unlink()
    assert not is_current(store.page, store)
    assert not is_current(store.page, Store("sqlite://"))
