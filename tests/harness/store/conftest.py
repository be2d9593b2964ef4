"""Stores for the tests: each test of `store` or `url` runs against a SQLite file and against a
PostgreSQL server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import kept_store
import pytest
import sqlalchemy as sa
from odd_rows import CELL

from harness.store import SCHEMA, Store
from harness.store import schema as versions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A SQLite file that isn't there yet, nor is its folder."""
    return tmp_path / "made" / "on write" / "harness.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Of a store that isn't there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('path')}"
    return request.getfixturevalue("postgres").database()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """With one cell, `odd_rows.CELL`."""
    store = Store(url)
    store.add_cell(CELL)
    yield store
    store.close()


@pytest.fixture
def raw() -> Callable[[str, str], list[tuple]]:
    """SQL past the store: raw(url, statement) gives back what it finds."""

    def execute(url: str, statement: str) -> list[tuple]:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        if ":///" in url:
            Path(str(engine.url.database)).parent.mkdir(parents=True, exist_ok=True)
        with engine.begin() as connection:
            found = connection.exec_driver_sql(statement)
            return [tuple(row) for row in found] if found.returns_rows else []

    return execute


@pytest.fixture
def next_schema(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], int]:
    """Called, makes this process one that has a revision more; gives back its schema's number."""

    def later() -> int:
        folder = tmp_path_factory.mktemp("later") / "migrations"
        monkeypatch.setattr(versions, "MIGRATIONS", kept_store.with_a_revision_more(folder))
        monkeypatch.setattr(versions, "SCHEMA", SCHEMA + 1)
        return SCHEMA + 1

    return later


@pytest.fixture(scope="session")
def next_harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For PYTHONPATH: a harness with a column more, `watts` of results."""
    return kept_store.with_a_column_more(tmp_path_factory.mktemp("next"))
