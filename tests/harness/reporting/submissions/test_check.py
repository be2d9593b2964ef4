"""What is refused, by the name of its rule, and what is only noted."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import VPT, result
from submitted import filled, first, forged, record_of, seal, sent, sound

from harness.errors import BadInput
from harness.reporting.submissions import checkpoints, folder
from harness.reporting.submissions.check import check_all
from harness.reporting.submissions.checkpoints import Checkpoint
from harness.reporting.submissions.pages.marks import marks_of
from harness.store import Cell, Store, cell_key, result_id
from harness.store.transfer.exchange import StoreRows


def faults(path: Path, board: Path | None = None) -> list[str]:
    (outcome,) = check_all(path, board)
    return list(map(str, outcome.faults))


def notes(path: Path, board: Path | None = None) -> list[str]:
    (outcome,) = check_all(path, board)
    assert outcome.faults == []
    return list(map(str, outcome.notes))


def test_a_sound_one_has_neither_faults_nor_notes(ada: Path) -> None:
    (outcome,) = check_all(ada)
    assert (outcome.faults, outcome.notes) == ([], [])


def _cells(rows: StoreRows, change: Callable[[Any], Any]) -> StoreRows:
    """The rows with the first cell's identity changed, and its key and ids as they follow."""
    old = rows.cells[0]
    identity = change(json.loads(json.dumps(old.identity)))
    new = replace(old, identity=identity, key=cell_key(identity))

    def moved(row: Any) -> Any:
        if row.cell != old.key:
            return row
        more = {"id": result_id(new.key, row.seed)} if hasattr(row, "id") else {}
        return replace(row, cell=new.key, **more)

    return StoreRows(
        [new, *rows.cells[1:]], [*map(moved, rows.trials)], [*map(moved, rows.results)], []
    )


def _train_on_test(identity: dict[str, Any]) -> dict[str, Any]:
    identity["protocol"]["train_on"] = "train+val+test"
    return identity


def _another_card(identity: dict[str, Any]) -> dict[str, Any]:
    identity["task"]["card"] = "c" * 64
    return identity


def _labels(rows: StoreRows, **labels: Any) -> StoreRows:
    cell = rows.cells[0]
    return replace(rows, cells=[replace(cell, labels={**cell.labels, **labels}), *rows.cells[1:]])


def _trial(rows: StoreRows, **changes: Any) -> StoreRows:
    """The rows with the first trial of the first cell changed."""
    chosen = next(row for row in rows.trials if row.cell == rows.cells[0].key)
    others = [row for row in rows.trials if row is not chosen]
    return replace(rows, trials=[replace(chosen, **changes), *others])


