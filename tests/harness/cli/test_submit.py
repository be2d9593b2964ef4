"""`harness submit`: made, checked and refused from the command line."""

from pathlib import Path

import pytest
from command_line import run_command
from submitted import filled, first, forged, record_of, sound

from harness.reporting.submissions import folder
from harness.store import Store


@pytest.fixture(autouse=True)
def _no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up rows aren't compared with those that ship."""
    monkeypatch.setattr("harness.io.resources.submissions_dir", lambda: None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path / "mine.db", [sound(), sound("linear"), sound("vpt", "fashion")])


ME = ("--who", "Ada Example", "--contact", "ada@example.org")


def test_a_submission_is_made_checked_and_refused(
    store: Store, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "board" / "ada"
    words = ("submit", "--to", to, "--store", store.argument, *ME, "--methods", "vpt")
    assert run_command(monkeypatch, *words, "--note", "for a test") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{to}: 4 results, 4 trials, hashes of 0 checkpoints, 0 records, ")
    assert folder.read(to).about.note == "for a test"
    for checked in (to, to.parent):
        assert run_command(monkeypatch, "submit", "--check", checked) == 0
        assert capsys.readouterr().out == "1 submission without a fault.\n"
    forged(to, lambda rows: first(rows, score=93.7, curve={10: 93.7}))
    assert run_command(monkeypatch, "submit", "--check", to.parent) == 1
    fault, end = capsys.readouterr().out.splitlines()
    assert fault.startswith("ada: fault: score: vpt on digits, seed 0 (")
    assert end == "1 submission refused: ada."


def test_the_first_submission_to_a_board_that_is_empty(
    store: Store, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (board := tmp_path / "board").mkdir()
    words = ("submit", "--to", board / "ada", "--store", store.argument, *ME, "--known", board)
    assert run_command(monkeypatch, *words) == 0
    assert "holds no submission" not in capsys.readouterr().err
    assert run_command(monkeypatch, "submit", "--check", board / "ada", "--known", board) == 0


def test_a_record_of_somebody_elses_row_is_sent_alone(
    store: Store, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    board = tmp_path / "board"
    words = ("submit", "--to", board / "ada", "--store", store.argument, *ME)
    assert run_command(monkeypatch, *words) == 0
    again = record_of(store.results()[0], tmp_path / "again.json")
    ben = ("--who", "Ben Example", "--contact", "ben@example.org", "--known", board)
    words = ("submit", "--to", board / "ben", "--record", again, *ben)
    monkeypatch.chdir(tmp_path)  # where there is no store
    assert run_command(monkeypatch, *words) == 0
    found = folder.read(board / "ben")
    assert (len(found.records), found.rows.results) == (1, [])
    assert "0 results, 0 trials, hashes of 0 checkpoints, 1 record, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give --to FOLDER to make a submission, or --check FOLDER"),
        (("--to", "a", "--check", "b"), "give --to FOLDER to make a submission, or --check"),
        (("--to", "a", "--who", "Ada"), "needs --who and --contact"),
        (("--to", "a", *ME, "--store", "absent.db"), "holds no results"),
        (("--to", "a", *ME, "--record", "absent.json"), "can't read absent.json"),
        (("--check", "absent"), "there is no folder absent"),
    ],
)
def test_what_is_missing_is_said_in_a_line(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(monkeypatch, "submit", *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
