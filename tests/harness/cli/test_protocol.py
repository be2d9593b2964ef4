"""`harness protocol show` and `check`."""

import json
from pathlib import Path

import pytest
from command_line import run_command

from harness.planning import protocols


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        code, printed = run_command(monkeypatch, "protocol", *arguments), capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.mark.parametrize("name", protocols.names())
def test_what_is_shown_is_a_file_that_says_the_same(call, tmp_path: Path, name: str):
    (tmp_path / f"{name}.toml").write_text(call("show", name)[1])
    assert protocols.load(str(tmp_path / f"{name}.toml")) == protocols.load(name)


def test_a_file_of_ones_own_is_shown_with_what_it_extends(call, tmp_path: Path):
    (tmp_path / "mine.toml").write_text('extends = "default"\ntrials = 3\nseeds = [7]\n')
    shown = json.loads(call("show", "mine.toml", "--format", "json")[1])
    base = json.loads(call("show", "default", "--format", "json")[1])
    assert {name for name in shown if shown[name] != base[name]} == {"trials", "seeds"}


def test_check_counts_what_a_search_costs(call, tmp_path: Path):
    (tmp_path / "mine.toml").write_text(
        'extends = "vpt"\nseeds = [0, 1]\n[space]\nbase_lr = { choices = [1.0, 2.0] }\n'
        "weight_decay = { choices = [0.0, 0.1, 0.2] }\n[method_space]\n"
        "prompts = { choices = [5, 10] }\n"
    )
    code, out, _ = call("check", "mine.toml")
    assert code == 0
    # vpt's file has rates of its own for linear, by name
    assert "classification, vpt-deep: 12 trials and 2 final runs per task, each of 100 e" in out


def test_check_warns_of_names_that_no_method_has_and_of_an_endless_warm_up(call, tmp_path: Path):
    (tmp_path / "mine.toml").write_text(
        'extends = "mini"\nepochs = 3\nwarmup_epochs = 5\n[method_space]\n'
        'promts = { choices = [5] }\n[[override]]\nmethod = "vptt"\nbatch_size = 8\n'
    )
    code, out, _ = call("check", "mine.toml")
    assert code == 0
    warnings = [line for line in out.splitlines() if line.startswith("warning: ")]
    for part, line in zip(("'prompts'", "'vpt'", "never reaches"), warnings, strict=True):
        assert part in line
    for name in protocols.names():
        assert "warning" not in call("check", name)[1], name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            'extends = "vpt"\n[space]\nbase_lr = { low = 2.0, high = 0.1 }\n',
            "low 2 is above high 0.1",
        ),
        ('extends = "vpt"\nepoch = 3\n', "unknown key 'epoch'. Did you mean 'epochs'?"),
        ('extends = "vtp"\n', "unknown protocol 'vtp'. Did you mean 'vpt'?"),
        ('extends = "vpt"\nepochs = "many"\n', "epochs: "),
    ],
)
def test_check_refuses_a_file_in_one_line(call, tmp_path: Path, text: str, says: str):
    (tmp_path / "mine.toml").write_text(text)
    code, _, err = call("check", "mine.toml")
    assert code == 2
    assert says in err
    assert len(err.splitlines()) == 1
