"""The command line as a stranger uses it, wrong and right, in this process."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import run_command
from places import REPOSITORY, SHARED

from harness.store import Store
from harness.tasks.cards import load_suites

SAMPLE = SHARED / "data" / "vtab-1k-sample"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs a command in an empty folder: (exit code, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        code, printed = run_command(monkeypatch, *arguments), capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.mark.parametrize(
    ("gaps", "flags", "code"), [(0, (), 0), (1, (), 3), (1, ("--allow-gaps",), 0)]
)
def test_a_missing_result_is_exit_code_3_unless_it_is_accepted(
    call, monkeypatch: pytest.MonkeyPatch, gaps: int, flags: tuple[str, ...], code: int
):
    class Done:
        ids, wanted, late, store = (), 6, False, Store(":memory:")

        def __init__(self) -> None:
            self.gaps = gaps

        def leaderboard(self) -> str:
            return "the board"

    monkeypatch.setattr("harness.api.run", lambda *asked, **more: Done())
    found, out, _ = call("run", *flags)
    assert found == code
    assert "the board" in out
    assert ("1 of 6 results is missing" in out) == bool(gaps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--methods", "vtp"], "unknown method 'vtp'. Did you mean 'vpt'"),
        (["run", "--methods", "ivpt(cdc=false)"], "without CDC"),
        (["run", "--methods", "ivpt(k=99)"], "k=99 is more than the backbone's 36"),
        (["run", "--suite", "vtb"], "unknown suite 'vtb'. Did you mean 'vtab'"),
        (["run", "--tasks", "digit"], "unknown task 'digit'. Did you mean 'digits'"),
        (
            ["run", "--tasks", "cifar100", "--suite", "mini"],
            "task 'cifar100' is not in suite 'mini'",
        ),
        (["run", "--protocol", "vpy"], "unknown protocol 'vpy'. Did you mean 'vpt'"),
        (
            ["run", "--backbone", "vit_bas_patch16_224"],
            "unknown backbone 'vit_bas_patch16_224'. Did you mean 'vit_base_patch16_224",
        ),
        (["run", "--backbone", "vit_tiny_patch16_224=absent.pth"], "/absent.pth."),
        (["run", "--seeds", "one"], "--seeds one: write whole numbers"),
        (["run", "--seeds", "-1"], "seeds must be from 0"),
        (["run", "--cards", "absent"], "absent"),
        (["run", "--tasks", "cifar100", "--backbone", "mini_vit"], "task cifar100"),
        (["run", "--tasks", "cifar100", "--backbone", "mini_vit", "--data-root", "."], "cifar"),
        (["run", "--tasks", "cub200_2011", "--backbone", "mini_vit"], "task cub200_2011"),
        (
            [
                "run",
                "--store",
                "sqlite:///harness.db",
                "--address",
                "ray://host:10001",
                "--tasks",
                "digits",
            ],
            "ray job submit",
        ),
        (["run", "--store", "nonsense://x", "--tasks", "digits"], "nonsense"),
        (["report", "--format", "pptx"], "unknown format 'pptx'"),
        (["report"], "harness run"),
        (["compare", "vpt", "ivpt"], "holds no results"),
        (["compare", "vpt", "ivpt", "--format", "md"], "unknown format 'md'"),
        (["compare", "vpt", "ivpt", "--suite", "min"], "unknown suite 'min'. Did you mean 'mini'"),
        (["show", "abc"], "no result 'abc'"),
        (["reproduce", "abc"], "no result 'abc'"),
        (["export", "abc", "a.safetensors"], "no result 'abc'"),
        (["predict", "absent.safetensors", "a.jpg"], "no file absent.safetensors"),
        (["predict", "absent.safetensors", "a.jpg", "--format", "csv"], "unknown format 'csv'"),
        (["list", "method"], "Did you mean 'methods'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_bad_input_gets_one_line_and_exit_code_2(
    call, tmp_path: Path, arguments: list[str], message: str
):
    code, out, err = call(*arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in out + err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["--trials=0", "--trials=x", "--nonsense", "--workers=0"])
def test_a_wrong_flag_is_a_usage_error(call, flag: str):
    code, _, err = call("run", flag)
    assert code == 2
    assert flag.split("=")[0] in err


def test_missing_data_are_one_table_and_one_command(call):
    code, _, err = call("run", "--suite", "vtab", "--backbone", "mini_vit")
    assert code == 2
    head, titles, *rest = [line.removeprefix("harness: ") for line in err.splitlines()]
    assert head.startswith("the data of 19 tasks aren't here: --data-root names the folder")
    assert titles.split() == ["task", "download", "how", "to", "get", "it"]
    rows, advice = rest[:19], rest[19:]
    assert {row.split()[0] for row in rows} == set(load_suites()["vtab"].tasks)
    assert [row.split() for row in rows[:2]] == [
        ["cifar100", "169", "MB", "fetch"],
        ["caltech101", "by", "hand"],
    ]
    (fetch,) = [line for line in advice if line.startswith("fetch: ")]
    named = fetch.removeprefix("fetch: harness data fetch ").partition(" --data-root")[0].split()
    assert sorted(named) == sorted(row.split()[0] for row in rows if "fetch" in row)
    by_hand = [line for line in advice if line.startswith("by hand: ")]
    assert len(by_hand) == 2
    assert any("88 GB" in line for line in by_hand)
    assert "https://github.com/ZhangYuanhan-AI/NOAH" in advice[-1]


def test_a_broken_card_is_named_with_its_key(call, tmp_path: Path):
    cards = tmp_path.parent / f"{tmp_path.name}-cards"
    cards.mkdir()
    (cards / "mine.toml").write_text('name = "mine"\nclases = 3\n')
    code, _, err = call("run", "--tasks", "mine", "--cards", str(cards))
    assert code == 2
    assert "mine.toml" in err
    assert len(err.strip().splitlines()) == 1


def test_a_weights_file_of_the_wrong_shape_is_one_line(call, tmp_path: Path):
    weights = tmp_path.parent / f"{tmp_path.name}.npz"
    np.savez(weights, nothing=np.zeros(3))
    code, _, err = call("run", "--backbone", f"mini_vit={weights}")
    assert code == 2
    assert "holds no Vision Transformer that is known, but nothing" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("suite", "cells", "missing"),
    [
        ("vtab", "76 cells: 4 methods x 19 tasks", 19),
        ("fgvc", "20 cells", 5),
        ("all", "96 cells", 24),
    ],
)
def test_a_dry_run_prints_the_plan_and_what_is_missing(
    call, tmp_path: Path, suite: str, cells: str, missing: int
):
    code, out, _ = call("run", "--suite", suite, "--backbone", "mini_vit", "--dry-run")
    assert code == 0
    assert cells in out
    assert f"{missing} of {missing} tasks can't run yet" in out
    assert list(tmp_path.iterdir()) == []


def test_the_vpt_protocol_plans_the_papers_grid(call):
    _, out, _ = call(
        "run",
        "--suite",
        "vtab",
        "--backbone",
        "mini_vit",
        "--protocol",
        "vpt",
        "--dry-run",
        "--methods",
        "linear,vpt-deep,vpt(prompts=5)",
    )
    trials = {
        line.split("│")[1].strip(): line.split("│")[2].strip()
        for line in out.splitlines()
        if line.count("│") > 3
    }
    assert trials["linear"] == f"{19 * 40:,}"
    assert trials["vpt-deep"] == f"{19 * 240:,}"
    assert trials["vpt(prompts=5)"] == f"{19 * 40:,}"


@pytest.mark.parametrize("what", ["methods", "tasks", "suites", "protocols", "backbones"])
def test_lists(call, what: str):
    code, out, _ = call("list", what)
    assert code == 0
    expected = {
        "methods": "ivpt",
        "tasks": "cifar100",
        "suites": "fgvc",
        "protocols": "default",
        "backbones": "mini_vit",
    }
    assert expected[what] in out


@pytest.mark.parametrize("what", ["methods", "tasks", "suites", "protocols", "backbones"])
def test_a_list_for_programs_has_the_names_of_the_one_for_people(call, what: str):
    listed = json.loads(call("list", what, "--format", "json")[1])
    shown = call("list", what)[1]
    names = [str(row[what.removesuffix("s")]) for row in listed]
    assert len(set(names)) == len(names) > 3
    assert all(names)
    assert [name for name in names if name not in shown] == []


def test_a_method_s_arguments_are_listed_with_their_values(call):
    rows = {
        row["method"]: row for row in json.loads(call("list", "methods", "--format", "json")[1])
    }
    ivpt = rows["ivpt"]
    assert ivpt["toggles"] == ["cdc", "da", "ar"]
    assert ivpt["searched"] == {"prompts": "1, 5, 10, 50, 100, 200"}
    assert ivpt["arguments"]["cdc_source"]["choices"] == ["input", "output", "recursive"]
    said = " ".join(call("list", "methods")[1].split())
    assert "cdc_source=input (or output, recursive)" in said
    assert "da=true (or false, gate)" in said
    assert "toggles: cdc, da, ar" in said


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs ../shared/data/vtab-1k-sample")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "images/test/000007.jpg").unlink(), "000007.jpg"),
        (lambda folder: _replace(folder / "val200.txt", r"(?m) \d$", " 10", 1), "label 10"),
        (
            lambda folder: (folder / "train800.txt").write_text("images/train800/000000.jpg 7\n"),
            "expected 800",
        ),
        (lambda folder: shutil.rmtree(folder), "cifar10"),
    ],
    ids=["an image is deleted", "a label is out of range", "a list is short", "the folder is gone"],
)
def test_damaged_data_is_said_in_one_line(
    call, tmp_path_factory: pytest.TempPathFactory, damage, message: str
):
    root = tmp_path_factory.mktemp("sample")
    shutil.copytree(SAMPLE / "cifar10", root / "cifar10", copy_function=shutil.copyfile)
    cards = root / "cards"
    cards.mkdir()
    docs = (REPOSITORY / "docs" / "add_a_task.md").read_text()
    (cards / "cifar10.toml").write_text(re.search(r"```toml\n(.*?)```", docs, re.DOTALL)[1])  # type: ignore[index]
    damage(root / "cifar10")
    code, _, err = call(
        "run", "--tasks", "cifar10", "--cards", str(cards), "--data-root", str(root)
    )
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def _replace(file: Path, pattern: str, new: str, count: int) -> None:
    file.write_text(re.sub(pattern, new, file.read_text(), count=count))


def test_help_imports_neither_torch_nor_ray(harness):
    import subprocess

    code = (
        "import json, sys; sys.argv = ['harness', '--help']\nfrom harness.cli.main import app\ntry:"
        " app()\nexcept SystemExit: pass\n"
    )
    code += "print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & {"torch", "ray", "optuna", "pandas", "timm"}


def test_a_dry_run_of_known_settings_searches_nothing_and_says_what_they_lack(call):
    flags = ("--tasks", "cifar100,digits", "--backbone", "mini_vit", "--protocol", "petl")
    _, out, _ = call("run", *flags, "--hparams", "osu", "--methods", "lora,ivpt", "--dry-run")
    said = " ".join(out.split())
    assert "osu has no settings for lora on digits: not run." in said
    assert "osu has no settings for ivpt on cifar100, digits: not run." in said
    assert "lora searches nothing." in said
    assert "1 cell: 2 methods x 2 tasks, without 3 that have no settings" in said
    rows = [line.split("│") for line in out.splitlines() if line.count("│") > 3]
    (lora,) = [row for row in rows if row[1].strip() == "lora"]
    assert [part.strip() for part in lora[2:4]] == ["0", "5"]
