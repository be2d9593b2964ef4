"""From schema to schema: every row as it was, a copy kept, once where many open the store, and
reading without writing."""

import random
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from made_up import VPT, result
from make_store_sample import rows
from postgres_server import SECRET, Server

import harness.store
from harness.errors import BadInput
from harness.store import SCHEMA, Cell, Store, cell_key, result_id
from harness.store import schema as versions
from harness.store.check import check
from harness.store.records import pack
from harness.store.tables import schema as tables
from harness.store.transfer.merge import merge
from harness.store.transfer.sources import sources

KEPT = sorted(
    Path(__file__).parent.glob("schema-*.db"), key=lambda file: int(file.stem.partition("-")[2])
)
"""Stores as the harness of their day made them."""


def raw_rows(url: str) -> dict[str, list[tuple]]:
    """All rows of the tables that were there from the first, with the columns that were there from
    the first."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    found = {}
    with engine.connect() as connection:
        for table in (
            table
            for table in tables.sorted_tables
            if table.info.get("since", 1) == 1 and table.name != "meta"
        ):
            columns = [column for column in table.c if column.info.get("since", 1) == 1]
            found[table.name] = [
                tuple(row) for row in connection.execute(sa.select(*columns).order_by(*columns[:2]))
            ]
    return found


def first_schema(url: str) -> sa.Engine:
    """Its tables as they were made then, without rows."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        versions.migrate(connection, 0, to=1)
        connection.exec_driver_sql(
            "insert into meta values ('format', 'vpt-harness'), ('schema', '1')"
        )
    return engine


