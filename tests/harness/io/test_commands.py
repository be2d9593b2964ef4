"""Each command that the program prints for its user works as it was printed: taken from the output,
and run."""

import ast
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import folder_task
import pytest
import typer
from command_line import run_command
from places import REPOSITORY
from typer.main import get_command

from harness.cli import main as cli
from harness.io import commands as hints
from harness.store import Store

PACKAGES = [REPOSITORY / "harness", REPOSITORY / "methods"]
UsageError: Any = typer.BadParameter.__mro__[1]
"""Click's, which later versions of Typer bring along."""

COMMANDS = (
    r"harness"
    r" (?:run|ablate|report|status|compare|list|show|reproduce|export|predict|data|results|store)\b"
)


def literals() -> Iterator[tuple[str, str, bool]]:
    """(place, text, whether a value is put into it) of each string in the code that names a command
    and isn't a docstring."""
    for file in [file for package in PACKAGES for file in package.rglob("*.py")]:
        tree = ast.parse(file.read_text())
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        within = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "\0"
                    for part in node.values
                )
            elif (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in alone | within
            ):
                text = node.value
            else:
                continue
            if re.search(COMMANDS, text):
                yield f"{file.name}:{node.lineno}", text, isinstance(node, ast.JoinedStr)


planned: set[str] = set()
"""Commands that were shown to be plannable: several errors say the same one, to be read with
another store."""


def parsed(command: str) -> None:
    """Raises `UsageError` where a command lacks something, or has too much."""
    found: Any = get_command(cli.app)
    words = shlex.split(command)[1:]
    context = found.make_context("harness", [], resilient_parsing=True)
    while hasattr(found, "commands"):
        name = words.pop(0)
        found = found.get_command(context, name)
        assert found is not None, command
        context = found.make_context(
            name, list(words), parent=context, resilient_parsing=hasattr(found, "commands")
        )


def test_no_command_is_put_together_by_hand():
    """With a name, a path or a store in it, `hints` quotes it and adds the flags that it takes."""
    commands = [
        (place, text, part)
        for place, text, _ in literals()
        for part in re.findall(rf"{COMMANDS}[^`]*", text)
    ]
    assert len(commands) > 5
    assert not [(place, part) for place, _, part in commands if "\0" in part.partition("  ")[0]]


def test_every_command_that_stands_in_the_code_can_be_read():
    found = [
        (place, part)
        for place, text, _ in literals()
        for part in re.findall(rf"`({COMMANDS}[^`]*)`", text)
    ]
    assert found
    for place, part in found:
        try:
            parsed(part)
        except UsageError as error:
            pytest.fail(f"{place}: `{part}`: {error}")


def test_the_reader_of_commands_refuses_what_is_incomplete():
    with pytest.raises(UsageError, match="Missing"):
        parsed("harness export ID")
    with pytest.raises(UsageError):
        parsed("harness report --nonsense")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, harness) -> Iterator[Path]:
    """A user's folder whose name, and whose store's, a shell takes apart; after a run of a built-in
    method and of the user's own."""
    folder = folder_task.make(tmp_path_factory.mktemp("it's a place") / "with spaces")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VPT_HARNESS_CACHE", str(folder / "cache"))
        done = harness(*RUN, "--methods", "linear,./mine.py:Mine", cwd=folder)
        assert done.returncode == 0, done.stderr
        (folder / "said").write_text(done.stdout)
        yield folder


RUN = (
    "run",
    "--tasks",
    "squares",
    "--cards",
    "cards",
    "--data-root",
    "data",
    "--protocol",
    "quick.toml",
    "--store",
    "my store.db",
    "--workers",
    "1",
)


