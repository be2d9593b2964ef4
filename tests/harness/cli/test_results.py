"""`harness results` as a stranger uses it, in this process."""

import json
import shutil
import sqlite3
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run_command
from made_up import DEEP, LINEAR, VPT, everything, failure, file_of, filled, result, trial
from safetensors.torch import save_file

from harness.cli import main as cli
from harness.errors import BadInput
from harness.inference import checkpoint_files
from harness.inference.checkpoint import FORMAT, Origin
from harness.store import Cell, Result, Store


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """`harness results` in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str) -> tuple[int, str, str]:
        code, printed = run_command(monkeypatch, "results", *arguments), capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path / "results" / "harness.db", [VPT, DEEP])


def tuned(folder: Path, of: Cell, row: Result, **other: Any) -> Path:
    """A checkpoint of a result, as a final run leaves it."""
    origin = Origin(
        row.id,
        of.key,
        row.seed,
        of.identity,
        {},
        row.params,
        10,
        (),
        {},
        row.score,
        row.logits_sha256,
        {},
    )
    folder.mkdir(exist_ok=True, parents=True)
    metadata = {"format": FORMAT, "origin": json.dumps(asdict(replace(origin, **other)))}
    save_file(
        {"head.linear.weight": torch.full((2, 2), float(row.seed))},
        folder / f"{row.id}.safetensors",
        metadata,
    )
    return folder / f"{row.id}.safetensors"


def test_import_says_what_it_did(call, store: Store, tmp_path: Path) -> None:
    filled(tmp_path / "theirs.db", [LINEAR])
    assert call("import", "theirs.db") == (
        0,
        "theirs.db: added 2 results, 3 trials, 1 cell, 1 failure; 0 results already there\n",
        "",
    )
    assert call("import", "theirs.db") == (
        0,
        "theirs.db: nothing new; 2 results already there\n",
        "",
    )
    assert len(store.results()) == 6


def test_import_exits_with_1_where_results_contradict_and_merges_the_rest(
    call, store: Store, tmp_path: Path
) -> None:
    theirs = filled(tmp_path / "theirs.db", [LINEAR])
    theirs.add([VPT], [trial(VPT, 0)], [result(VPT, 0, 70.0)])
    code, out, err = call("import", "theirs.db")
    assert (code, err) == (1, "")
    assert "conflict, ours is kept: vpt on digits, seed 0" in out
    assert "here 90.00" in out
    assert "there 70.00" in out
    assert "their search differs (1 trial there, 3 here): ours is kept" in out
    assert len(store.results(LINEAR.key)) == 2


def test_one_broken_source_is_a_line_and_the_others_are_merged(
    call, store: Store, tmp_path: Path
) -> None:
    filled(tmp_path / "theirs.db", [LINEAR])
    (tmp_path / "broken.db").write_bytes((tmp_path / "theirs.db").read_bytes()[:9000])
    code, out, err = call("import", "broken.db", "theirs.db")
    assert code == 2
    assert err.startswith("harness: store broken.db can't be used")
    assert len(err.splitlines()) == 1
    assert out.startswith("theirs.db: added 2 results")


@pytest.mark.parametrize("source", ["broken.db", "broken.parquet", "absent.db", "music.parquet"])
def test_a_bad_source_is_one_line_and_leaves_no_store(call, tmp_path: Path, source: str) -> None:
    import pandas as pd

    (tmp_path / "broken.db").write_bytes(
        file_of(filled(tmp_path / "theirs.db")).read_bytes()[:9000]
    )
    assert call("export", "broken.parquet", "--store", "theirs.db")[0] == 0
    (tmp_path / "broken.parquet").write_bytes((tmp_path / "broken.parquet").read_bytes()[:-9])
    pd.DataFrame({"song": ["x"]}).to_parquet(tmp_path / "music.parquet")
    code, out, err = call("import", source)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("harness: ")
    assert source in err
    assert not (tmp_path / "results").exists()


def test_export_and_import_with_checkpoints(call, store: Store, tmp_path: Path) -> None:
    kept = tuned(store.checkpoints, VPT, result(VPT, 7))
    code, out, _ = call("export", "a.parquet", "--checkpoints", "a.checkpoints")
    assert code == 0
    assert "a.parquet: 4 results, 6 trials, 2 cells, 2 failures, " in out
    assert "a.checkpoints: checkpoints of 1 of 4 results" in out
    code, out, _ = call("import", "a.parquet", "--checkpoints", "--store", "mine.db")
    assert code == 0
    assert "copied 1 checkpoint to " in out
    mine = Store("mine.db")
    assert everything(mine) == everything(store)
    assert checkpoint_files.find(mine, result(VPT, 7)).read_bytes() == kept.read_bytes()
    assert [file.name for file in mine.checkpoints.iterdir()] == [kept.name]
    assert (
        "copied 0 checkpoints"
        in call("import", "a.parquet", "--checkpoints", "--store", "mine.db")[1]
    )
    assert (
        "there is no folder" in call("import", "a.parquet", "--checkpoints", "--store", "a.db")[1]
        or (tmp_path / "a.checkpoints").is_dir()
    )


def test_export_takes_what_is_asked_for(call, store: Store) -> None:
    assert (
        "2 results, 3 trials, 1 cell, 1 failure, "
        in call("export", "a.parquet", "--methods", "vpt-deep")[1]
    )
    assert (
        "2 results, 3 trials, 1 cell, 1 failure, "
        in call("export", "b.parquet", "--tasks", "digits")[1]
    )
    assert (
        "4 results, 6 trials, 2 cells, 2 failures"
        in call("export", "c.parquet", "--suite", "mini")[1]
    )
    code, out, err = call("export", "d.parquet", "--suite", "vtab")
    assert (code, out, len(err.splitlines())) == (2, "", 1)


BAD_CHECKPOINTS = {
    "of another result": lambda file, row: tuned(file.parent, VPT, row, id="0" * 12),
    "of another seed": lambda file, row: tuned(file.parent, VPT, row, seed=8),
    "of other logits": lambda file, row: tuned(file.parent, VPT, row, logits_sha256="f" * 64),
    "of another identity": lambda file, row: tuned(file.parent, VPT, row, identity=DEEP.identity),
    "without an origin": lambda file, row: save_file(
        {"a": torch.zeros(1)}, file, {"format": FORMAT}
    ),
    "with an odd origin": lambda file, row: save_file(
        {"a": torch.zeros(1)}, file, {"format": FORMAT, "origin": "[1]"}
    ),
    "of another format": lambda file, row: save_file({"a": torch.zeros(1)}, file),
    "cut": lambda file, row: file.write_bytes(file.read_bytes()[:-3]),
    "a pickle": lambda file, row: torch.save({"a": torch.zeros(1)}, file),
}


@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_a_checkpoint_that_is_not_the_results_is_left_out(call, store: Store, name: str) -> None:
    good, row = tuned(store.checkpoints, DEEP, result(DEEP, 0)), result(VPT, 7)
    BAD_CHECKPOINTS[name](tuned(store.checkpoints, VPT, row), row)
    code, out, err = call("import", str(store.file), "--checkpoints", "--store", "mine.db")
    assert code == 2
    assert f"{row.id}.safetensors" in err
    assert len(err.splitlines()) == 1
    assert "copied 1 checkpoint to" in out
    assert [file.name for file in Store("mine.db").checkpoints.iterdir()] == [good.name]
    assert len(Store("mine.db").results()) == 4


def test_another_checkpoint_that_is_there_stays(call, store: Store) -> None:
    tuned(store.checkpoints, VPT, result(VPT, 7))
    mine = Store("mine.db")
    ours = tuned(mine.checkpoints, VPT, result(VPT, 7), score=1.0)
    before = ours.read_bytes()
    code, _, err = call("import", str(store.file), "--checkpoints", "--store", "mine.db")
    assert code == 2
    assert "is kept" in err
    assert ours.read_bytes() == before


def test_an_imported_row_can_not_name_any_file_as_its_checkpoint(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "diary.txt").write_text("secret")
    row = result(VPT, 7, provenance={"checkpoint": str(tmp_path / "diary.txt")})
    with pytest.raises(BadInput, match="has no checkpoint"):
        checkpoint_files.find(store, row)


def test_list_shows_a_row_a_result(call, store: Store) -> None:
    code, out, _ = call("list")
    assert code == 0
    assert out.splitlines()[0].strip() == "backbone mini_vit, protocol mini"
    assert [line.split() for line in out.splitlines()[1:3]] == [
        ["id", "variant", "task", "seed", "score", "date"],
        [result(VPT, 7).id, "vpt", "digits", "7", "90.00", "2026-01-02"],
    ]
    assert len(out.splitlines()) == 6


def test_list_as_json_with_filters(call, store: Store) -> None:
    def listed(*flags: str) -> list[dict[str, Any]]:
        code, out, _ = call("list", "--format", "json", *flags)
        assert code == 0
        return json.loads(out)

    assert listed("--methods", "vpt", "--seeds", "0") == [
        {
            "id": result(VPT, 0).id,
            "variant": "vpt",
            "task": "digits",
            "backbone": "mini_vit",
            "protocol": "mini",
            "version": "1",
            "source": "",
            "seed": 0,
            "score": 90.0,
            "created": "2026-01-02T10:00:00+00:00",
            "cell": VPT.key,
        }
    ]
    assert {row["variant"] for row in listed("--methods", "vpt-deep( prompts=5 )")} == {
        "vpt-deep(prompts=5)"
    }
    assert {row["task"] for row in listed("--tasks", "fashion")} == {"fashion"}
    assert len(listed("--suite", "mini", "--seeds", "0,7")) == 4
    assert listed("--seeds", "9") == []
    failed, _ = listed("--failed")
    assert (failed["variant"], failed["seed"], failed["reason"]) == ("vpt", 3, "out of memory")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--methods", "vtp"], "unknown method 'vtp'. Did you mean 'vpt'"),
        (["list", "--suite", "min"], "unknown suite 'min'. Did you mean 'mini'"),
        (["list", "--tasks", "svhn"], "holds nothing for svhn"),
        (["list", "--seeds", "one"], "--seeds one: write whole numbers"),
        (["list", "--format", "csv"], "unknown format 'csv'"),
        (["list", "--store", "absent.db"], "absent.db holds no results"),
        (["export", "a.parquet", "--store", "absent.db"], "absent.db holds no results"),
        (["export", "a.csv"], "name it a.parquet"),
        (["show", "zz"], "no result 'zz'"),
        (["rm", "zz"], "no result 'zz'"),
        (["rm"], "give either the results' ids, or --suite"),
        (["rm", "ab", "--suite", "mini"], "give either"),
        (["rm", "--seeds", "9"], "has nothing like that"),
        (["rm", "--methods", "vpt"], "give --yes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_bad_input_gets_one_line_and_changes_nothing(
    call, store: Store, tmp_path: Path, arguments: list[str], message: str
) -> None:
    before = everything(store)
    code, _, err = call(*arguments)
    assert (code, len(err.splitlines())) == (2, 1)
    assert message in err
    assert everything(store) == before
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_markup_and_control_characters_stay_text(call, tmp_path: Path) -> None:
    odd = Cell(VPT.key, VPT.identity, {**VPT.labels, "variant": "[red]vpt[/red]\x1b[31m"})
    Store("odd.db").add([odd], results=[result(odd, 0)])
    out = call("list", "--store", "odd.db")[1]
    assert "[red]vpt[/red]" in out
    assert "\x1b" not in out


def test_show_is_the_one_command_under_two_names(
    call, store: Store, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    id = result(DEEP, 0).id
    for form in ("text", "json"):
        shown = call("show", id[:8], "--format", form)[1]
        monkeypatch.setattr(sys, "argv", ["harness", "show", id[:8], "--format", form])
        with suppress(SystemExit):
            cli.main()
        assert shown == capsys.readouterr().out
        assert f"harness reproduce {id}" in shown
    assert json.loads(shown)["again"] == f"harness reproduce {id}"


def test_rm_removes_results_with_their_checkpoints_and_nothing_else(call, store: Store) -> None:
    gone, kept = (tuned(store.checkpoints, VPT, result(VPT, seed)) for seed in (7, 0))
    code, out, _ = call("rm", result(VPT, 7).id[:9], "--yes")
    assert code == 0
    assert result(VPT, 7).id in out
    assert "Removed 1 result, 1 checkpoint.\n" in out
    assert store.results() == [result(VPT, 0), result(DEEP, 7), result(DEEP, 0)]
    assert (len(store.trials()), len(store.failures()), len(store.cells())) == (6, 2, 2)
    assert (gone.exists(), kept.exists()) == (False, True)


def test_rm_with_trials_takes_the_searches_of_cells_that_have_no_result_left(
    call, store: Store
) -> None:
    assert "Removed 1 result.\n" in call("rm", result(VPT, 7).id, "--searches", "--yes")[1], (
        "seed 0 is left"
    )
    assert (
        "Removed 1 result, 3 trials, 1 failure, 1 cell.\n"
        in call("rm", "--methods", "vpt", "--searches", "--yes")[1]
    )
    assert list(store.cells()) == [DEEP.key]
    assert everything(store) == everything(filled(file_of(store).with_name("same.db"), [DEEP]))
    store.remove([row.id for row in store.results()])
    assert (
        "Removed 3 trials, 1 failure, 1 cell.\n"
        in call("rm", "--tasks", "fashion", "--searches", "--yes")[1]
    )
    assert everything(store) == ([], [], [], [])
    for table in ("cells", "trials", "results", "failures"):
        with sqlite3.connect(file_of(store)) as connection:
            assert connection.execute(f"select count(*) from {table}").fetchone() == (0,)
        connection.close()


def test_rm_failed_removes_the_note_of_a_failure(call, store: Store) -> None:
    assert "Removed 1 failure.\n" in call("rm", "--failed", "--methods", "vpt", "--yes")[1]
    assert store.failures() == [failure(DEEP, 3)]
    assert len(store.results()) == 4


@pytest.mark.parametrize("answer", [True, False])
def test_rm_asks_first(call, store: Store, answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda question: asked.append(question) or answer)
    code, out, _ = call("rm", "--suite", "mini", "--searches")
    assert asked == [
        "Remove 4 results, 6 trials and 2 failures of 2 cells without results from"
        " results/harness.db?"
    ]
    assert (code, len(store.results())) == ((0, 0) if answer else (1, 4))
    assert ("Nothing was removed." in out) is not answer
    assert len(out.splitlines()) == 7


def test_rm_shows_the_first_of_many(call, store: Store) -> None:
    store.add_results([result(VPT, seed) for seed in range(100, 140)])
    code, out, err = call("rm", "--suite", "mini")
    assert (code, "give --yes" in err) == (2, True)
    assert "... and 14 more" in out
    assert len(out.splitlines()) == 33
    assert len(store.results()) == 44


def test_checkpoints_that_cant_be_removed_are_said(call, store: Store) -> None:
    file = store.checkpoints / f"{result(VPT, 7).id}.safetensors"
    file.mkdir(parents=True)
    code, _, err = call("rm", result(VPT, 7).id, "--yes")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "delete it by hand" in err
    shutil.rmtree(store.checkpoints)


def test_hparams_writes_what_the_searches_chose(call, store: Store, tmp_path: Path) -> None:
    code, out, _ = call("hparams", "--to", "mine.csv", "--methods", "vpt")
    assert (code, out) == (0, "mine.csv: 1 setting\n")
    assert (tmp_path / "mine.csv").read_text().splitlines() == [
        "method,task,base_lr,weight_decay,arguments,val,test,seeds,backbone,protocol",
        f"vpt,digits,0.1,,,{best_of(store, VPT)},{mean_of(store, VPT)},2,mini_vit,mini",
    ]
    code, _, err = call("hparams", "--to", "none.csv", "--protocol", "vpt")
    assert (code, "unknown protocol 'vpt'" in err) == (2, True)
    assert not (tmp_path / "none.csv").exists()


def best_of(store: Store, cell: Cell) -> str:
    return f"{store.best_trials(cell.key)[0].value:.2f}"


def mean_of(store: Store, cell: Cell) -> str:
    scores = [row.score for row in store.results(cell.key)]
    return f"{sum(scores) / len(scores):.2f}"