def fill(engine: sa.Engine, some: tuple[list, ...]) -> None:
    """Rows put in as the first schema had them."""
    with engine.begin() as connection:
        for name, listed in zip(("cells", "trials", "results", "failures"), some, strict=True):
            packed = [
                {key: value for key, value in pack(row).items() if key != "extras"}
                for row in listed
            ]
            table = (
                sa.table(name, *(sa.column(key) for key in packed[0])) if packed else sa.table(name)
            )
            if packed:
                connection.execute(sa.insert(table), packed)


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store of schema 1: the file that was kept, or its rows on a server."""
    if request.param == "sqlite":
        shutil.copy(KEPT[0], tmp_path / "old.db")
        return f"sqlite:///{tmp_path / 'old.db'}"
    return request.getfixturevalue("old_on_server")


@pytest.fixture
def old_on_server(postgres: Server) -> str:
    url = postgres.database()
    fill(first_schema(url), rows(1))
    return url


def everything(store: Store) -> tuple:
    return list(store.cells().values()), store.trials(), store.results(), store.failures()


def test_a_store_of_every_earlier_schema_is_kept() -> None:
    assert [path.name for path in KEPT] == [f"schema-{number}.db" for number in range(1, SCHEMA)]


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_what_is_kept_is_brought_up_to_date_row_by_row(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "old.db")
    url = f"sqlite:///{tmp_path / 'old.db'}"
    before, said = raw_rows(url), list[str]()
    store = Store(url, say=said.append)
    assert store.migrate() == int(file.stem.partition("-")[2])
    copy = tmp_path / f"old.db.before-{SCHEMA}"
    assert said == [
        f"the store {store.file} was brought from schema {file.stem.partition('-')[2]} to {SCHEMA};"
        f" as it was before: {copy}."
    ]
    assert raw_rows(url) == before == raw_rows(f"sqlite:///{copy}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.db", copy.name]
    found = check(store)
    assert (found.schema, found.faults) == (SCHEMA, [])
    assert store.migrate() == SCHEMA
    assert len(said) == 1


def test_its_rows_are_those_that_were_put_in(old: str) -> None:
    store = Store(old, say=lambda _: None)
    before = everything(store)
    store.migrate()
    cells, trials, results, failures = rows(1)
    in_order = (
        cells,
        sorted(trials, key=lambda row: (row.cell, row.number)),
        results,
        sorted(failures, key=lambda row: row.cell),
    )
    assert before == everything(store) == in_order
    assert {str(row.extras) for row in results} == {"{}"}


def test_reading_an_old_store_leaves_it_as_it_is(old: str, raw) -> None:
    store = Store(old, say=pytest.fail)
    assert len(store.results()) == 6
    assert (store.leases(), len(store.trial_counts()), store.state() != "") == ([], 3, True)
    found = check(store)
    assert (found.schema, found.faults) == (1, [])
    assert raw(old, "select value from meta where name = 'schema'") == [("1",)]
    if store.file is not None:
        assert [path.name for path in store.file.parent.iterdir()] == ["old.db"]


def test_the_first_write_brings_it_up_to_date(old: str) -> None:
    said: list[str] = []
    store = Store(old, say=said.append)
    store.add_cell(VPT)
    store.add_result(result(VPT, 40))
    assert store.lease([VPT.key], "a", 60) == {VPT.key}
    assert len(said) == 1
    assert f"from schema 1 to {SCHEMA}" in said[0]
    again = Store(old, say=pytest.fail)
    assert again.results()[-1] == result(VPT, 40)
    assert len(again.results()) == 7


def test_the_tables_are_those_of_a_new_store(
    old: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    Store(old, say=lambda _: None).migrate()
    new = (
        f"sqlite:///{tmp_path / 'new.db'}"
        if old.startswith("sqlite")
        else request.getfixturevalue("postgres").database()
    )
    Store(new).add_cell(VPT)
    described = []
    for url in (old, new):
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            assert (
                compare_metadata(
                    MigrationContext.configure(connection, opts={"compare_type": True}), tables
                )
                == []
            )
            described.append(_described(connection))
    assert described[0] == described[1]


def _described(connection: sa.Connection) -> dict[str, Any]:
    """Columns in order, keys and constraints, by table."""
    seen = sa.inspect(connection)
    return {
        table: (
            [
                (
                    column["name"],
                    str(column["type"]),
                    column["nullable"],
                    str(column["default"])[:7],
                )
                for column in seen.get_columns(table)
            ],
            seen.get_pk_constraint(table)["constrained_columns"],
            [
                (key["constrained_columns"], key["referred_table"], key["options"])
                for key in seen.get_foreign_keys(table)
            ],
            sorted(sorted(unique["column_names"]) for unique in seen.get_unique_constraints(table)),
            sorted(sorted(map(str, index["column_names"])) for index in seen.get_indexes(table)),
        )
        for table in sorted(seen.get_table_names())
    }


def test_the_last_revision_is_the_schema_of_today() -> None:
    scripts = ScriptDirectory(str(Path(harness.store.__file__).parent / "migrations"))
    assert [script.revision for script in scripts.walk_revisions()] == [
        str(number) for number in range(SCHEMA, 0, -1)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_any_rows_are_as_they_were(url: str, seed: int) -> None:
    path = sa.make_url(url).database
    if url.startswith("sqlite"):
        Path(str(path)).parent.mkdir(parents=True)
    fill(first_schema(url), _random_rows(random.Random(seed)))
    before, read = raw_rows(url), everything(Store(url))
    store = Store(url, say=lambda _: None)
    assert store.migrate() == 1
    assert raw_rows(url) == before
    assert everything(store) == read
    assert check(store).faults == []


def _random_rows(rng: random.Random) -> tuple[list, ...]:
    """True keys and ids, everything else as odd as it may be."""
    _, trials, results, failures = rows(1)

    def text() -> str:
        return "".join(
            chr(
                rng.choice(
                    (9, 10, 32, 39, 34, 37, 92, 0xE9, 0x2028, 0x1F600, rng.randrange(1, 0xD800))
                )
            )
            for _ in range(rng.randrange(40))
        )

    def number() -> float:
        return rng.choice((0.0, 5e-324, 1 / 3, 1.7e308, rng.random(), rng.uniform(0, 1e12)))

    def nested() -> dict[str, Any]:
        return {
            text(): rng.choice(
                (
                    text(),
                    number(),
                    rng.getrandbits(60),
                    None,
                    True,
                    [number(), text()],
                    {text(): number()},
                )
            )
            for _ in range(4)
        }

    made = []
    for n in range(rng.randrange(1, 6)):
        identity = {"n": n, **nested()}
        made.append(Cell(cell_key(identity), identity, nested()))

    def odd(row: Any, cell: Cell, **more: Any) -> Any:
        return replace(
            row,
            cell=cell.key,
            seconds=number(),
            units=number(),
            provenance=nested(),
            params=nested(),
            **more,
        )

    def curve() -> dict[int, float]:
        return {rng.randrange(1000): rng.uniform(0, 100) for _ in range(rng.randrange(5))}

    return (
        made,
        [
            odd(rng.choice(trials), cell, number=n, curve=curve())
            for cell in made
            for n in rng.sample(range(2**31), rng.randrange(4))
        ],
        [
            odd(
                rng.choice(results),
                cell,
                seed=n,
                id=result_id(cell.key, n),
                score=rng.uniform(0, 100),
                memory=rng.getrandbits(62),
                curve=curve(),
            )
            for cell in made
            for n in rng.sample(range(2**40), rng.randrange(4))
        ],
        [
            replace(rng.choice(failures), cell=cell.key, seed=n, reason=text())
            for cell in made
            for n in rng.sample(range(2**40), rng.randrange(3))
        ],
    )


def test_many_open_it_at_once_and_one_migrates(old: str) -> None:
    said: list[str] = []

    def open_and_write(seed: int) -> None:
        store = Store(old, say=said.append)
        store.add_cell(VPT)
        store.add_result(result(VPT, seed))
        store.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_and_write, range(8)))
    assert len([line for line in said if "was brought" in line]) == 1
    store = Store(old)
    assert sorted(row.seed for row in store.results(VPT.key)) == list(range(8))
    assert check(store).faults == []
    if store.file is not None:
        assert sorted(path.name for path in store.file.parent.iterdir()) == [
            "old.db",
            f"old.db.before-{SCHEMA}",
        ]


def test_many_processes_open_it_at_once_and_one_migrates(old: str) -> None:
    script = (
        "import sys; from harness.store import Store; from made_up import VPT;"
        " Store(sys.argv[1]).add_cell(VPT)"
    )
    path = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, old], stderr=subprocess.PIPE, text=True, env=path
        )
        for _ in range(6)
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, said
    assert "".join(said).count(f"was brought from schema 1 to {SCHEMA}") == 1
    assert check(Store(old)).faults == []


@pytest.mark.parametrize("fails", ["in the revision", "before the commit"])
def test_a_migration_that_fails_changes_nothing(
    old: str, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = raw_rows(old)

    def broken(connection: sa.Connection, schema: int) -> None:
        if fails == "before the commit":
            migrate(connection, schema)
        raise ZeroDivisionError

    migrate = versions.migrate
    monkeypatch.setattr(versions, "migrate", broken)
    with pytest.raises(ZeroDivisionError):
        Store(old).add_cell(VPT)
    monkeypatch.setattr(versions, "migrate", migrate)
    found = check(Store(old))
    assert (found.schema, found.faults, raw_rows(old)) == (1, [], before)
    Store(old, say=lambda _: None).add_cell(VPT)
    assert check(Store(old)).schema == SCHEMA


def test_a_copy_that_is_there_stays(tmp_path: Path) -> None:
    kept = tmp_path / f"old.db.before-{SCHEMA}"
    kept.write_text("of another store that had this name")
    shutil.copy(KEPT[0], tmp_path / "old.db")
    said: list[str] = []
    Store(tmp_path / "old.db", say=said.append).migrate()
    assert kept.read_text() == "of another store that had this name"
    assert said[0].endswith(f"{kept}.2.")
    with closing(sqlite3.connect(f"{kept}.2")) as connection:
        assert connection.execute("select value from meta where name = 'schema'").fetchone() == (
            "1",
        )


def test_a_copy_that_cant_be_made_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(KEPT[0], tmp_path / "old.db")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.store.schema.os.fsync", full)
    with pytest.raises(
        BadInput, match=r"no room left .*No space left on device.*make room"
    ) as caught:
        Store(tmp_path / "old.db").add_cell(VPT)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["old.db"]
    assert check(Store(tmp_path / "old.db")).schema == 1


def test_others_old_stores_are_imported_and_stay_as_they_are(tmp_path: Path) -> None:
    shutil.copy(KEPT[0], tmp_path / "theirs.db")
    before, mine = (tmp_path / "theirs.db").read_bytes(), Store(tmp_path / "mine.db")
    (source,) = sources(str(tmp_path / "theirs.db"), mine)
    merged = merge(mine, source.rows())
    assert (merged.cells, merged.trials, merged.results, merged.failures) == (3, 9, 6, 3)
    assert everything(mine) == everything(Store(tmp_path / "theirs.db"))
    assert (tmp_path / "theirs.db").read_bytes() == before


def test_a_reader_without_rights_to_write_reads(postgres: Server, old_on_server: str) -> None:
    name = str(sa.make_url(old_on_server).database)
    postgres.execute(f"create role reader_{name} login password '{SECRET}'")
    postgres.execute(f"grant select on all tables in schema public to reader_{name}", name)
    reader = Store(postgres.address(f"reader_{name}", name), say=pytest.fail)
    assert len(reader.results()) == 6
    with pytest.raises(BadInput, match=r"must be owner|permission denied"):
        reader.migrate()
    Store(old_on_server, say=lambda _: None).migrate()
    assert len(reader.results()) == 6