@pytest.fixture
def call(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command in that folder: exit code, and all that it printed."""

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.chdir(place)
        monkeypatch.setenv("COLUMNS", "80")
        return run_command(monkeypatch, *words), "".join(capsys.readouterr())

    return run


def printed(text: str) -> list[list[str]]:
    """The commands in an output, as a shell takes them apart: between backticks, after a colon, or
    a field of their own."""
    found = re.findall(rf"`({COMMANDS}[^`]*)`", text) + re.findall(
        rf"(?m)(?:Run|seeds|fetch): ({COMMANDS}.*?)(?:  |$)", text
    )
    return [shlex.split(command)[1:] for command in found]


def ids(place: Path) -> dict[str, str]:
    store = Store(place / "my store.db")
    return {store.cells()[row.cell].labels["variant"]: row.id for row in store.results()}


def test_what_a_run_says_last(place: Path, call):
    commands = printed((place / "said").read_text())
    assert [words[0] for words in commands] == ["report", "show"]
    for words in commands:
        assert call(*words)[0] == 0


@pytest.mark.parametrize("variant", ["linear", "mine"])
def test_how_a_row_is_made_again(place: Path, call, variant: str):
    shown = call("show", ids(place)[variant], "--store", "my store.db", "--format", "json")[1]
    said = json.loads(shown)["again"]
    code, out = call(*shlex.split(said)[1:])
    assert code == 0, out
    assert re.search(r"(?m)^equal: ", out)


def test_the_page_says_the_same(place: Path):
    page = (place / "my store.html").read_text()
    stored = re.search(r'"store":\s*("(?:[^"\\]|\\.)*")', page)
    assert stored is not None
    assert " --store 'my store.db'" in json.loads(stored[1])
    assert str(place) not in page, "whole paths are nobody's business"
    assert "mine.py:Mine" in page


def test_how_a_lost_checkpoint_is_made_again(place: Path, call, tmp_path: Path):
    id = ids(place)["mine"]
    kept = next(place.glob(f"*.checkpoints/{id}.safetensors"))
    shutil.move(kept, tmp_path / kept.name)
    code, out = call("export", id, "a.safetensors", "--store", "my store.db")
    shutil.move(tmp_path / kept.name, kept)
    assert code == 2
    (words,) = printed(out)
    code, out = call(*words)
    assert code == 0, out
    assert (place / f"{id}.safetensors").is_file()


def test_how_a_claim_is_made(place: Path, call):
    """A method of one's own, a protocol's file, cards and data: five seeds in place of one."""
    code, out = call("compare", "mine", "linear", "--store", "my store.db")
    assert code == 0, out
    (words,) = printed(out)
    assert words[words.index("--methods") + 1] == "mine.py:Mine,linear"
    assert words[words.index("--protocol") + 1] == "quick.toml"
    code, out = call(*words, "--dry-run")
    assert code == 0, out
    assert "2 cells: 2 methods x 1 task" in out
    assert "can't run" not in out


@pytest.mark.parametrize(
    ("words", "goes_on"),
    [
        (("show", "abcdef", "--store", "my store.db"), 0),
        (("results", "list", "--tasks", "digits", "--store", "my store.db"), 0),
        (
            (
                "results",
                "rm",
                "--tasks",
                "squares",
                "--seeds",
                "7",
                "--yes",
                "--store",
                "my store.db",
            ),
            0,
        ),
        (("results", "multi-scale", "--store", "my store.db"), 0),
        (("report", "--tasks", "another", "--store", "my store.db"), 0),
        (("report", "--suite", "mini", "--store", "my store.db"), None),
        (("report", "--store", "no such store.db"), None),
        (("status", "--store", "no such store.db"), None),
        (("results", "list", "--store", "no such store.db"), None),
        (("report", "--figure", "ablation", "-o", "a.png", "--store", "my store.db"), None),
        (("run", "--backbone", "no_such_vit"), 0),
        (
            (
                "data",
                "status",
                "--tasks",
                "squares,cifar100,diabetic_retinopathy",
                "--cards",
                "cards",
            ),
            None,
        ),
        (("data", "status", "--suite", "vtab", "--data-root", "data"), None),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, tuple) else "",
)
def test_what_an_error_says(place: Path, call, words: tuple[str, ...], goes_on: int | None):
    """`goes_on` None: a command that computes or downloads, which is read here and not carried out;
    but for what --dry-run shows."""
    code, out = call(*words)
    assert code != 0
    commands = printed(out)
    assert commands, out
    for command in commands:
        parsed(shlex.join(["harness", *command]))
        if goes_on is not None:
            code, said = call(*command)
            assert code == goes_on, said
        elif command[0] in ("run", "ablate"):
            told, _, _ = " ".join(command).partition(" --store ")
            if told not in planned:
                assert call(*command, "--dry-run")[0] == 0
                planned.add(told)
    if "--store" in words:
        store = words[words.index("--store") + 1]
        assert all(command[-2:] == ["--store", store] for command in commands)


def test_a_command_is_what_a_shell_takes_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / "a 'b' $HOME;.db"
    said = hints.command("report", store=Store(odd))
    out = subprocess.run(
        ["sh", "-c", said.replace("harness", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out.splitlines() == ["report", "--store", str(odd)]
    assert hints.command("report", store=Store("results/harness.db")) == "harness report"
    assert hints.command("report", store=Store("sqlite:///results/harness.db")) == "harness report"
    assert hints.near(tmp_path / "x" / "y.py") == "x/y.py"
    assert hints.near("/elsewhere/y.py") == "/elsewhere/y.py"


def test_a_command_holds_no_password():
    store = Store("postgresql://me:secret@host:5433/db?sslpassword=hidden&sslmode=require")
    said = hints.command("report", store=store)
    assert said == "harness report --store 'postgresql+psycopg://me@host:5433/db?sslmode=require'"