FORGED = {
    "an id that doesn't follow": (
        lambda rows: first(rows, id="0" * 12),
        "identity: result 000000000000: its id doesn't follow from its cell",
    ),
    "a seed that was changed": (
        lambda rows: first(rows, seed=5),
        "its id doesn't follow from its cell .* and seed 5",
    ),
    "an identity that was changed": (
        lambda rows: replace(
            rows,
            cells=[
                replace(rows.cells[0], identity=_train_on_test({**rows.cells[0].identity})),
                *rows.cells[1:],
            ],
        ),
        "identity: cell [0-9a-f]{64}: its key isn't the digest of its identity",
    ),
    "a row twice": (
        lambda rows: replace(rows, results=[*rows.results, rows.results[0]]),
        "schema: rows.parquet: result .* occurs twice",
    ),
    "a row of no cell": (
        lambda rows: replace(rows, cells=rows.cells[1:]),
        "schema: .* there is no such cell",
    ),
    "a score above 100": (
        lambda rows: first(rows, score=140.0, curve={10: 140.0}),
        "schema: .* score is 140.0: Input should be less than or equal to 100",
    ),
    "a score that is no count": (
        lambda rows: first(rows, score=93.7, curve={10: 93.7}),
        r"score: vpt on digits, seed 0 .* its score 93.7 isn't a count of the 600 test images",
    ),
    "a score beside its curve": (
        lambda rows: first(rows, score=95.0),
        r"schema: .* its score 95 isn't the last of its curve, 41.6667",
    ),
    "training on test": (
        lambda rows: _cells(rows, _train_on_test),
        r"leak: vpt on digits: final runs train on 'train\+val\+test'",
    ),
    "test images in train": (
        lambda rows: _labels(rows, overlap={"images": 3, "of": 600, "expected": 3}),
        "leak: vpt on digits: 3 test images are in train or val too, and its card expects none",
    ),
    "tuning on test": (
        lambda rows: _trial(rows, value=100 * 551 / 600),
        "leak: vpt on digits: trial 0 was scored on test: 91.8333 of 600 images",
    ),
    "tuning that is pruned on test": (
        lambda rows: _trial(rows, curve={5: 100 * 551 / 600}),
        "leak: vpt on digits: trial 0 was scored on test",
    ),
    "a trial that is no count": (
        lambda rows: _trial(rows, value=74.03),
        "leak: vpt on digits: trial 0: 74.03 isn't a count of the 80 val images",
    ),
    "a point that val didn't choose": (
        lambda rows: first(rows, params=rows.trials[1].params),
        "leak: vpt on digits, seed 0 .* aren't those of trial 0, which val chose",
    ),
    "another task of that name": (
        lambda rows: _cells(rows, _another_card),
        "identity: task digits isn't the one of that name",
    ),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_row_is_refused_by_name(ada: Path, forgery: str) -> None:
    change, said = FORGED[forgery]
    forged(ada, change)
    found = faults(ada)
    assert len(found) == 1, found
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(found[0])


def test_what_was_changed_without_sealing_is_told(ada: Path) -> None:
    text = (ada / "submission.toml").read_text()
    forged(ada, lambda rows: first(rows, logits_sha256="f" * 64))
    (ada / "submission.toml").write_text(text)
    assert faults(ada) == [
        "file: rows.parquet isn't the file that submission.toml names: it was changed"
    ]
    (ada / "rows.parquet").unlink()
    assert faults(ada)[0].startswith("schema: ")


def test_a_changed_logits_hash_is_refused_by_its_checkpoint(ada: Path, store: Store) -> None:
    row = store.results()[0]
    hashes = {row.id: Checkpoint(10, "a" * 64, row.logits_sha256)}
    checkpoints.write(ada / "checkpoints.csv", hashes)
    seal(ada)
    assert faults(ada) == []
    forged(ada, lambda rows: first(rows, logits_sha256="f" * 64))
    assert faults(ada) == [
        f"logits: vpt on digits, seed 0 ({row.id}): its logits hash ffffffffffff isn't the one that"
        f" its checkpoint names, {row.logits_sha256[:12]}"
    ]


def test_rows_that_were_accepted_stay_as_they_are(
    ada: Path, board: Path, store: Store, tmp_path: Path
) -> None:
    """By what the board has, which a pull request is checked against."""
    row = store.results()[0]
    later = tmp_path / "later"
    sent(later, "ada", store)
    assert faults(later / "ada", board) == []
    forged(later / "ada", lambda rows: first(rows, logits_sha256="f" * 64))
    assert faults(later / "ada", board) == [
        f"logits: vpt on digits, seed 0 ({row.id}): its logits hash was {row.logits_sha256[:12]}"
        " when it was accepted, and is ffffffffffff now"
    ]
    sent(later, "ada", store, cells=list(store.cells())[1:])
    assert [fault.partition(" (")[0] for fault in faults(later / "ada", board)] == [
        "logits: vpt on digits, seed 0",
        "logits: vpt on digits, seed 1",
    ]


def test_somebody_elses_run_isnt_ones_own(ada: Path, board: Path, store: Store) -> None:
    sent(board, "ben", store, "Ben Example")
    of_ada, of_ben = check_all(board)
    assert of_ada.faults == []
    assert [fault.rule for fault in of_ben.faults] == ["copy"] * 6
    assert str(of_ben.faults[0]).endswith("is the run that ada has sent")


def test_the_same_cell_measured_by_two_is_told_where_they_differ(
    ada: Path, board: Path, tmp_path: Path, cells
) -> None:
    sent(board, "ben", filled(tmp_path / "b.db", cells[:1], right=253), "Ben Example")
    _, of_ben = check_all(board)
    assert of_ben.faults == []
    assert [str(note).partition(" here")[0] for note in of_ben.notes] == [
        f"outlier: vpt on digits, seed {seed} ({result(cells[0], seed).id}): {score}"
        for seed, score in ((0, "42.17"), (1, "42.33"))
    ]
    assert "and 41.67 in ada, with other logits" in str(of_ben.notes[0])


def test_what_is_out_of_line_is_told(ada: Path, board: Path, tmp_path: Path, cells) -> None:
    far = filled(tmp_path / "b.db", [cells[0], sound("gate-vpt", "digits")], (7,), right=590)
    sent(board, "ben", far, "Ben Example")
    _, of_ben = check_all(board)
    assert of_ben.faults == []
    assert list(map(str, of_ben.notes)) == [
        "outlier: vpt on digits: 98.33, but 41.75 with the seeds that are known",
        "outlier: vpt on digits: 98.33, and the best that is known there is 41.75",
        "outlier: gate-vpt on digits: 98.33, and the best that is known there is 41.75",
    ]


def test_other_data_and_weights_of_a_name_are_told(ada: Path, board: Path, tmp_path: Path) -> None:
    cell = sound("lora")
    identity = {
        **cell.identity,
        "task": {**cell.identity["task"], "data": "1" * 64},
        "backbone": {**cell.identity["backbone"], "sha256": "2" * 64},
    }
    other = replace(cell, identity=identity, key=cell_key(identity))
    sent(board, "ben", filled(tmp_path / "b.db", [other]), "Ben Example")
    assert list(map(str, check_all(board)[1].notes)) == [
        "outlier: other data of digits than the board's: 111111111111",
        "outlier: other weights of mini_vit than the board's: 222222222222",
    ]


def test_a_number_far_from_the_papers_is_told(board: Path, tmp_path: Path) -> None:
    """VPT-Deep's on CIFAR-100 is printed as 78.8."""
    cell = sound("vpt-deep", "cifar100", suite="vtab")
    name = "vit_base_patch16_224.orig_in21k"
    for right, said in ((7900, []), (9000, ["outlier: vpt-deep on cifar100: 90.00, and paper"])):
        identity = {**cell.identity, "backbone": {**cell.identity["backbone"], "name": name}}
        of_paper = replace(cell, identity=identity, key=cell_key(identity))
        store = filled(tmp_path / f"{right}.db", [of_paper], (0,), right)
        sent(board, f"ada-{right}", store)
        assert [note[:47] for note in notes(board / f"ada-{right}")] == said


def test_a_task_of_ones_own_is_taken_with_a_note(board: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    own = replace(VPT, identity={**VPT.identity, "task": {**VPT.identity["task"], "name": "mine"}})
    own = replace(own, key=cell_key(own.identity))
    store.add([own], results=[result(own, 0, 93.7, curve={})])
    sent(board, "ada", store)
    assert notes(board / "ada") == [
        "score: mine is no task of the harness: its scores' counts weren't checked",
        "score: 1 of 1 searches aren't there: nothing shows what val chose",
    ]


def test_other_files_links_and_large_ones_are_refused(ada: Path, monkeypatch) -> None:
    (ada / "run.sh").write_text("rm -rf /")
    (ada / "more").mkdir()
    (ada / "rows.db").symlink_to("/etc/passwd")
    assert faults(ada) == [
        "file: more: a submission has no such folder",
        "file: rows.db is a link or a device: send files alone",
        "file: run.sh: a submission has no such file",
    ]
    (ada / "reproduced").mkdir()
    (ada / "reproduced" / f"{'0' * 12}.json").symlink_to(f"{'0' * 12}.json")
    assert faults(ada)[1].startswith("file: reproduced/000000000000.json is a link")
    (ada / "reproduced" / f"{'0' * 12}.json").unlink()
    (ada / "reproduced").rmdir()
    for path in (ada / "run.sh", ada / "rows.db"):
        path.unlink()
    (ada / "more").rmdir()
    monkeypatch.setitem(folder.LARGEST, "rows.parquet", 1000)
    (fault,) = faults(ada)
    assert fault.startswith("size: rows.parquet has ")
    assert fault.endswith("bytes, and may have 1,000: split the submission")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("submission.toml", b"who = 1", "schema: .*who: "),
        ("submission.toml", b"\xff", "schema: .*can't be read"),
        ("rows.parquet", b"PAR1", "schema: .*can't be read as parquet"),
        ("checkpoints.csv", b"id\n", "schema: .*line 1: write id,bytes,sha256"),
        (
            "checkpoints.csv",
            b"id,bytes,sha256,logits_sha256\nabc,1,2,3\n",
            "schema: .*line 2: not one more checkpoint",
        ),
    ],
)
def test_a_broken_file_is_a_fault_and_not_a_crash(
    ada: Path, name: str, content: bytes, said: str
) -> None:
    (ada / name).write_bytes(content)
    found = faults(ada)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(found[0])


