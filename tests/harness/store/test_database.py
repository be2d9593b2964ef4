"""The store, in SQLite and PostgreSQL: one transaction a call, all rows or none, one line for what
can't be used."""

import hashlib
import math
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st
from odd_rows import CELL, FAILURE, OTHER, RESULT, THEIRS, TRIAL
from sqlalchemy import event
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.schema import CreateTable

from harness.errors import BadInput
from harness.store import (
    SCHEMA,
    Duplicate,
    DuplicateResult,
    DuplicateTrial,
    Result,
    Store,
    cell_key,
    result_id,
)
from harness.store.tables import schema


def test_what_goes_in_comes_out(store: Store, url: str) -> None:
    pruned = replace(TRIAL, number=2, state="pruned", value=None)
    failed = replace(TRIAL, number=1, state="failed", value=None, reason="NaN", curve={})
    store.add_trials([TRIAL, pruned, failed])
    store.add_trials([])
    store.add_result(RESULT)
    store.add_failure(FAILURE)
    again = Store(url)
    assert again.cells() == {CELL.key: CELL}
    assert again.trials(CELL.key) == again.trials() == [TRIAL, failed, pruned]
    assert type(again.trials()[0].params["prompts"]) is int
    assert again.trial_counts() == {CELL.key: {"complete": 1, "pruned": 1, "failed": 1}}
    assert again.failed_trials([CELL.key, "other"], 5) == ["NaN"]
    assert again.failed_trials([CELL.key], 0) == again.failed_trials([], 5) == []
    assert again.results() == again.results(CELL.key) == [RESULT]
    assert again.failures(CELL.key) == again.failures() == [FAILURE]
    assert again.trials("other") == again.results("other") == again.failures("other") == []


def test_no_extras_take_no_room(store: Store, url: str, raw) -> None:
    """NULL stands for the default of a column."""
    plain = replace(RESULT, seed=4, id=result_id(CELL.key, 4), extras={})
    store.add_results([RESULT, plain])
    assert store.results() == [RESULT, plain]
    assert store.extras() == {RESULT.id: RESULT.extras}
    assert raw(url, "select seed from results where extras is null") == [(4,)]


def test_results_come_in_the_order_they_were_stored(store: Store) -> None:
    seeds = [5, 0, 2**31 - 1, 1]
    for seed in seeds:
        store.add_result(replace(RESULT, seed=seed, id=result_id(CELL.key, seed)))
    assert [result.seed for result in store.results()] == seeds


def test_a_cell_again_takes_the_new_labels(store: Store) -> None:
    store.add_cell(replace(CELL, labels={"variant": "renamed"}))
    assert store.cells()[CELL.key] == replace(CELL, labels={"variant": "renamed"})
    with pytest.raises(ValueError, match="a different identity"):
        store.add_cell(replace(CELL, identity={}))


@pytest.mark.parametrize(
    "other",
    [replace(RESULT, id="0" * 12), replace(RESULT, seed=4), RESULT],
    ids=["cell and seed", "id", "both"],
)
def test_a_second_result_of_a_key_is_an_error(store: Store, other: Result) -> None:
    store.add_result(RESULT)
    with pytest.raises(DuplicateResult):
        store.add_result(replace(other, score=1.0))
    assert store.results() == [RESULT]


def test_results_are_added_all_or_none(store: Store) -> None:
    store.add_results([])
    store.add_result(RESULT)
    new = replace(RESULT, seed=4, id=result_id(CELL.key, 4))
    for clash in (RESULT, new):
        with pytest.raises(DuplicateResult, match=f"{clash.id} .* is already stored"):
            store.add_results([new, clash])
    assert [result.seed for result in store.results()] == [3]
    store.add_results([new, replace(RESULT, seed=5, id=result_id(CELL.key, 5))])
    assert [result.seed for result in store.results()] == [3, 4, 5]


