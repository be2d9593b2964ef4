"""A store that was made before is read, reported, resumed, and brought to a later schema: every row
as it was, a copy kept, once where many open it."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import kept_store
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from made_up import VPT, everything, result
from postgres_server import SECRET, Server

from harness.errors import BadInput
from harness.store import SCHEMA, Cell, DuplicateTrial, Store, cell_key, result_id, tables
from harness.store import schema as versions
from harness.store.check import check
from harness.store.columns import FIRST, columns
from harness.store.transfer import exchange
from harness.store.transfer.merge import merge
from harness.store.transfer.sources import sources

Later = Callable[[], int]


def raw_rows(url: str) -> dict[str, list[tuple]]:
    """All rows of the records, with the columns that the kept store has."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    found = {}
    with engine.connect() as connection:
        for record, table in tables.of.items():
            known = [table.c[one.name] for one in columns(record) if one.since <= kept_store.OLD]
            query = sa.select(*known).order_by(*known[:2])
            found[table.name] = [tuple(row) for row in connection.execute(query)]
    return found


def fill(url: str, some: tuple[list, ...]) -> None:
    store = Store(url)
    store.add(*some)
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store as it was made before: the file that was kept, or its rows on a server."""
    if request.param == "sqlite":
        shutil.copy(kept_store.FILE, tmp_path / "old.db")
        return f"sqlite:///{tmp_path / 'old.db'}"
    return request.getfixturevalue("old_on_server")


@pytest.fixture
def old_on_server(postgres: Server) -> str:
    url = postgres.database()
    fill(url, kept_store.rows())
    return url


def schema_of(url: str) -> int:
    """Of `old`."""
    return kept_store.OLD if url.startswith("sqlite") else SCHEMA


def in_order() -> tuple[list, ...]:
    """The rows of the kept store as a store gives them."""
    cells, trials, results, failed = kept_store.rows()
    return (
        cells,
        sorted(trials, key=lambda row: (row.cell, row.number)),
        results,
        sorted(failed, key=lambda row: row.cell),
    )


def test_a_store_made_before_is_read_as_it_is(old: str) -> None:
    store = Store(old, say=pytest.fail)
    before = store.file.read_bytes() if store.file else b""
    assert everything(store) == in_order()
    found = check(store)
    assert (found.schema, found.faults) == (schema_of(old), [])
    if store.file is not None:
        assert store.file.read_bytes() == before
        assert [path.name for path in store.file.parent.iterdir()] == ["old.db"]


def test_it_is_reported(tmp_path: Path, harness) -> None:
    shutil.copy(kept_store.FILE, tmp_path / "old.db")
    done = harness("report", "--store", "old.db", "--format", "json", cwd=tmp_path)
    rows = json.loads(done.stdout)["rows"]
    best = 97.123456789012345
    assert {(row["variant"], row["task"]): (row["n"], row["mean"]) for row in rows if row["n"]} == {
        ("vpt", "digits"): (2, best / 2),
        ("linear", "digits"): (2, best / 2),
        ("vpt-deep(prompts=5)", "fashion"): (2, best / 2),
    }
    ids = {result_id(cell.key, seed) for cell in in_order()[0] for seed in (0, 2**31 - 1)}
    assert {id for row in rows for id in row["ids"]} == ids


def test_it_is_resumed(old: str) -> None:
    store = Store(old, say=lambda _: None)
    cells, trials, results, failed = in_order()
    one, last = trials[0], replace(trials[0], number=3, value=50.0)
    assert store.lease([one.cell], "a driver", 60) == {one.cell}
    with pytest.raises(DuplicateTrial):
        store.add_trials([one], held_by="a driver")
    store.add_trials([last], held_by="a driver")
    assert store.best_trials(one.cell) == [last]
    made_good = result(cells[0], failed[0].seed)
    made_good = replace(made_good, cell=failed[0].cell, id=result_id(failed[0].cell, 3))
    store.add_result(made_good)
    assert store.results() == [*results, made_good]
    assert store.failures() == failed[1:]
    assert check(store).faults == []


def test_its_tables_are_those_of_a_new_store(tmp_path: Path) -> None:
    """Otherwise SCHEMA is to be raised, or a revision is missing."""
    shutil.copy(kept_store.FILE, tmp_path / "old.db")
    Store(tmp_path / "old.db", say=lambda _: None).migrate()
    Store(tmp_path / "new.db").add_cell(VPT)
    described = []
    for name in ("old.db", "new.db"):
        engine = sa.create_engine(f"sqlite:///{tmp_path / name}", poolclass=sa.NullPool)
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), tables.schema) == []
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
                (key["constrained_columns"], key["referred_table"], key.get("options"))
                for key in seen.get_foreign_keys(table)
            ],
            sorted(sorted(unique["column_names"]) for unique in seen.get_unique_constraints(table)),
            sorted(sorted(map(str, index["column_names"])) for index in seen.get_indexes(table)),
        )
        for table in sorted(seen.get_table_names())
    }


@pytest.mark.parametrize("schema", ["1", "2", "0", "-3", "03", "٣", "3.0", "3 ", "x", ""])
def test_an_older_schema_is_refused(url: str, raw, schema: str) -> None:
    fill(url, kept_store.rows())
    raw(url, f"update meta set value = '{schema}' where name = 'schema'")
    uses = [
        lambda: Store(url).results(),
        lambda: Store(url).add_cell(VPT),
        lambda: Store(url).migrate(),
        lambda: check(Store(url)),
        lambda: exchange.of_store(Store(url, foreign=True)),
    ]
    for use in uses:
        with pytest.raises(BadInput, match="has schema") as caught:
            use()
        assert "\n" not in str(caught.value)
        if schema in ("1", "2"):
            assert f"this harness reads {FIRST} and later: use the version" in str(caught.value)
    assert raw(url, "select value from meta where name = 'schema'") == [(schema,)]
    assert len(raw(url, "select * from cells")) == 3


def test_the_last_revision_is_the_schema_of_today() -> None:
    scripts = ScriptDirectory(str(versions.MIGRATIONS))
    assert [script.revision for script in scripts.walk_revisions()] == [
        str(number) for number in range(SCHEMA, FIRST - 1, -1)
    ]


def test_a_schema_without_its_revision_is_not_migrated_to(
    old: str, raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "SCHEMA", SCHEMA + 1)
    with pytest.raises(RuntimeError, match=rf"has no revision {SCHEMA + 1}$"):
        Store(old).add_cell(VPT)
    number = raw(old, "select value from meta where name = 'schema'")
    assert number == [(str(schema_of(old)),)]


COLUMN_MORE = """
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from kept_store import rows
from made_up import VPT, result

