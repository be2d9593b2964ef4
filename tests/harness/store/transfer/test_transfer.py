"""Rows from store to store: merged by identity, never over what is there; what a stranger may have
put into them isn't trusted."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import kept_store
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import DEEP, LINEAR, VPT, cell, everything, failure, file_of, filled, result, trial

from harness.errors import BadInput
from harness.reporting.leaderboard import leaderboard
from harness.reporting.rows import read
from harness.store import SCHEMA, Cell, Duplicate, Store, cell_key, result_id
from harness.store.transfer import exchange
from harness.store.transfer.merge import merge
from harness.store.transfer.sources import Source, sources
from harness.store.transfer.validate import checked


def imported(into: Store, *texts: str | Path) -> list[Any]:
    return [merge(into, source.rows()) for text in texts for source in sources(str(text), into)]


@pytest.fixture
def mine(tmp_path: Path) -> Store:
    return Store(tmp_path / "mine" / "mine.db")


@pytest.fixture
def theirs(tmp_path: Path) -> Store:
    return filled(tmp_path / "theirs.db")


@pytest.fixture
def file(theirs: Store, tmp_path: Path) -> Path:
    """What `theirs` exports."""
    exchange.write(exchange.of_store(theirs), tmp_path / "theirs.parquet")
    return tmp_path / "theirs.parquet"


@pytest.mark.parametrize("form", ["file", "url", "parquet"])
def test_a_store_comes_across_whole(theirs: Store, file: Path, mine: Store, form: str) -> None:
    source = {"file": file_of(theirs), "url": f"sqlite:///{file_of(theirs)}", "parquet": file}[form]
    (merged,) = imported(mine, source)
    assert everything(mine) == everything(theirs)
    assert (merged.cells, merged.trials, merged.results, merged.failures, merged.same) == (
        2,
        6,
        4,
        2,
        0,
    )
    assert str(merged) == "added 4 results, 6 trials, 2 cells, 2 failures; 0 results already there"


def test_an_exported_store_comes_back_to_the_letter(theirs: Store, file: Path, mine: Store) -> None:
    theirs.add_failure(failure(DEEP, 5, "line one\nline two"))
    theirs.add_result(result(DEEP, 2**31 - 1, 0.1 + 0.2, memory=2**40, units=1 / 3, curve={}))
    exchange.write(exchange.of_store(theirs), file)
    imported(mine, file)
    for table in ("cells", "trials", "results", "failures"):
        dumps = []
        for store in (theirs, mine):
            with sqlite3.connect(file_of(store)) as connection:
                dumps.append(connection.execute(f"select * from {table} order by 1, 2").fetchall())
            connection.close()
        assert dumps[0] == dumps[1], table


def test_a_file_made_before_is_read(mine: Store) -> None:
    """By a harness whose files had a number of their own, 2 when the store's was 3."""
    file = Path(__file__).parent / "exported-2.parquet"
    cells, trials, results, failed = kept_store.rows()
    (merged,) = imported(mine, file)
    assert (merged.cells, merged.trials, merged.results, merged.failures) == (3, 9, 6, 3)
    assert list(mine.cells().values()) == cells
    assert mine.trials() == sorted(trials, key=lambda row: (row.cell, row.number))
    assert mine.results() == results
    assert mine.failures() == sorted(failed, key=lambda row: row.cell)


def test_the_exported_file_is_a_plain_table(file: Path) -> None:
    table = pd.read_parquet(file)
    assert table["kind"].value_counts().to_dict() == {
        "trial": 6,
        "result": 4,
        "cell": 2,
        "failure": 2,
    }
    assert table[table["kind"] == "result"]["score"].tolist() == [90.0] * 4
    assert [path.name for path in file.parent.iterdir()] == ["theirs.db", "theirs.parquet"]


