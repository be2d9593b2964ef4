"""Wrong flags, arguments and commands, as one line; and what `--quiet` and `--no-color` do."""

import re
from types import SimpleNamespace

import pytest
from command_line import run_command
from rich.console import Console

from harness import api


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("run --frob", "run: no option '--frob'. See `harness run --help`."),
        (
            "run --method x",
            "run: no option '--method'. Did you mean '--methods'? See `harness run --help`.",
        ),
        ("reprot", "no command `harness reprot`. Did you mean 'report'? See `harness --help`."),
        (
            "data fech",
            "no command `harness data fech`. Did you mean 'fetch'? See `harness data --help`.",
        ),
        ("zzz", "no command `harness zzz`. See `harness --help`."),
        ("--qiet run", "no option '--qiet'. Did you mean '--quiet'? See `harness --help`."),
        ("list", "list: missing argument 'WHAT'. See `harness list --help`."),
        (
            "run --workers x",
            "run: invalid value for '--workers': expected a whole number."
            " See `harness run --help`.",
        ),
        (
            "run --workers 0",
            "run: invalid value for '--workers': expected 1 or more. See `harness run --help`.",
        ),
        ("show a b", "show: unexpected argument (b). See `harness show --help`."),
    ],
)
def test_a_wrong_command_line_is_one_line(
    typed: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run_command(monkeypatch, *typed.split()) == 2
    printed = capsys.readouterr()
    assert printed.err == f"harness: {line}\n"
    assert not printed.out


def test_a_group_alone_prints_its_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run_command(monkeypatch, "store") == 2
    assert capsys.readouterr().out.count("Check a store") == 1


@pytest.mark.parametrize("words", ["run", "show", "results rm", "data verify"])
def test_arguments_are_shown_without_python_s_types(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run_command(monkeypatch, *words.split(), "--help") == 0
    shown = capsys.readouterr().out
    assert "str" not in re.findall(r"\w+", shown.partition("Options")[0])
    assert "[[" not in shown


def test_a_run_whose_hours_end_before_its_first_score_has_no_board(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """No error either: a script goes on as after any other run with gaps."""
    store = SimpleNamespace(name="x.db", argument="x.db")
    done = SimpleNamespace(gaps=2, wanted=2, late=True, ids=(), store=store)
    monkeypatch.setattr(api, "run", lambda *_, **__: done)
    assert run_command(monkeypatch, "run", "--max-hours", "0") == 3
    assert "2 of 2 results are missing: --max-hours ended the run." in capsys.readouterr().out
    assert run_command(monkeypatch, "run", "--max-hours", "0", "--allow-gaps") == 0


@pytest.mark.parametrize("words", [("run", "--quiet"), ("--quiet", "run"), ("run",)])
def test_quiet_leaves_the_results(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked = {}

    def run(*_: object, **more: object) -> SimpleNamespace:
        asked.update(more)
        return SimpleNamespace(
            leaderboard=lambda: "the board",
            gaps=1,
            late=True,
            wanted=2,
            ids=(),
            store=SimpleNamespace(name="x.db", argument="x.db"),
        )

    monkeypatch.setattr(api, "run", run)
    assert run_command(monkeypatch, *words) == 3
    out, quiet = capsys.readouterr().out, "--quiet" in words
    assert "the board" in out
    assert "1 of 2 results is missing: --max-hours ended the run." in out
    assert ("Stored in" in out) != quiet
    assert asked["progress"] != quiet


def test_no_color_is_for_all_that_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("NO_COLOR", "")  # so that it is as it was afterwards
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run_command(monkeypatch, "list", "suites", "--no-color") == 0
    assert "\x1b[3" not in capsys.readouterr().out
    assert Console().no_color


def test_something_that_ends_too_soon_is_no_interruption(monkeypatch: pytest.MonkeyPatch):
    def cut_short(*args: object, **flags: object) -> None:
        raise EOFError("marshal data too short")

    monkeypatch.setattr("harness.cli.list.listing", cut_short)
    with pytest.raises(EOFError, match="too short"):
        run_command(monkeypatch, "list", "methods")