from harness.errors import BadInput
from harness.store import SCHEMA, Store
from harness.store.check import check
from harness.store.transfer import exchange
from harness.store.transfer.merge import merge
from harness.store.transfer.sources import sources

folder = Path(sys.argv[1])
store = Store(folder / "old.db", say=lambda _: None)
assert store.results() == rows()[2] and {row.watts for row in store.results()} == {None}
assert check(store).schema < SCHEMA and check(store).faults == []
assert "watts" not in pq.read_schema(folder / "old.parquet").names
new = replace(result(VPT, 40), watts=3.5)
store.add([VPT], results=[new])
assert store.results() == [*rows()[2], new] and store.runs(("watts",))[-1] == {"watts": 3.5}
assert check(store).schema == SCHEMA and check(store).faults == []
exchange.write(exchange.of_store(store), folder / "new.parquet")
assert pq.read_schema(folder / "new.parquet").field("watts").type == "double"
other = Store(folder / "other.db")
for name in ("old.parquet", "new.parquet"):
    for source in sources(str(folder / name), other):
        merge(other, source.rows())
assert other.results() == store.results()
store.add([], results=[replace(new, seed=41, id=result(VPT, 41).id, watts=-1.0)])
(fault,) = check(store).faults
assert "watts is -1.0: Input should be greater than or equal to 0" in fault
with pytest.raises(BadInput, match="watts is -1.0"):
    next(sources(str(folder / "old.db"), other)).rows()