def test_trials_are_added_all_or_none(store: Store) -> None:
    store.add_trials([TRIAL])
    with pytest.raises(DuplicateTrial):
        store.add_trials([replace(TRIAL, number=7), TRIAL])
    assert store.trials() == [TRIAL]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_only_finite_numbers(store: Store, value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        store.add_result(replace(RESULT, score=value))
    with pytest.raises(ValueError, match="JSON"):
        store.add_result(replace(RESULT, provenance={"loss": value}))
    with pytest.raises(ValueError, match="JSON"):
        store.add_trials([TRIAL, replace(TRIAL, number=1, curve={1: value})])
    assert store.results() == store.trials() == []


def test_rows_need_their_cell(store: Store) -> None:
    with pytest.raises(IntegrityError):
        store.add_result(replace(RESULT, cell="unknown"))
    with pytest.raises(IntegrityError):
        store.add_trials([replace(TRIAL, cell="unknown")])
    with pytest.raises(IntegrityError):
        store.add_failure(replace(FAILURE, cell="unknown"))


def test_failures_are_replaced_and_cleared(store: Store) -> None:
    store.add_failure(FAILURE)
    store.add_failure(replace(FAILURE, reason="bad \udcff name"))
    assert [failure.reason for failure in store.failures()] == ["bad ? name"]
    store.clear_failure(CELL.key, 1)
    store.clear_failure(CELL.key, 1)
    assert store.failures() == []


def test_result_by_prefix(store: Store) -> None:
    for seed, id in enumerate(["aa1111111111", "aa2222222222", "b_3333333333"]):
        store.add_result(replace(RESULT, seed=seed, id=id))
    assert store.result("b")[0].seed == 2
    assert store.result(" AA2")[1] == CELL
    with pytest.raises(BadInput, match=r"aa1111111111, aa2222222222\. Give more"):
        store.result("aa")
    for nothing in ("c", "", "%", "a_1"):
        with pytest.raises(BadInput, match=re.escape(f"no result '{nothing}' in {store.name}")):
            store.result(nothing)


IDS = [
    "3aa0",
    "3a09",
    "3ab1",
    "39ff",
    "aa11",
    "aaa1",
    "a0bc",
    "ba10",
    "9123",
    "ff00",
    "f0aa",
    "4a00",
]
IDS = [id + "00000000" for id in IDS]
ICU = "template template0 locale 'C' locale_provider icu icu_locale"


@pytest.mark.parametrize("collation", ["sqlite", "C", "en-US", "da"])
def test_a_prefix_is_a_range_of_an_index_in_any_collation(
    collation: str, request: pytest.FixtureRequest
) -> None:
    """Danish sorts "aa" behind "z"."""
    if collation == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('path')}"
    else:
        server = request.getfixturevalue("postgres")
        url = server.database("" if collation == "C" else f"{ICU} '{collation}'")
    store = Store(url)
    store.add([CELL], results=[replace(RESULT, id=id, seed=n) for n, id in enumerate(IDS)])
    statements = []

    def seen(connection, cursor, statement, parameters, *_) -> None:
        statements.append((statement, parameters))

    event.listen(sa.Engine, "before_cursor_execute", seen)
    try:
        for prefix in {id[:length] for id in IDS for length in range(1, 13)} | {"0", "c", "3aac"}:
            assert store.ids(prefix) == [id for id in IDS if id.startswith(prefix)], prefix
        statements.clear()
        store.ids("39")
    finally:
        event.remove(sa.Engine, "before_cursor_execute", seen)
    ((statement, parameters),) = [one for one in statements if "results" in one[0]]
    explain = "explain query plan " if collation == "sqlite" else "explain "
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        if collation != "sqlite":
            connection.exec_driver_sql("set enable_seqscan = off")
        plan = str(connection.exec_driver_sql(explain + statement, parameters).fetchall())
    served = (
        "(id>? AND id<?)" if collation == "sqlite" else "Index Cond: (((id)::text >= '39'::text)"
    )
    assert served in plan


def test_many_make_and_fill_a_store_at_once(url: str) -> None:
    def fill(seed: int) -> None:
        store = Store(url)
        store.add_cell(CELL)
        store.add_result(replace(RESULT, seed=seed, id=result_id(CELL.key, seed)))
        store.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, range(24)))
    assert sorted(result.seed for result in Store(url).results()) == list(range(24))


def test_a_later_version_is_refused(store: Store, url: str, raw) -> None:
    raw(url, f"update meta set value = '{SCHEMA + 1}' where name = 'schema'")
    for use in (Store(url).results, lambda: Store(url).add_failure(FAILURE), Store(url).migrate):
        with pytest.raises(
            BadInput, match=f"has schema {SCHEMA + 1}, but this harness knows {SCHEMA}: upgrade"
        ):
            use()
    assert raw(url, "select count(*) from failures") == [(0,)]


@pytest.mark.parametrize(
    "table", ["songs (name text)", "meta (name text)", "meta (name text, value text)"]
)
def test_another_programs_database_is_refused(url: str, raw, table: str) -> None:
    raw(url, f"create table {table}")
    for use in (Store(url).results, lambda: Store(url).add_cell(CELL), Store(url).migrate):
        with pytest.raises(BadInput, match="another program's database"):
            use()
    with pytest.raises(DBAPIError, match="cells"):
        raw(url, "select * from cells")


