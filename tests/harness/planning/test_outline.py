"""A run whose results are all stored is answered without torch, as long as nothing that it follows
from has changed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.backbones.cards import WEIGHTS

MINE = '''
from methods.linear import Linear


class Mine(Linear):
    """{said}"""

    name = "mine"
'''

PLAN = """
from harness.planning import outline
from harness.planning.plan import plan
from harness.planning.request import Request
from harness.store import Store

request, store = Request(**ASKED), Store(STORE)
planned = plan(request)
outline.keep(request, outline.of_plan(planned))
store.add_cells(cell.cell for cell in planned.cells)
pairs = [(cell.cell, seed) for cell in planned.cells for seed in cell.seeds]
store.add([], (), [made_up.result(cell, seed) for cell, seed in pairs])
"""

BEGIN = """
import json, sys
from pathlib import Path

import made_up
from harness.planning import outline
from harness.planning.request import Request
from harness.store import Store

def recalled(store=STORE, **more):
    return outline.recalled(Request(**{**ASKED, **more}), Store(store)) is not None

def changed(file, old, new):
    before = Path(file).read_text()
    assert old in before
    Path(file).write_text(before.replace(old, new, 1))
    found = recalled()
    Path(file).write_text(before)
    return found

"""


class Place:
    """Where a run was planned, and its results are stored."""

    def __init__(self, tiny: Any) -> None:
        self.tiny, self.mine = tiny, tiny.folder / "mine.py"
        self.mine.write_text(MINE.format(said="As it was."))
        self.weights = tiny.folder / "mini.safetensors"
        self.weights.write_bytes((WEIGHTS / "mini_vit.safetensors").read_bytes())

        self.store = str(tiny.folder / "results.db")
        self.asked = {
            "methods": f"linear,vpt,{self.mine}:Mine",
            "tasks": "toy,digits",
            "cards": tiny.cards,
            "protocol": str(tiny.protocol),
            "backbone": f"mini_vit={self.weights}",
        }

    def process(self, code: str) -> str:
        """What a new Python prints."""
        begin = (
            f"from pathlib import Path, PosixPath\nASKED = {self.asked!r}\nSTORE = {self.store!r}\n"
        )
        cache = str(self.tiny.folder / "cache")
        places = os.pathsep.join(sys.path)
        done = subprocess.run(
            [sys.executable, "-c", f"{begin}{BEGIN}{code}"],
            cwd=self.tiny.folder,
            env={**os.environ, "VPT_HARNESS_CACHE": cache, "PYTHONPATH": places},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def place(make_tiny: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = Place(make_tiny(tmp_path_factory.mktemp("outline")))
    time.sleep(2.2)  # younger files aren't relied on
    made.process(PLAN)
    return made


def test_it_needs_neither_torch_nor_timm_nor_ray(place: Place):
    code = """
found = outline.recalled(Request(**ASKED), Store(STORE))
print(json.dumps([found.keys, sorted(Store(STORE).cells()), sorted(sys.modules)]))
"""
    keys, stored, modules = json.loads(place.process(code))
    assert len(keys) == 6
    assert sorted(keys) == stored
    assert not set(modules) & {"torch", "timm", "ray", "pandas", "sklearn", "torchvision"}


def test_nothing_else_is_it_and_what_is_as_before_is_it_again(place: Place):
    other, mine, protocol = place.tiny.folder / "other.db", place.mine, place.tiny.protocol
    card = place.tiny.cards / "toy.toml"
    code = f"""
print(json.dumps({{
    "itself": recalled(),
    "trials": recalled(trials=3),
    "seeds": recalled(seeds=(0, 1, 2)),
    "methods": recalled(methods="linear"),
    "another store": recalled(store={str(other)!r}),
    "a method's file": changed({str(mine)!r}, "As it was", "As it is"),
    "a protocol": changed({str(protocol)!r}, "epochs = 2", "epochs = 3"),
    "a card": changed({str(card)!r}, "grey squares", "gray squares"),
    "itself again": recalled(),
}}))
"""
    found = json.loads(place.process(code))
    assert [name for name, recalled in found.items() if recalled] == ["itself", "itself again"]


def test_neither_are_other_data_or_weights(place: Place):
    """The last, since a file's times don't come back."""
    data = place.tiny.cards / "toy.npz"
    assert place.process("print(recalled())") == "True"
    data.write_bytes(data.read_bytes())
    again = "from harness.data.fingerprint import fingerprint; from harness.tasks.cards import *\n"
    again += "print(recalled()); fingerprint(load_cards(ASKED['cards'])['toy'], None)\n"
    assert place.process(f"{again}print(recalled())").split() == ["False", "True"]
    place.weights.write_bytes(place.weights.read_bytes())
    time.sleep(2.2)
    assert place.process("print(recalled())") == "False"
