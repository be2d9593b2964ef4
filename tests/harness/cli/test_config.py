"""A run's flags from a file and to one."""

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import api
from harness.cli.main import app
from harness.errors import BadInput
from harness.planning import configs
from harness.store import Store

FLAGS = {
    "--methods": "linear,ivpt(da=false,prompts=5)",
    "--suite": "mini",
    "--tasks": "digits,fashion",
    "--backbone": "mini_vit@24",
    "--protocol": "a file.toml",
    "--data-root": "data",
    "--image-size": "24",
    "--seeds": "0,1",
    "--trials": "2",
    "--store": 'odd "name"\\here.db',
    "--workers": "2",
    "--gpus-per-trial": "0.25",
    "--trial-timeout": "60.5",
    "--log-json": "events.jsonl",
}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A function that runs `harness run`, and gives back what `harness.run` was called with."""
    monkeypatch.chdir(tmp_path)
    calls: list[Any] = []

    def run(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return SimpleNamespace(
            leaderboard=lambda: "", gaps=0, late=False, ids=(), store=SimpleNamespace(name="x")
        )

    monkeypatch.setattr(api, "run", run)

    def call(*arguments: str) -> Any:
        done = CliRunner().invoke(app, ["run", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return calls.pop()

    return call


def typed(flags: dict[str, str]) -> list[str]:
    return [part for flag in flags.items() for part in flag]


def test_a_saved_config_is_the_flags_key_by_key(called: Any, tmp_path: Path):
    file = tmp_path / "new" / "run.toml"
    with_flags = called(*typed(FLAGS), "--allow-overlap", "--save-config", str(file))
    assert called("--config", str(file)) == with_flags
    saved = tomllib.loads(file.read_text())
    assert saved == {
        **{flag.removeprefix("--"): value for flag, value in FLAGS.items()},
        "image-size": 24,
        "trials": 2,
        "workers": 2,
        "gpus-per-trial": 0.25,
        "trial-timeout": 60.5,
        "allow-overlap": True,
    }


def test_flags_that_are_typed_win(called: Any, tmp_path: Path):
    file = tmp_path / "run.toml"
    file.write_text('methods = ["linear", "vpt"]\nseeds = [3, 4]\ntrials = 2\n')
    before = called("--trials", "5", "--config", str(file), "--seeds", "1")
    assert before == called("--methods", "linear,vpt", "--seeds", "1", "--trials", "5")
    assert before != called("--config", str(file))
    again = tmp_path / "again.toml"
    called("--config", str(file), "--trials", "5", "--save-config", str(again))
    assert tomllib.loads(again.read_text()) == {
        "methods": "linear,vpt",
        "seeds": "3,4",
        "trials": 5,
    }


def test_tasks_by_position_are_those_of_the_flag(called: Any, tmp_path: Path):
    by_flag = called("--tasks", "digits,fashion")
    assert called("digits", "fashion") == by_flag
    assert called("digits", "--tasks", "fashion") == by_flag
    file = tmp_path / "run.toml"
    called("digits", "fashion", "--trials", "2", "--save-config", str(file))
    assert tomllib.loads(file.read_text()) == {"tasks": "digits,fashion", "trials": 2}
    assert called("--config", str(file), "fashion") == called("--trials", "2", "--tasks", "fashion")
    for name, flag in (("vtab", "--suite vtab"), ("ivpt(da=false)", "--methods 'ivpt(da=false)'")):
        with pytest.raises(BadInput, match="not a task: write") as raised:
            called(name)
        assert flag in str(raised.value)


def test_a_config_has_names_of_flags_or_of_arguments(called: Any, tmp_path: Path):
    file = tmp_path / "run.toml"
    file.write_text("image_size = 24\nallow_overlap = true\n")
    assert called("--config", str(file)) == called("--image-size", "24", "--allow-overlap")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("trails = 2", "unknown flag 'trails'. Did you mean 'trials'?"),
        ("dry-run = true", "unknown flag 'dry-run'."),
        ("config = 'other.toml'", "unknown flag 'config'."),
        ("trials = true", "trials: write a value."),
        ("allow-overlap = 1", "allow-overlap: write true or false."),
        ("[seeds]\na = 1", "seeds: write a text, a number, or a list of them."),
        ("methods = [", "can't be read"),
    ],
)
def test_what_a_config_cant_say(text: str, says: str, called: Any, tmp_path: Path):
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"^config .*run\.toml: ") as raised:
        called("--config", str(file))
    assert says in str(raised.value)


def test_no_password_is_saved(called: Any, tmp_path: Path):
    file = tmp_path / "run.toml"
    with pytest.raises(BadInput, match="the password in --store belongs in no file"):
        called("--store", "postgresql://me:secret@host/db", "--save-config", str(file))
    assert not file.exists()


def test_a_file_that_cant_be_written_is_a_line(called: Any, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="--save-config"):
        called("--save-config", str(tmp_path / "file" / "run.toml"))


def test_a_store_s_last_run_is_repeated(called: Any, tmp_path: Path):
    flags = {name: value for name, value in FLAGS.items() if name not in ("--store", "--methods")}
    given = {name.removeprefix("--"): value for name, value in flags.items()}
    for store in (Store("a.db"), Store("b.db")):
        configs.keep(store, {"methods": "linear", "suite": "mini", "trials": 1})
    configs.keep(Store("b.db"), {**given, "image-size": 24, "trials": 2, "workers": 2})
    assert called("--again", "--store", "b.db") == called("--store", "b.db", *typed(flags))
    again = called("--store", "a.db", "--again", "--trials", "3")
    assert again == called(*typed({"--methods": "linear", "--suite": "mini"}), *AT_A, "3")


AT_A = ("--store", "a.db", "--trials")


def test_what_a_store_keeps_of_its_runs(tmp_path: Path):
    store = Store(tmp_path / "a.db")
    for flags in ({"trials": 1}, {"trials": 1}, {"trials": 2}, {"trials": 1}):
        configs.keep(store, {**flags, "seeds": None, "start-from": "postgresql://me:pw@host/db"})
    kept = [tomllib.loads(file.read_text()) for file in sorted(tmp_path.glob("a.configs/*"))]
    assert kept == [{"trials": 1}, {"trials": 2}, {"trials": 1}]
    configs.keep(Store(":memory:"), {"trials": 1})
    with pytest.raises(BadInput, match=r"--again: .*no earlier run"):
        configs.last(Store(":memory:"))
    with pytest.raises(BadInput, match=r"b\.db has no earlier run to repeat: start with `harness"):
        configs.last(Store(tmp_path / "b.db"))


def test_again_and_a_config_are_two_runs(called: Any, tmp_path: Path):
    file = tmp_path / "run.toml"
    file.write_text("trials = 2")
    configs.keep(Store("a.db"), {"trials": 1})
    with pytest.raises(BadInput, match="give one of them"):
        called("--again", "--config", str(file), "--store", "a.db")