def test_the_same_again_changes_nothing(theirs: Store, file: Path, mine: Store) -> None:
    imported(mine, file_of(theirs))
    before = file_of(mine).read_bytes()
    for merged in imported(mine, file_of(theirs), file):
        assert str(merged) == "nothing new; 4 results already there"
        assert (merged.conflicts, merged.searches, len(merged.present)) == ([], [], 4)
    assert file_of(mine).read_bytes() == before


def test_other_methods_are_added_after_ours(theirs: Store, mine: Store) -> None:
    filled(file_of(mine), [LINEAR])
    imported(mine, file_of(theirs))
    assert list(mine.cells()) == [LINEAR.key, VPT.key, DEEP.key]
    assert [row.cell for row in mine.results()] == [LINEAR.key] * 2 + [VPT.key] * 2 + [DEEP.key] * 2


@pytest.mark.parametrize("other", [{"score": 91.5}, {"logits_sha256": "f" * 64}])
def test_a_contradiction_is_told_and_the_rest_is_merged(
    theirs: Store, mine: Store, other: dict[str, Any]
) -> None:
    ours = result(VPT, 7, **{"provenance": {"device": "a GPU"}, **other})
    mine.add([replace(VPT, labels={**VPT.labels, "note": "ours"})], results=[ours])
    (merged,) = imported(mine, file_of(theirs))
    assert [str(conflict) for conflict in merged.conflicts] == [
        f"conflict, ours is kept: vpt on digits, seed 7 ({ours.id}): here {ours.score:.2f}, logits"
        f" {ours.logits_sha256[:12]} (a GPU, 2026-01-02); there 90.00, logits {'e' * 12} (cpu, a"
        " processor, torch 2.9, 2026-01-02)"
    ]
    assert mine.results(VPT.key) == [ours, result(VPT, 0)]
    assert mine.results(DEEP.key) == [result(DEEP, 7), result(DEEP, 0)]
    assert mine.cells()[VPT.key].labels["note"] == "ours"
    assert ours.id not in [row.id for row in merged.present]


def test_another_provenance_of_the_same_logits_is_no_contradiction(
    theirs: Store, mine: Store
) -> None:
    mine.add([VPT], results=[result(VPT, 7, provenance={"device": "a GPU"}, seconds=9.0)])
    (merged,) = imported(mine, file_of(theirs))
    assert (merged.conflicts, merged.same, merged.results) == ([], 1, 3)


def test_a_search_is_taken_whole_or_not_at_all(theirs: Store, mine: Store) -> None:
    mine.add([VPT], [trial(VPT, 0, 12.0)])
    (merged,) = imported(mine, file_of(theirs))
    assert mine.trials(VPT.key) == [trial(VPT, 0, 12.0)]
    assert mine.trials(DEEP.key) == theirs.trials(DEEP.key)
    assert merged.searches == [
        "vpt on digits: their search differs (3 trials there, 1 here): ours is kept"
    ]


def test_failures_give_way_to_results(theirs: Store, mine: Store) -> None:
    mine.add([VPT], results=[result(VPT, 3)], failures=[failure(VPT, 7, "ours")])
    imported(mine, file_of(theirs))
    assert mine.failures() == [failure(DEEP, 3)]
    assert {row.seed for row in mine.results(VPT.key)} == {0, 3, 7}


