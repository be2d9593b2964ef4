"""A score's key knows the code of a method that isn't built in: what counts as its code, and what
an edited file does to a store."""

import hashlib
import os
import pickle
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import made_up
import pytest
from places import REPOSITORY

from harness.engine.reproduce import replan
from harness.errors import BadInput
from harness.inference import checkpoint_files, tuned_model
from harness.planning import notices, outline, registry
from harness.planning.plan import plan
from harness.planning.source import of_file
from harness.planning.variants import parse
from harness.reporting.report import Report
from harness.reporting.result_list import records, table
from harness.store import Cell, Store, cell_key

MINE = """
import torch
from torch import nn

from harness.training.method import Method


class {name}(Method):
    {line}

    def __init__(self, vit):
        super().__init__(vit)
        self.p = nn.Parameter(torch.zeros(1, vit.dim))

    def forward(self, images, read):
        return self.vit.run(self.vit.embed(images) * {scale} + self.p, read)
"""


def write(
    file: Path, scale: int = 1, name: str = "Mine", line: str = "name = 'mine'", more: str = ""
) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(more + MINE.format(name=name, line=line, scale=scale))
    return file


def source(file: Path) -> str:
    (variant,) = parse(f"{file}:Mine")
    return variant.identity["source"]


def test_a_file_alone_is_known_by_its_sha256_and_built_in_methods_by_their_version(tmp_path: Path):
    file = write(tmp_path / "mine.py")
    assert source(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    before = source(file)
    assert source(write(file, scale=2)) != before
    assert parse("vpt-deep")[0].identity.keys() == {"name", "version", "arguments"}


def test_what_it_imports_from_beside_it_is_its_code_and_nothing_else_is(tmp_path: Path):
    file = write(tmp_path / "mine.py", more="from layers.gate import GATE\nimport alone, json\n")
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "gate.py").write_text("from . import deeper\n\nGATE = deeper.VALUE\n")
    (tmp_path / "layers" / "deeper.py").write_text("VALUE = 1\n")
    (tmp_path / "alone.py").write_text("def late():\n    import lately\n")
    (tmp_path / "lately.py").write_text("")
    (tmp_path / "other.py").write_text("")
    (tmp_path / "json.py").write_text("raise RuntimeError('Python has one of its own')")
    code = of_file(file)
    assert (
        {one.name for one in code.files[1:]}
        == code.local
        == {"layers", "layers.gate", "layers.deeper", "alone", "lately"}
    )
    digests = [source(file)]
    for changed in ("layers/deeper.py", "lately.py", "layers/__init__.py"):
        (tmp_path / changed).write_text("VALUE = 2\n")
        digests.append(source(file))
    assert len(set(digests)) == 4
    (tmp_path / "other.py").write_text("VALUE = 2\n")
    assert source(file) == digests[-1]
    assert sys.modules["layers.deeper"].VALUE == 2, "what runs is what was hashed"


def test_modules_of_the_project_elsewhere_on_the_path_count_and_installed_ones_dont(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lab = tmp_path / "lab"
    (lab / "ourlab").mkdir(parents=True)
    (lab / "ourlab" / "__init__.py").write_text("")
    (lab / "ourlab" / "gates.py").write_text("GATE = 1\n")
    monkeypatch.syspath_prepend(lab)
    file = write(
        tmp_path / "methods_of_mine" / "mine.py",
        more="import timm.layers\nfrom ourlab import gates\n",
    )
    assert [one.name for one in of_file(file).files[1:]] == ["ourlab", "ourlab.gates"]
    assert not of_file(file).local


def test_of_a_built_in_method_below_it_the_version_is_in_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from methods.vpt import VPTDeep

    file = tmp_path / "mine.py"
    file.write_text(
        "from methods.vpt import VPTDeep\n\n\nclass Mine(VPTDeep):\n    name = 'mine'\n"
    )
    before = parse(f"{file}:Mine")[0].identity
    assert before["bases"] == {"vpt-deep": VPTDeep.version}
    monkeypatch.setattr(VPTDeep, "version", "100")
    assert parse(f"{file}:Mine")[0].identity != before


def test_a_worker_gets_the_text_that_was_hashed_even_where_the_file_is_gone_or_holds_a_lock(
    tmp_path: Path,
):
    file = write(
        tmp_path / "mine.py",
        scale=7,
        more="import threading\n\nimport shade\n\nLOCK = threading.Lock()\nSHADE = shade.VALUE\n",
    )
    (tmp_path / "shade.py").write_text("VALUE = 3\n")
    (variant,) = parse(f"{file}:Mine")
    sent = pickle.dumps(variant)
    for gone in (file, tmp_path / "shade.py"):
        gone.unlink()
    there = (
        "import pickle, sys; v = pickle.load(sys.stdin.buffer); m ="
        " sys.modules[v.method.__module__]; print(v.label, m.SHADE, m.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", there], input=sent, capture_output=True, cwd=REPOSITORY, check=True
    )
    assert done.stdout.decode().split() == ["mine", "3", str(file)]


