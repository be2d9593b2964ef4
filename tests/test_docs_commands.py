"""Every command that README and the docs show ends as it should, in a folder that has what they
name.

What a command names is put in its place: ids of the store here for `3fa`, a tiny task for data that
can't be had here. Runs are real for the mini suites' methods that are quickest; all others are dry
runs, which do all but train.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_folder
from command_line import run_command
from docs_commands import DOCS, ROOT, UNPARSED, shown_commands
from PIL import Image
from synthetic_store import fill

from harness.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NOT_RUN = {
    r"report --serve": "serves until Ctrl-C: tests/harness/reporting/test_serve.py",
    r"status --watch": "watches until Ctrl-C: tests/harness/cli/test_status.py",
    r"data fetch ": "downloads: tests/harness/data/test_fetch.py has a server of its own",
    r"--record FILE": "needs a stranger's row: tests/harness/reporting/submissions",
}
"""Patterns of commands that aren't run here, and what does it instead."""
TINY = "--cards cards --data-root data"
INSTEAD = (
    (r"\./mine\.py:Mine|FILE\.py:CLASS", "./mine.py:EarlyPrompts"),
    (r"postgresql\+psycopg://\S+", "sqlite:///results/harness.db"),
    (r"(data (?:status|verify|prepare|export)) --suite vtab --data-root \S+", rf"\1 tiny {TINY}"),
    (r"(data verify) --tasks cifar10 .*", rf"\1 tiny {TINY}"),
    (r"data keys (?:TASK|cifar100)(.*)", rf"data keys tiny\1 {TINY}"),
    (r"(run .*)--tasks cifar10 --cards \S+ --data-root \S+", rf"\1 --tasks tiny {TINY}"),
    # no row here is under another protocol
    (r"report --protocol vpt ", "report --protocol mini "),
    (r"--address auto ", ""),
    (r"run --hparams osu$", "run --hparams osu --methods lora --suite vtab --protocol petl"),
    (r"tuned(.*) street.jpg", r"segmented\1 street.jpg"),
    (r"seeds 42", "seeds 0"),
    # the folder's store has others' rows, and searches of two lengths
    (r"submit --to (\S+)(.*)", r"submit --to results/submissions/ours\2 --store own.db"),
    (r"results hparams --to mine", "results hparams --suite vtab --to tuned"),
)
"""What stands in the docs, and what is run in its place."""


def in_place(line: str, ids: list[str]) -> str:
    for pattern, other in INSTEAD:
        line = re.sub(pattern, other, line)
    line = re.sub(r"\b3fa\b|\bID\b", ids[1 if "--merged" in line else 0], line)
    line = re.sub(r"\b81c\b", ids[1], line)
    if re.match(r"harness (run|ablate)\b", line):
        far = re.search(r"--suite (vtab|ade20k|everything)|--tasks cifar100", line)
        small = "mini_vit" if far and far[1] in (None, "vtab") else "vit_tiny_patch16_224"
        line += f" --backbone {small}" * bool(far and "--backbone" not in line)
        line += " --data-root none" * bool(far and "--data-root" not in line)
        line += " --dry-run" * ("--dry-run" not in line)
    return line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, harness) -> Iterator[Path]:
    """Where a reader is: with results of their own and of others, data, a method, and pictures."""
    at = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(at)
        for words in (
            "run --methods linear,vpt-deep digits --trials 1 --seeds 0",
            "run --methods linear --suite mini-seg --trials 1 --seeds 0",
            "results export own.parquet --checkpoints own.checkpoints",
            "results import own.parquet --checkpoints --store own.db",
            f"results import {ROOT}/results/submissions/mini-cpu/rows.parquet --store sent.db",
            "results export sent.parquet --suite mini --store sent.db",  # without checkpoints
            "results import sent.parquet",
            "results export theirs.parquet --checkpoints theirs.checkpoints",
        ):
            done = harness(*words.split(), cwd=at)
            assert done.returncode == 0, done.stdout + done.stderr
        shutil.copyfile(at / "results" / "harness.db", at / "colleague.db")
        fill(Store("results/harness.db"), wanted=6, suite="vtab", seeds=2)
        for page, file in (("add_a_method.md", "mine.py"), ("swin.md", "first.py")):
            code = re.search(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
            assert code is not None
            (at / file).write_text(code[1])
        (at / "mine.csv").write_text("method,task,base_lr,weight_decay\nlora,cifar100,0.004,0.01\n")
        (at / "vtab.toml").write_text('methods = "linear"\ntasks = "digits"\n')
        tiny_folder.draw(at / "data" / "tiny")
        (at / "cards").mkdir()
        (at / "cards" / "tiny.toml").write_text(tiny_folder.CARD)
        (at / "none").mkdir()
        shutil.copytree(ROOT / "results" / "submissions", at / "results" / "submissions")
        for name in ("a", "b", "street"):
            Image.new("RGB", (40, 30), (90, 120, 200)).save(at / f"{name}.jpg")
        yield at


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, str]:
    """Ids of rows that were trained in the folder, by task."""
    store = Store(folder / "results" / "harness.db")
    cells = store.cells()
    kept = {file.stem for file in (folder / "results").rglob("*.safetensors")}
    return {
        f"{cells[row.cell].labels['variant']} {cells[row.cell].identity['task']['name']}": row.id
        for row in store.results()
        if row.id in kept
    }


def test_every_command_ends_well(
    folder: Path,
    rows: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    ids = [rows["vpt-deep digits"], rows["linear digits"]]
    (segmented,) = [row for name, row in rows.items() if "digits" not in name]
    assert run_command(monkeypatch, "export", segmented, "segmented.safetensors") == 0
    lines = list(dict.fromkeys(line for _, line in shown_commands()))
    # what is removed is removed last, and what is read is written first
    lines.sort(key=lambda line: (" rm " in line, " predict " in line, " export " not in line))
    skipped, wrong, ran = set(), [], 0
    for line in lines:
        if line in UNPARSED:
            continue
        why = [pattern for pattern in NOT_RUN if re.search(pattern, line)]
        if why:
            skipped.update(why)
            continue
        run = in_place(line, ids)
        words = shlex.split(run)[1:]
        if " rm " in run:
            words.append("--yes")
        code = run_command(monkeypatch, *words)
        said = capsys.readouterr()
        ran += 1
        if code != 0:
            wrong.append(
                f"{line}\n    as {run}\n    {code}: {(said.err or said.out).strip()[-300:]}"
            )
    assert not wrong, "\n".join(wrong)
    assert skipped == set(NOT_RUN)
    assert ran > 70