"""


def test_a_new_column_is_an_edit_of_one_file_and_a_revision(
    tmp_path: Path, next_harness: Path
) -> None:
    shutil.copy(kept_store.FILE, tmp_path / "old.db")
    exchange.write(exchange.of_store(Store(tmp_path / "old.db")), tmp_path / "old.parquet")
    done = subprocess.run(
        [sys.executable, "-c", COLUMN_MORE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": ":".join([str(next_harness), *(entry for entry in sys.path if entry)])},
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / f"old.db.before-{SCHEMA + 1}").exists()


def test_it_is_brought_up_to_date_row_by_row(old: str, next_schema: Later) -> None:
    before, lines = raw_rows(old), list[str]()
    later = next_schema()
    store = Store(old, say=lines.append)
    assert store.migrate() == schema_of(old)
    kept = ""
    if store.file is not None:
        copy = store.file.with_name(f"old.db.before-{later}")
        kept = f"; a copy of the old one is {copy}"
        assert raw_rows(f"sqlite:///{copy}") == before
        assert sorted(path.name for path in copy.parent.iterdir()) == ["old.db", copy.name]
    assert lines == [
        f"the store {store.name} was migrated from schema {schema_of(old)} to {later}{kept}."
    ]
    assert raw_rows(old) == before
    assert everything(store) == in_order()
    found = check(store)
    assert (found.schema, found.faults) == (later, [])
    assert store.migrate() == later
    assert len(lines) == 1
    with sa.create_engine(old, poolclass=sa.NullPool).connect() as connection:
        context = MigrationContext.configure(connection)
        changed = {step[0] for step in compare_metadata(context, tables.schema)}
    assert changed == {"remove_column", "remove_index"}, "what the revision brought"


def test_reading_an_old_store_leaves_it_as_it_is(old: str, raw, next_schema: Later) -> None:
    next_schema()
    store = Store(old, say=pytest.fail)
    assert everything(store) == in_order()
    assert (store.leases(), len(store.trial_counts()), store.state() != "") == ([], 3, True)
    assert (check(store).schema, check(store).faults) == (schema_of(old), [])
    assert raw(old, "select value from meta where name = 'schema'") == [(str(schema_of(old)),)]
    if store.file is not None:
        assert [path.name for path in store.file.parent.iterdir()] == ["old.db"]


def test_the_first_write_brings_it_up_to_date(old: str, next_schema: Later) -> None:
    later, lines = next_schema(), list[str]()
    store = Store(old, say=lines.append)
    store.add_cell(VPT)
    store.add_result(result(VPT, 40))
    assert store.lease([VPT.key], "a", 60) == {VPT.key}
    assert len(lines) == 1
    assert f"from schema {schema_of(old)} to {later}" in lines[0]
    again = Store(old, say=pytest.fail)
    assert again.results()[-1] == result(VPT, 40)
    assert len(again.results()) == 7


@pytest.mark.parametrize("seed", range(12))
def test_any_rows_are_as_they_were(url: str, seed: int, next_schema: Later) -> None:
    fill(url, _random_rows(random.Random(seed)))
    before, read = raw_rows(url), everything(Store(url))
    next_schema()
    store = Store(url, say=lambda _: None)
    assert store.migrate() == SCHEMA
    assert raw_rows(url) == before
    assert everything(store) == read
    assert check(store).faults == []


def _random_rows(rng: random.Random) -> tuple[list, ...]:
    """True keys and ids, everything else as odd as it may be."""
    _, trials, results, failures = kept_store.rows()

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
        identity = {**nested(), **VPT.identity, "n": n}
        made.append(Cell(cell_key(identity), identity, {**nested(), **VPT.labels}))

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

    def curve(last: float | None = None) -> dict[int, float]:
        found = {rng.randrange(1000): rng.uniform(0, 100) for _ in range(rng.randrange(5))}
        return found if last is None or not found else {**found, max(found): last}

    def scored() -> dict[str, Any]:
        score = rng.uniform(0, 100)
        return {"score": score, "curve": curve(score)}

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
                memory=rng.getrandbits(62),
                **scored(),
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


def test_many_open_it_at_once_and_one_migrates(old: str, next_schema: Later) -> None:
    later, said = next_schema(), list[str]()

    def open_and_write(seed: int) -> None:
        store = Store(old, say=said.append)
        store.add_cell(VPT)
        store.add_result(result(VPT, seed))
        store.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_and_write, range(8)))
    assert len([line for line in said if "was migrated" in line]) == 1
    store = Store(old)
    assert sorted(row.seed for row in store.results(VPT.key)) == list(range(8))
    assert check(store).faults == []
    if store.file is not None:
        assert sorted(path.name for path in store.file.parent.iterdir()) == [
            "old.db",
            f"old.db.before-{later}",
        ]


def test_many_processes_open_it_at_once_and_one_migrates(
    old: str, next_harness: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = (
        "import sys; from harness.store import Store; from made_up import VPT;"
        " Store(sys.argv[1]).add_cell(VPT)"
    )
    path = {"PYTHONPATH": ":".join([str(next_harness), *(entry for entry in sys.path if entry)])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, old],
            stderr=subprocess.PIPE,
            text=True,
            env=path,
            cwd=tmp_path_factory.mktemp("elsewhere"),
        )
        for _ in range(6)
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, said
    assert "".join(said).count(f"was migrated from schema {schema_of(old)} to {SCHEMA + 1}") == 1
    with pytest.raises(BadInput, match=f"has schema {SCHEMA + 1}, but this harness knows {SCHEMA}"):
        check(Store(old))


@pytest.mark.parametrize("fails", ["in the revision", "before the commit"])
def test_a_migration_that_fails_changes_nothing(
    old: str, fails: str, next_schema: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, later = raw_rows(old), next_schema()

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
    assert (found.schema, found.faults, raw_rows(old)) == (schema_of(old), [], before)
    Store(old, say=lambda _: None).add_cell(VPT)
    assert check(Store(old)).schema == later


def test_a_copy_that_is_there_stays(tmp_path: Path, next_schema: Later) -> None:
    later = next_schema()
    kept = tmp_path / f"old.db.before-{later}"
    kept.write_text("of another store that had this name")
    shutil.copy(kept_store.FILE, tmp_path / "old.db")
    said: list[str] = []
    Store(tmp_path / "old.db", say=said.append).migrate()
    assert kept.read_text() == "of another store that had this name"
    assert said[0].endswith(f"{kept}.2.")
    with closing(sqlite3.connect(f"{kept}.2")) as connection:
        assert connection.execute("select value from meta where name = 'schema'").fetchone() == (
            str(kept_store.OLD),
        )


def test_a_copy_that_cant_be_made_stops_it(
    tmp_path: Path, next_schema: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_schema()
    shutil.copy(kept_store.FILE, tmp_path / "old.db")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.io.atomic.os.fsync", full)
    with pytest.raises(
        BadInput, match=r"the disk or quota is full .*No space left on device.*free some space"
    ) as caught:
        Store(tmp_path / "old.db").add_cell(VPT)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["old.db"]
    assert check(Store(tmp_path / "old.db")).schema == kept_store.OLD


def test_others_old_stores_are_imported_and_stay_as_they_are(
    tmp_path: Path, next_schema: Later
) -> None:
    next_schema()
    shutil.copy(kept_store.FILE, tmp_path / "theirs.db")
    before, mine = (tmp_path / "theirs.db").read_bytes(), Store(tmp_path / "mine.db")
    (source,) = sources(str(tmp_path / "theirs.db"), mine)
    merged = merge(mine, source.rows())
    assert (merged.cells, merged.trials, merged.results, merged.failures) == (3, 9, 6, 3)
    assert everything(mine) == everything(Store(tmp_path / "theirs.db"))
    assert (tmp_path / "theirs.db").read_bytes() == before


def test_a_reader_without_rights_to_write_reads(
    postgres: Server, old_on_server: str, next_schema: Later
) -> None:
    next_schema()
    name = str(sa.make_url(old_on_server).database)
    postgres.execute(f"create role reader_{name} login password '{SECRET}'")
    postgres.execute(f"grant select on all tables in schema public to reader_{name}", name)
    reader = Store(postgres.address(f"reader_{name}", name), say=pytest.fail)
    assert len(reader.results()) == 6
    with pytest.raises(BadInput, match=r"must be owner|permission denied"):
        reader.migrate()
    Store(old_on_server, say=lambda _: None).migrate()
    assert len(reader.results()) == 6