def test_a_folder_is_all_its_stores(tmp_path: Path, theirs: Store, file: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    mine = filled(folder / "mine.db", [LINEAR])
    filled(folder / "b.db", [DEEP])
    shutil.move(file, folder / "a.parquet")
    pd.DataFrame({"song": ["x"]}).to_parquet(folder / "music.parquet")
    (folder / "notes.txt").write_text("not one of them")
    found = list(sources(str(folder), mine))
    assert [Path(str(source.file)).name for source in found] == ["a.parquet", "b.db"]
    assert [str(merged).partition(";")[0] for merged in imported(mine, folder)] == [
        "added 4 results, 6 trials, 2 cells, 2 failures",
        "nothing new",
    ]


@pytest.mark.parametrize(
    "text", ["absent.db", "empty folder", "sqlite:///absent.db", "nonsense://x", "mine/mine.db"]
)
def test_a_source_that_is_none_is_said(
    tmp_path: Path, mine: Store, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty folder").mkdir()
    mine.add([VPT])
    with pytest.raises(BadInput) as caught:
        list(sources(text, mine))
    assert "\n" not in str(caught.value)


def sql(statement: str, *values: Any) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("pragma foreign_keys=off")
            connection.execute(statement, values)
        connection.close()

    return spoil


BROKEN = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:9000]),
    "zero bytes": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("a letter to a friend\n" * 400),
    "overwritten": lambda path: path.write_bytes(
        path.read_bytes()[:4096] + bytes(range(256)) * 16 + path.read_bytes()[8192:]
    ),
    "no tables": lambda path: (path.unlink(), sql("select 1")(path)),
    "another program's": lambda path: (path.unlink(), sql("create table songs (name text)")(path)),
    "another's with odd names": lambda path: (
        path.unlink(),
        sql('create table "songs\n\x1b[31m" (name text)')(path),
    ),
    "another schema": sql(f"update meta set value = '{SCHEMA + 1}' where name = 'schema'"),
    "no schema": sql("delete from meta where name = 'schema'"),
    "a tampered identity": sql(
        "update cells set identity = replace(identity, '\"cls\"', '\"avg\"')"
    ),
    "a key that is no digest": sql("update cells set key = 'abc' where row = 1"),
    "an identity that lacks the method": sql(
        "update cells set identity = '{}', key = ? where row = 1", cell_key({})
    ),
    "an identity that is a list": sql("update cells set identity = '[1]'"),
    "labels of another type": sql("update cells set labels = json_set(labels, '$.variant', 3)"),
    "labels that are a list": sql("update cells set labels = '[]'"),
    "labels without a suite": sql("update cells set labels = json_remove(labels, '$.suite')"),
    "a score that isn't finite": sql("update results set score = 9e999"),
    "a score of 101": sql("update results set score = 101"),
    "a score in words": sql("update results set score = 'ninety'"),
    "a score that is a blob": sql("update results set score = x'00'"),
    "NaN in the parameters": sql("update results set params = '{\"base_lr\": NaN}'"),
    "infinity in a curve": sql("update results set curve = '{\"1\": Infinity}'"),
    "a curve by letters": sql("update results set curve = '{\"a\": 1}'"),
    "parameters that are no JSON": sql("update results set params = '{'"),
    "parameters that are very deep": sql(
        "update results set params = ?", '{"a":' + "[" * 5000 + "]" * 5000 + "}"
    ),
    "a huge number": sql("update results set provenance = ?", '{"a": ' + "9" * 5000 + "}"),
    "extras that are a list": sql("update results set extras = '[]'"),
    "NaN in the extras": sql("update results set extras = '{\"miou\": NaN}'"),
    "a negative seed": sql("update results set seed = -1 where seed = 0"),
    "a date in words": sql("update results set created = 'yesterday'"),
    "a date elsewhere": sql("update results set created = '2026-01-01T00:00:00+02:00'"),
    "logits that are no digest": sql("update results set logits_sha256 = '../../etc'"),
    "a result of no cell": sql("update results set cell = ? where row = 1", "0" * 64),
    "a trial of no cell": sql(
        "update trials set cell = ? where number = 0 and cell = ?", "0" * 64, VPT.key
    ),
    "a state of its own": sql("update trials set state = 'won'"),
    "a failure without a time": sql("update failures set created = ''"),
    "a text too long": sql("update failures set reason = ?", "x" * 1_100_000),
    "a column short": sql("alter table results drop column units"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_store_changes_nothing(theirs: Store, mine: Store, name: str) -> None:
    theirs.close()
    BROKEN[name](file_of(theirs))
    refused(mine, file_of(theirs))
    assert not file_of(mine).exists()
    before = everything(filled(file_of(mine), [LINEAR]))
    refused(mine, file_of(theirs))
    assert everything(mine) == before


def refused(into: Store, file: Path) -> None:
    """One line that names the file."""
    with pytest.raises(BadInput) as caught:
        imported(into, file)
    said = str(caught.value)
    assert "\n" not in said
    assert str(file) in said
    assert len(said) < 500


def _table(file: Path) -> pa.Table:
    return pq.read_table(file)


def spoiled(
    change: Callable[[dict[str, Any]], Any], kind: str = "result"
) -> Callable[[Path], None]:
    """The exported file with a change to the first row of a kind."""

    def spoil(file: Path) -> None:
        table = _table(file)
        listed = table.to_pylist()
        row = next(row for row in listed if row["kind"] == kind)
        listed += [new] if isinstance(new := change(row), dict) else []
        pq.write_table(pa.Table.from_pylist(listed, schema=table.schema), file)

    return spoil


def with_metadata(**metadata: str) -> Callable[[Path], None]:
    return lambda file: pq.write_table(_table(file).replace_schema_metadata(metadata), file)


BROKEN_FILES = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-40]),
    "cut at the front": lambda file: file.write_bytes(file.read_bytes()[40:]),
    "zero bytes": lambda file: file.write_bytes(b""),
    "bytes changed": lambda file: file.write_bytes(
        file.read_bytes()[:100] + b"\xff" * 300 + file.read_bytes()[400:]
    ),
    "another program's": lambda file: pd.DataFrame({"song": ["x"]}).to_parquet(file),
    "a later schema": with_metadata(format="vpt-harness results", schema=str(SCHEMA + 1)),
    "an earlier schema": with_metadata(format="vpt-harness results", schema="1"),
    "no schema": with_metadata(format="vpt-harness results"),
    "another format": with_metadata(format="songs", schema="1"),
    "a column short": lambda file: pq.write_table(_table(file).drop_columns(["units"]), file),
    "a column of objects": lambda file: pq.write_table(
        _table(file)
        .set_column(5, "seed", pa.array([{"a": 1}] * 14))
        .replace_schema_metadata(_table(file).schema.metadata),
        file,
    ),
    "a kind of its own": spoiled(lambda row: row.update(kind="song")),
    "not finite": spoiled(lambda row: row.update(score=float("nan"))),
    "infinite seconds": spoiled(lambda row: row.update(seconds=float("inf"))),
    "no score": spoiled(lambda row: row.update(score=None)),
    "no JSON": spoiled(lambda row: row.update(params=None)),
    "tampered": spoiled(
        lambda row: row.update(identity=row["identity"].replace("cls", "avg")), "cell"
    ),
    "a label of another type": spoiled(
        lambda row: row.update(labels=json.dumps({**json.loads(row["labels"]), "suite": ["mini"]})),
        "cell",
    ),
    "a result twice": spoiled(lambda row: dict(row)),
    "a trial twice": spoiled(lambda row: dict(row), "trial"),
    "a cell twice": spoiled(lambda row: dict(row), "cell"),
    "a failure twice": spoiled(lambda row: dict(row), "failure"),
    "a text too long": spoiled(
        lambda row: row.update(provenance=json.dumps({"a": "x" * 1_100_000}))
    ),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_file_changes_nothing(file: Path, mine: Store, name: str) -> None:
    BROKEN_FILES[name](file)
    refused(mine, file)
    assert not file_of(mine).exists()