def test_a_record_counts_where_rounding_may_move_its_method_as_far(
    board: Path, tmp_path: Path
) -> None:
    """On CUDA: `ivpt` by more than others; a method of a file that takes its name, as others."""
    own = sound("ivpt")
    identity = {**own.identity, "method": {**own.identity["method"], "source": "ab" * 32}}
    taken = Cell(cell_key(identity), identity, own.labels)
    cells = [own, sound("vpt"), taken]
    store = filled(tmp_path / "three.db", cells, seeds=(0,))
    sent(board, "ada", store, cells=[one.key for one in cells])
    files = [
        record_of(
            row,
            tmp_path / f"{row.id}.json",
            device="NVIDIA H200",
            again_logits_sha256="0" * 64,
            again_score=row.score - 3,
        )
        for row in store.results()
    ]
    sent(board, "ben", store, "Ben Example", cells=(), records=files, board=board)
    checked = check_all(board)
    (moved,) = (row.id for row in store.results() if row.cell == own.key)
    notes = [str(note) for one in checked for note in one.notes if note.rule == "record"]
    assert len(notes) == 2
    assert all("not reproduced" in note and moved not in note for note in notes)
    marks = marks_of([one.submission for one in checked if one.submission])
    assert [id for id, mark in marks.items() if mark.by] == [moved]