def test_two_methods_of_one_name_are_refused_and_the_same_one_twice_is_one(tmp_path: Path):
    one, other = write(tmp_path / "v1.py"), write(tmp_path / "v2.py", scale=2)
    with pytest.raises(BadInput, match=r"v1.py:Mine and .*v2.py:Mine are both named 'mine'"):
        parse(f"{one}:Mine,{other}:Mine")
    with pytest.raises(BadInput, match="are both named 'mine'"):
        parse(f"{one}:Mine(base_lr=1),{other}:Mine(base_lr=2)", also=["base_lr"])
    assert len(parse(f"{one}:Mine,{one}:Mine")) == 1
    assert len(parse(f"{one}:Mine,{one}:Mine(base_lr=1)", also=["base_lr"])) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("name = 'linear'", "is named 'linear', like a registered method"),
        ("", "is named 'vpt-deep', inherited from VPTDeep, like a"),
    ],
)
def test_the_name_of_a_registered_method_is_refused(tmp_path: Path, line: str, message: str):
    file = tmp_path / "mine.py"
    file.write_text(
        f"from methods.vpt import VPTDeep\n\n\nclass Mine(VPTDeep):\n    {line or 'pass'}\n"
    )
    with pytest.raises(BadInput, match=message):
        parse(f"{file}:Mine")


def test_modules_of_one_name_beside_two_files_are_refused(tmp_path: Path):
    files = [
        write(tmp_path / folder / "mine.py", line=f"name = '{folder}'", more="import shades\n")
        for folder in ("a", "b")
    ]
    for file in files:
        (file.parent / "shades.py").write_text(f"VALUE = '{file.parent.name}'\n")
    with pytest.raises(BadInput, match=r"two methods import a module 'shades'"):
        parse(",".join(f"{file}:Mine" for file in files))


def test_a_package_that_registers_a_built_in_methods_name_is_refused(
    monkeypatch: pytest.MonkeyPatch,
):
    theirs = EntryPoint("vpt", "theirs:VPT", registry.GROUP)
    known = registry.entries()
    monkeypatch.setattr(registry, "_entries", lambda folders: (*known, theirs))
    with pytest.raises(
        BadInput, match=r"method 'vpt' is registered by methods\.vpt:VPT and by theirs:VPT"
    ):
        parse("vpt")
    assert parse("vpt-deep")


@pytest.mark.slow
def test_an_edited_file_makes_a_new_row_beside_the_old_one(tiny):
    """The loop in which everybody develops a method, and all that shows or uses the rows."""
    file = write(tiny.folder / "mine.py")
    method = f"{file}:Mine"
    command = [
        sys.executable,
        "-m",
        "harness",
        *tiny.arguments("--seeds", "0", "--trials", "1", "--workers", "1", methods=method),
    ]

    def run() -> str:
        environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "its code has changed" not in run()
    store = Store(tiny.store)
    (old,) = store.results()
    write(file, scale=0)
    assert (
        "mine: its code has changed since 1 stored result was made. It stays in the store" in run()
    )
    _, new = store.results()
    assert new.cell != old.cell
    assert new.logits_sha256 != old.logits_sha256
    report = str(Report(store).render("md"))
    assert f"{new.score:.1f}" in report
    assert "Not shown: runs of an older version, code, card or data: mine on toy (1)." in report
    listed = records(store, store.results())
    sources = [cell.identity["method"]["source"] for cell in store.cells().values()]
    assert [row["source"] for row in listed] == sources
    assert [str(column.header) for column in table(store, listed).columns][3:5] == [
        "source",
        "seed",
    ]
    with pytest.raises(BadInput, match=f"its method has changed .source: {sources[0][:40]}"):
        replan(old, store.cells()[old.cell], None, None, None, method)
    said: list[str] = []
    tuned_model.load(checkpoint_files.find(store, old), method=method, say=said.append)
    assert "tuned by a different version of mine's file" in said[0]
    tuned_model.load(checkpoint_files.find(store, new), method=method, say=said.append)
    assert len(said) == 1


def test_a_row_of_before_there_were_sources_is_made_again_and_read(tiny):
    """Its identity lacks the field: nothing to hold the code against."""
    file = write(tiny.folder / "mine.py")
    request = tiny.request(f"{file}:Mine", seeds=(0,))
    (cell,) = plan(request).cells
    method = {
        name: value for name, value in cell.cell.identity["method"].items() if name != "source"
    }
    identity = {**cell.cell.identity, "method": method}
    old = Cell(cell_key(identity), identity, cell.cell.labels)
    row = made_up.result(old, 0, provenance={**made_up.MADE, "inputs": dict(cell.inputs)})
    store = Store(tiny.store)
    store.add([old], (), [row])
    assert (
        replan(row, old, None, tiny.cards, None, f"{file}:Mine")[0].cell.identity["task"]
        == identity["task"]
    )
    assert "mine" in str(Report(store).render("csv"))
    (line,) = notices.other_code(outline.of_plan(plan(request)).cells, store)
    assert "mine: its code has changed since 1 stored result was made" in line