def test_a_text_repeated_is_refused_by_its_length_not_read_over_and_over(
    file: Path, mine: Store
) -> None:
    def repeat(row: dict[str, Any]) -> None:
        row["params"] = json.dumps({"a": "x" * 2_000_000})

    spoiled(repeat)(file)
    one = _table(file)
    pq.write_table(pa.concat_tables([one] * 300), file, dictionary_pagesize_limit=10_000_000)
    assert file.stat().st_size < 1_000_000
    with pytest.raises(BadInput, match=r"2,000,009 bytes in params"):
        imported(mine, file)


def test_control_characters_in_labels_are_taken_out(mine: Store) -> None:
    odd = cell(note="a\x1b[31mred\u202e", variant="vpt\n\x9b2J")
    rows = checked(exchange.StoreRows([odd], [], [], []), "theirs")
    merge(mine, rows)
    assert mine.cells()[odd.key].labels["note"] == "a [31mred "
    assert mine.cells()[odd.key].labels["variant"] == "vpt 2J"


def test_ids_follow_from_cell_and_seed_whatever_the_source_says(theirs: Store, mine: Store) -> None:
    sql("update results set id = '000000000000' where seed = 0 and cell = ?", VPT.key)(
        file_of(theirs)
    )
    imported(mine, file_of(theirs))
    assert [row.id for row in mine.results()] == [
        result_id(row.cell, row.seed) for row in mine.results()
    ]