@pytest.mark.parametrize("url", ["", "nonsense://x", "://", "postgresql+nodriver://u:secret@h/d"])
def test_urls_that_mean_nothing(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        Store(url)
    assert "\n" not in str(caught.value)


PIECES = (
    "sqlite postgresql postgresql+psycopg mysql x+y :// :/// : @ / ? & = u h 5432 [::1] [ %40 % é"
    " sslmode uri=true file: .. # ; password="
)


@given(
    st.lists(st.sampled_from([*PIECES.split(), " ", "\0", "\n"]), max_size=12).map("".join),
    st.sampled_from(["", "sqlite://", "postgresql://", "postgres://u:hush@"]),
)
@example("?password=sqlite", "sqlite://")
@example("/a.db?bogus=1", "sqlite://")
def test_any_text_is_an_address_or_one_line(text: str, scheme: str) -> None:
    try:
        store = Store(scheme + text)
        assert store.checkpoints.name.endswith(".checkpoints")
        said = [store.name]
    except BadInput as error:
        said = str(error).split("\n")
    assert len(said) == 1
    assert "u:hush@" not in said[0]


def test_the_import_is_light() -> None:
    script = (
        "import sys, harness.store; print({'torch', 'ray', 'pandas', 'numpy', 'pydantic',"
        " 'alembic', 'psycopg'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "set()"
    )


def test_cells_come_in_the_order_they_were_added(store: Store) -> None:
    for key in ("b", "d", "a"):
        store.add_cell(replace(CELL, key=key))
    assert list(store.cells()) == [CELL.key, "b", "d", "a"]


@pytest.mark.parametrize(
    "dialect", [postgresql.dialect(), mysql.dialect()], ids=["postgresql", "mysql"]
)
def test_the_tables_are_portable(dialect: sa.Dialect) -> None:
    for table in schema.sorted_tables:
        statement = str(CreateTable(table).compile(dialect=dialect))
        assert " FLOAT" not in statement, "single precision in MySQL"


def test_rows_of_every_kind_are_added_all_or_none(store: Store) -> None:
    store.add_failure(replace(FAILURE, seed=3))
    store.add([replace(CELL, labels={}), OTHER], [TRIAL], [RESULT, THEIRS], [FAILURE])
    assert store.cells() == {
        CELL.key: CELL,
        OTHER.key: OTHER,
    }, "a cell that is there keeps its labels"
    assert (store.trials(), store.results()) == ([TRIAL], [RESULT, THEIRS])
    assert store.failures() == [FAILURE], "seed 3 is a result now"
    last = replace(CELL, key="e" * 64)
    clashes: tuple[dict[str, list[Any]], ...] = (
        {"trials": [TRIAL]},
        {"results": [replace(THEIRS, cell=last.key, id="0" * 12), RESULT]},
        {"failures": [FAILURE]},
    )
    for clash in clashes:
        with pytest.raises(Duplicate, match="clash"):
            store.add([last], **clash)
    with pytest.raises(ZeroDivisionError):
        store.add([last], (replace(TRIAL, number=1 // (4 - n)) for n in range(9)))
    assert (len(store.cells()), len(store.trials()), len(store.results())) == (2, 1, 2)


def test_removing_a_result_leaves_its_search_and_other_cells(store: Store) -> None:
    store.add(
        [OTHER],
        [TRIAL, replace(TRIAL, cell=OTHER.key)],
        [RESULT, THEIRS],
        [FAILURE, replace(FAILURE, cell=OTHER.key)],
    )
    assert store.remove([RESULT.id, "absent"]) == {
        "cells": 0,
        "trials": 0,
        "results": 1,
        "failures": 0,
    }
    assert (store.results(), list(store.cells())) == ([THEIRS], [CELL.key, OTHER.key])
    assert store.remove(failures=[(CELL.key, 1), (CELL.key, 7)]) == {
        "cells": 0,
        "trials": 0,
        "results": 0,
        "failures": 1,
    }
    assert store.remove(searches=[CELL.key, OTHER.key]) == {
        "cells": 1,
        "trials": 1,
        "results": 0,
        "failures": 0,
    }, "the other has a result"
    assert (list(store.cells()), len(store.trials()), store.results(), len(store.failures())) == (
        [OTHER.key],
        1,
        [THEIRS],
        1,
    )
    assert store.remove([THEIRS.id], searches=[OTHER.key]) == {
        "cells": 1,
        "trials": 1,
        "results": 1,
        "failures": 1,
    }
    assert store.cells() == {}


def test_a_cell_goes_with_its_last_row(store: Store) -> None:
    store.add([OTHER], [TRIAL], [RESULT, THEIRS], [FAILURE])
    assert store.remove([RESULT.id, THEIRS.id])["cells"] == 1
    assert list(store.cells()) == [CELL.key]


def test_a_cells_key_is_the_digest_of_its_identity() -> None:
    assert (
        cell_key({"b": 1.0, "a": [1]})
        == cell_key({"a": [1], "b": 1.0})
        == hashlib.sha256(b'{"a": [1], "b": 1.0}').hexdigest()
    )


def test_its_state_follows_its_rows(url: str) -> None:
    store = Store(url)
    steps = [
        lambda: store.add_cell(CELL),
        lambda: store.add_trials([TRIAL]),
        lambda: store.add_failure(FAILURE),
        lambda: store.add_result(RESULT),
    ]
    seen = [store.state()]
    for step in steps:
        step()
        assert store.state() == store.state()
        seen.append(store.state())
    assert len(set(seen)) == 5
    store.remove([RESULT.id])
    assert store.state() == seen[-2]
