"""Whatever a user's method does wrong is one line that names the user's own file and line."""

import re
from pathlib import Path

import pytest
import torch

from harness import backbones
from harness.engine.failures import reason_of
from harness.engine.jobs import TuneJob
from harness.engine.trainer import Trainer
from harness.errors import BadInput
from harness.planning.plan import plan
from harness.planning.variants import parse
from harness.training.heads import LinearHead, Model

HEAD = """import torch
from torch import nn

from harness.training.method import Method


class Mine(Method):
    name = "mine"

"""
INIT = HEAD + "    def __init__(self, vit):\n        super().__init__(vit)\n        {}\n"
FORWARD = HEAD + "    def forward(self, images, read):\n        {}\n"


@pytest.fixture
def planned(tiny):
    def of(text: str):
        (tiny.folder / "mine.py").write_text(text)
        return plan(tiny.request(f"{tiny.folder}/mine.py:Mine"))

    return of


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "self.heads = vit.num_heads",
            (
                r"AttributeError: 'FrozenViT' object has no attribute 'num_heads' \(.*mine.py:12,"
                r" in __init__\)"
            ),
        ),
        ("{}['layer']", r"KeyError: 'layer' \(.*mine.py:12"),
        ("assert vit.dim == 768", r"AssertionError \(.*mine.py:12"),
        (
            "raise ValueError('no such depth.')",
            r"can't be built on mini_vit: no such depth \(.*mine.py:12",
        ),
        ("nn.Linear(vit.dim, -1)", r"RuntimeError: .*\(.*mine.py:12, in __init__"),
        ("torch.zeros(3)[5]", r"IndexError: .*mine.py:12"),
        ("raise SystemExit(0)", r"SystemExit: 0 \(.*mine.py:12, in __init__\)"),
        (
            "self.vit = vit.vit",
            "Mine's self.vit must be the backbone that it is given, not a VisionTransformer",
        ),
    ],
)
def test_a_constructor_that_fails(planned, line: str, message: str):
    with pytest.raises(BadInput, match=message) as caught:
        planned(INIT.format(line))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", ["self.layers = 3", "pass"])
def test_a_constructor_that_forgets_the_base_class(planned, body: str):
    with pytest.raises(BadInput, match=r"Mine.__init__ doesn't call super\(\).__init__\(vit\)"):
        planned(HEAD + f"    def __init__(self, vit):\n        {body}\n")
    with pytest.raises(BadInput, match=r"before Module.__init__\(\) call \(.*mine.py:11"):
        planned(
            HEAD + "    def __init__(self, vit):\n        self.p = nn.Parameter(torch.zeros(1))\n"
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEAD + "    oops = 1 / 0\n",
            r"can't be imported: ZeroDivisionError: division by zero \(.*mine.py:10, in Mine\)",
        ),
        (HEAD + "    def forward(self\n", r"can't be imported: SyntaxError: .*mine.py:10"),
        (
            "import argparse\nargparse.ArgumentParser().parse_args(['x'])\n",
            r"ends Python while it is imported \(SystemExit: 2; .*mine.py:2",
        ),
        (
            "import absent_module\n",
            r"ModuleNotFoundError: No module named 'absent_module' \(.*mine.py:1",
        ),
        (
            "from methods.mine import X\n",
            r"'methods' is this harness's own package, so rename yours",
        ),
        (
            "from torch import nn\n\n\nclass Mine(nn.Module):\n    pass\n",
            "Mine is a plain nn.Module: make it a subclass",
        ),
        ("Mine = 3\n", "Mine is not a method: make it"),
        (HEAD.replace("Mine", "Other") + "    pass\n", "has no method 'Mine', .* It has Other"),
        (
            FORWARD.replace("images, read", "images").format("pass"),
            r"forward must take \(self, images, read\), not \(self, images\)",
        ),
        (
            HEAD + "    @classmethod\n    def check(cls, arguments):\n        {}['x']\n",
            r"its check\(\) fails: KeyError: 'x' \(.*mine.py:12",
        ),
        (
            HEAD
            + "    @classmethod\n    def check(cls, arguments):\n        raise SystemExit(0)\n",
            r"its check\(\) fails: SystemExit: 0 \(.*mine.py:12",
        ),
    ],
)
def test_a_file_or_a_class_that_is_no_good(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture
):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        parse(f"{tmp_path}/mine.py:Mine")
    assert "\n" not in str(caught.value)


def test_an_optimizer_that_there_is_not(planned):
    with pytest.raises(
        BadInput,
        match="mine: its class's `optimizer` is wrong: optimizer: Input should be 'sgd' or 'adamw'",
    ):
        planned(HEAD + "    optimizer = {'optimizer': 'lion'}\n")


def test_a_file_without_a_class(tmp_path: Path):
    (tmp_path / "mine.py").write_text(HEAD + "    pass\n")
    with pytest.raises(BadInput, match=r"add the class, .*mine.py:CLASS. It has Mine\."):
        parse(f"{tmp_path}/mine.py")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return self.vit.embed(images)",
            (
                r"Mine.forward \(.*mine.py:10\) returned a tensor of shape \(2, \d+, 96\), and a"
                r" head reads a list"
            ),
        ),
        (
            "return [self.vit.embed(images).mean(1)]",
            r"mine.py:10\) returned tensors of shape \(2, 96\)",
        ),
        ("return []", r"returned a list of 0"),
        ("pass", r"returned a NoneType"),
        (
            "return self.vit.run(self.vit.embed(images) @ torch.zeros(7, 7), read)",
            r"RuntimeError: .* \(.*mine.py:11, in forward\)",
        ),
        ("import json; json.loads('{')", r"JSONDecodeError: .* \(.*mine.py:11, in forward\)"),
    ],
)
def test_a_forward_that_fails_or_gives_what_no_head_reads(planned, body: str, message: str):
    (cell,) = planned(FORWARD.format(body)).cells
    vit = backbones.load("mini_vit").vit
    method = cell.variant.build(vit, {})
    with pytest.raises((TypeError, RuntimeError, ValueError)) as caught:
        Model(method, LinearHead(method, 3))(torch.zeros(2, 3, vit.image_size, vit.image_size))
    said = reason_of(caught.value, 2)
    assert re.search(message, said), said
    assert "\n" not in said


def test_constant_features_that_no_head_reads_are_said_too(planned):
    made = planned(
        HEAD
        + "    constant_features = True\n\n    def forward(self, images, read):\n        return"
        " images\n"
    )
    with pytest.raises(
        TypeError, match=r"Mine.forward \(.*mine.py:12\) returned a tensor of shape"
    ):
        list(
            Trainer(made, threads=1).run(
                TuneJob(made.cells[0].key, ((0, {"base_lr": 0.5, "weight_decay": 0.0}),))
            )
        )