def test_a_run_that_writes_meanwhile_is_waited_out(
    theirs: Store, mine: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = mine.add, []

    def add(*given: Any) -> None:
        calls.append(given)
        if len(calls) == 1:
            real([VPT], results=[result(VPT, 0)])
        real(*given)

    monkeypatch.setattr(mine, "add", add)
    (merged,) = imported(mine, file_of(theirs))
    assert (len(calls), merged.results, merged.same) == (2, 3, 1)

    def never(*_: Any) -> None:
        raise Duplicate

    monkeypatch.setattr(mine, "add", never)
    filled(file_of(theirs), [LINEAR])
    with pytest.raises(BadInput, match="by another process"):
        imported(mine, file_of(theirs))


def test_the_source_is_left_as_it_was(theirs: Store, mine: Store, tmp_path: Path) -> None:
    theirs.close()
    before = file_of(theirs).read_bytes()
    imported(mine, file_of(theirs))
    assert file_of(theirs).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "theirs.db"]


def test_old_results_taken_in_later_hide_nothing_newer(theirs: Store, mine: Store) -> None:
    identity = {**VPT.identity, "method": {**VPT.identity["method"], "version": "2"}}
    newer = Cell(cell_key(identity), identity, VPT.labels)
    mine.add([newer], results=[result(newer, 0, 95.0, created="2026-02-01T00:00:00+00:00")])
    imported(mine, file_of(theirs))
    digits = {result.task: result for result in leaderboard(read(mine))}["digits"]
    assert (digits.cell.version, digits.mean, digits.superseded) == ("2", 95.0, 2)


def test_exporting_replaces_an_export_and_nothing_else(
    theirs: Store, file: Path, tmp_path: Path
) -> None:
    found = exchange.of_store(theirs, [DEEP.key])
    exchange.write(found, file)
    assert exchange.read(file) == found
    assert (
        [one.key for one in found.cells],
        len(found.trials),
        len(found.results),
        len(found.failures),
    ) == ([DEEP.key], 3, 2, 1)
    pd.DataFrame({"song": ["x"]}).to_parquet(tmp_path / "music.parquet")
    (tmp_path / "thesis.parquet").write_text("chapter one")
    for name, message in {
        "music.parquet": "isn't an exported store",
        "thesis.parquet": "can't be read as parquet",
        "a.csv": "name it a.parquet",
        "nowhere/a.parquet": "can't write",
    }.items():
        with pytest.raises(BadInput, match=message):
            exchange.write(found, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "music.parquet",
        "theirs.db",
        "theirs.parquet",
        "thesis.parquet",
    ]


def test_a_source_says_where_its_checkpoints_would_be(tmp_path: Path) -> None:
    assert Source("a.parquet", tmp_path / "a.parquet").checkpoints == tmp_path / "a.checkpoints"
    assert Source("postgresql://h/d", None).checkpoints is None
