"""`harness store check` and `migrate`: every kind of fault is found and told, what is sound has
none, nothing is changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kept_store
import numpy as np
import pytest
from made_up import DEEP, VPT, everything, failure, filled, result, trial
from safetensors.numpy import save_file

from harness.errors import BadInput
from harness.store import SCHEMA, Store, result_id
from harness.store.check import check
from harness.store.tables import schema as tables

GONE, OTHER_ID = "0" * 64, "0" * 12


@pytest.fixture
def sound(url: str) -> Store:
    """Two cells with trials, results and failures, one of them leased."""
    store = Store(url)
    for cell in (VPT, DEEP):
        trials = [
            trial(cell, 0),
            trial(cell, 1, None),
            trial(cell, 2, None, state="pruned", reason=None),
        ]
        store.add([cell], trials, [result(cell, 7), result(cell, 0)], [failure(cell, 3)])
    store.lease([VPT.key], "a driver", 60)
    return store


def test_a_sound_store_has_no_fault(sound: Store) -> None:
    found = check(sound)
    assert (found.schema, found.faults, found.notes) == (SCHEMA, [], [])
    assert found.counts == {
        "cells": 2,
        "trials": 6,
        "results": 4,
        "failures": 2,
        "leases": 1,
        "checkpoints": 0,
    }


def test_a_store_that_isnt_there_is_said(url: str) -> None:
    with pytest.raises(BadInput, match="there is no store"):
        check(Store(url))


FAULTS = {
    "update cells set identity = replace(identity, '\"cls\"', '\"avg\"') where row = 1": (
        "its key isn't the digest of its identity"
    ),
    "update cells set identity = '{}' where row = 1": "identity.method: Field required",
    "update cells set labels = '[]' where row = 1": "labels: Input should be a valid dictionary",
    "update cells set labels = '{' where row = 1": f"cell {VPT.key}: ",
    "update results set id = '000000000000' where row = 1": (
        "result 000000000000: its id doesn't follow from its cell"
    ),
    "update results set score = 101 where row = 1": "score is 101.0: Input should be less than",
    'update results set score = 99.5, curve = \'{"9": 61.5, "10": 60.5}\' where row = 1': (
        "its score 99.5 isn't the last of its curve, 60.5"
    ),
    "update results set seconds = -1 where row = 1": "seconds is -1.0: Input should be greater",
    "update results set seed = -1 where row = 1": "seed is -1: Input should be greater",
    "update results set logits_sha256 = 'x' where row = 1": "logits_sha256 is 'x': String should",
    "update results set created = 'today' where row = 1": "created is 'today': ",
    "update results set params = '{\"base_lr\": NaN}' where row = 1": "params: Out of range float",
    "update results set extras = '{\"miou\": 1e999}' where row = 1": "extras: Out of range float",
    "update results set curve = '{\"1\": Infinity}' where row = 1": "curve.1 is inf: ",
    'update results set curve = \'{"1": "a"}\' where row = 1': "curve.1 is 'a': ",
    "update results set curve = '{\"a\": 1.0}' where row = 1": "invalid literal",
    "update trials set state = 'won' where number = 0": "state is 'won': Input should be",
    "update trials set value = null where number = 0": "it is complete, but has no value",
    "update trials set value = 3 where number = 1": "it is failed, but has a value",
    "update trials set units = -1 where number = 1": "units is -1.0: Input should be greater",
    "update failures set seed = -1 where seed = 3": "failure with seed -1 of cell",
    "update leases set owner = ''": "it has no owner, or no end",
    "update leases set expires = 9e99": "it has no owner, or no end",
}


@pytest.mark.parametrize("statement", FAULTS)
def test_a_fault_is_found(sound: Store, url: str, raw, statement: str) -> None:
    raw(url, statement)
    found = check(sound)
    assert any(FAULTS[statement] in fault for fault in found.faults), found.faults
    assert all("\n" not in fault for fault in found.faults)


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_a_number_that_isnt_finite_is_found(sound: Store, url: str, raw, value: str) -> None:
    if url.startswith("sqlite"):
        value = "9e999"  # which has no NaN
    raw(
        url,
        f"update results set units = {value if url.startswith('sqlite') else repr(value)} where"
        " row = 1",
    )
    assert any("units is" in fault for fault in check(sound).faults)


ORPHANS = {
    "trials": f"update trials set cell = '{GONE}' where number = 0 and cell = '{VPT.key}'",
    "results": f"update results set cell = '{GONE}' where row = 1",
    "failures": f"update failures set cell = '{GONE}' where cell = '{VPT.key}'",
    "leases": f"update leases set cell = '{GONE}'",
}


@pytest.mark.parametrize("table", ORPHANS)
def test_a_row_of_no_cell_is_found(sound: Store, url: str, raw, table: str) -> None:
    """With foreign keys off, as another program may have them."""
    if not url.startswith("sqlite"):
        raw(url, f"alter table {table} drop constraint {table}_cell_fkey")
    raw(url, ORPHANS[table])
    assert any(f"there is no cell {GONE}" in fault for fault in check(sound).faults)


DOUBLES = {
    "cells": (
        "insert into cells (row, key, identity, labels) select row + 100, key, identity, labels"
        " from cells"
    ),
    "results": "insert into results select row + 100, {} from results",
    "trials": "insert into trials select * from trials",
    "failures": "insert into failures select * from failures",
    "leases": "insert into leases select * from leases",
}


@pytest.mark.parametrize("table", DOUBLES)
def test_a_row_that_is_there_twice_is_found(sound: Store, url: str, raw, table: str) -> None:
    columns = ", ".join(
        column.name for column in tables.tables[table].columns if column.name != "row"
    )
    if url.startswith("sqlite"):  # a table without its constraints, under the same name
        raw(url, f"create table loose as select * from {table}")
        raw(url, f"drop table {table}")
        raw(url, f"alter table loose rename to {table}")
    else:
        for (name,) in raw(
            url, f"select conname from pg_constraint where conrelid = '{table}'::regclass"
        ):
            raw(url, f'alter table {table} drop constraint "{name}" cascade')
    raw(url, DOUBLES[table].format(columns))
    assert any(f"{table}: " in fault and "more than once" in fault for fault in check(sound).faults)


def test_a_damaged_file_is_found(path: Path) -> None:
    store = filled(path)
    for seed in range(100, 300):
        store.add_result(result(VPT, seed))
    whole = path.read_bytes()
    path.write_bytes(whole[:-12288] + bytes(4096) + whole[-8192:])
    try:
        assert any(fault.startswith("the file: ") for fault in check(store).faults)
    except BadInput as error:
        assert "malformed" in str(error)  # noqa: PT017


def test_what_a_killed_run_leaves_is_no_fault(sound: Store, url: str, raw) -> None:
    raw(url, "update leases set expires = expires - 1000")
    raw(url, "update failures set seed = 7")
    found = check(sound)
    assert found.faults == []
    assert found.notes == [
        "2 failures with a later result",
        "1 lease of drivers that are gone; the next run will take over their cells",
    ]


def checkpoint(folder: Path, name: str, **origin: Any) -> Path:
    folder.mkdir(exist_ok=True)
    row = result(VPT, 7)
    said = {"id": row.id, "cell": row.cell, "seed": 7, "logits_sha256": row.logits_sha256, **origin}
    save_file(
        {"prompt": np.zeros(3, np.float32)},
        folder / f"{name}.safetensors",
        {"format": "x", "origin": json.dumps(said)},
    )
    return folder / f"{name}.safetensors"


CHECKPOINTS: dict[str, Callable[[Path, str], Any]] = {
    "no result of that name": lambda folder, id: checkpoint(folder, OTHER_ID, cell=DEEP.key),
    "from a different run": lambda folder, id: checkpoint(folder, id, logits_sha256="f" * 64),
    "a different run than": lambda folder, id: checkpoint(folder, id, seed=8),
    "can't be read": (
        lambda folder, id: checkpoint(folder, id).write_bytes(
            checkpoint(folder, id).read_bytes()[:-4]
        )
    ),
    "checkpoint odd": lambda folder, id: save_file(
        {"a": np.zeros(1)}, checkpoint(folder, id).with_name("odd.safetensors")
    ),
}


@pytest.mark.parametrize("says", CHECKPOINTS)
def test_a_checkpoint_that_belongs_to_no_row_is_found(path: Path, says: str) -> None:
    store = filled(path)
    id = result_id(VPT.key, 7)
    checkpoint(store.checkpoints, id)
    assert (check(store).faults, check(store).counts["checkpoints"]) == ([], 1)
    CHECKPOINTS[says](store.checkpoints, id)
    assert [says in fault for fault in check(store).faults] == [True]


def test_checkpoints_of_work_that_goes_on_are_no_fault(path: Path) -> None:
    store = filled(path)
    checkpoint(store.checkpoints, OTHER_ID)
    (store.checkpoints / "a.safetensors.123.tmp").touch()
    store.lease([VPT.key], "a driver", 60)
    found = check(store)
    assert found.faults == []
    assert [note.partition(" in ")[0].partition(" (")[0] for note in found.notes] == [
        "1 checkpoint",
        "1 unfinished checkpoint",
    ]


def test_the_command_tells_and_exits_with_1(url: str, sound: Store, raw, harness) -> None:
    done = harness("store", "check", "--store", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout
        == f"{sound.name}: schema {SCHEMA}, 2 cells, 6 trials, 4 results, 2 failures, 1 lease, 0"
        " checkpoints\nNo faults.\n"
    )
    before = everything(sound)
    raw(url, "update results set score = 101")
    done = harness("store", "check", "--store", url)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("fault: result ") == 4
    assert done.stdout.endswith("4 faults.\n")
    raw(url, "update results set score = 90")
    assert everything(sound) == before


def test_migrate_says_what_it_did(
    tmp_path: Path, next_harness: Path, monkeypatch: pytest.MonkeyPatch, harness
) -> None:
    shutil.copy(kept_store.FILE, tmp_path / "old.db")
    monkeypatch.setenv("PYTHONPATH", str(next_harness))
    printed = [harness("store", "migrate", "--store", "old.db", cwd=tmp_path) for _ in range(2)]
    assert [done.returncode for done in printed] == [0, 0]
    assert (
        printed[0].stdout
        == f"the store old.db was migrated from schema {kept_store.OLD} to {SCHEMA + 1}; a copy of"
        f" the old one is old.db.before-{SCHEMA + 1}.\n"
    )
    assert printed[1].stdout == f"old.db is up to date: schema {SCHEMA + 1}.\n"
    done = harness("store", "migrate", "--store", "absent.db", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "harness: there is no store absent.db.\n")
    assert not (tmp_path / "absent.db").exists()