def test_records_are_of_rows_as_they_are_and_of_others(
    ada: Path, board: Path, store: Store, tmp_path: Path
) -> None:
    one, other, third, fourth = store.results()[:4]
    files = [
        record_of(one, tmp_path / "1.json"),
        record_of(other, tmp_path / "2.json", again_logits_sha256="0" * 64, again_score=1.0),
        record_of(result(sound("ssf"), 0), tmp_path / "3.json"),
    ]
    sent(board, "ben", store, "Ben Example", cells=(), records=files, board=board)
    own = record_of(third, tmp_path / "4.json")
    sent(board, "ada-again", store, cells=(), records=[own], board=board)
    of_ada, of_ada_again, of_ben = check_all(board)
    assert (of_ada.faults, of_ada_again.faults, of_ben.faults) == ([], [], [])
    assert list(map(str, of_ada_again.notes)) == [
        f"record: {third.id} is a row of the same person, who can't vouch for it"
    ]
    assert sorted(map(str, of_ben.notes)) == sorted(
        [
            f"record: not reproduced: {other.id}: {other.score:.2f} on the board, 1.00 again",
            f"record: {result(sound('ssf'), 0).id} isn't on the board: the record waits for it",
        ]
    )
    wrong = record_of(replace(fourth, logits_sha256="d" * 64), tmp_path / "5.json")
    with pytest.raises(BadInput, match="was made again, but from another score or logits hash"):
        sent(board, "cam", store, "Cam Example", cells=(), records=[wrong], board=board)
