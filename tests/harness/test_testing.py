"""The checks of `harness try`: every method of ours passes them, and each of these faults is named
by the check that is made for it."""

import importlib.metadata
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import Effort, Method, Read, TrainSplit, new_prompts
from harness.testing import CHECKS, check_method
from methods.vpt import VPTDeep

OURS = sorted(
    entry.name
    for entry in importlib.metadata.entry_points(group="harness.methods")
    if entry.value.startswith("methods.")
)


@pytest.mark.parametrize("name", OURS)
def test_every_method_of_ours_passes(name: str):
    report = check_method(name)
    assert "\n".join(str(one) for one in report.checks if one.state == "failed") == ""
    assert [check.name for check in report.checks] == [name for name, _, _ in CHECKS]


class Plain(VPTDeep):
    """Without dropout."""

    name = "plain"
    search_space = {}
    allows = {}
    toggles = ()

    def __init__(self, vit: Any):
        super().__init__(vit, prompts=3, dropout=0.0)


class DrawnAtLoad(Plain):
    name = "drawn-at-load"

    def __init__(self, vit: Any):
        super().__init__(vit)
        self.noise = torch.randn(vit.dim)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return [one + self.noise for one in super().forward(images, read)]


class NotKept(DrawnAtLoad):
    name = "not-kept"

    def __init__(self, vit: Any):
        super().__init__(vit)
        del self.noise
        self.register_buffer("noise", torch.randn(vit.dim), persistent=False)


class SeesValByFrames(Plain):
    name = "sees-val-by-frames"

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        frame: Any = sys._getframe()
        while frame is not None:
            if "held_out" in frame.f_locals:
                self.prompts += frame.f_locals["held_out"].images.mean()
            frame = frame.f_back


VAL: list[Path] = []


class SeesValByAFile(Plain):
    name = "sees-val-by-a-file"

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        self.prompts += float(VAL[0].read_text())


class ChangedByEvaluation(Plain):
    name = "changed-by-evaluation"

    def __init__(self, vit: Any):
        super().__init__(vit)
        self.register_buffer("mean", torch.zeros(vit.dim))

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        tokens = super().forward(images, read)
        self.mean = 0.9 * self.mean + 0.1 * tokens[-1].detach().mean((0, 1))
        return [one - self.mean for one in tokens]


class CountedInEvaluation(Plain):
    name = "counted-in-evaluation"

    def __init__(self, vit: Any):
        super().__init__(vit)
        self.calls = 0

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        self.calls += 0 if self.training else 1
        return [one + self.calls for one in super().forward(images, read)]


class DrawsInEvaluation(Plain):
    name = "draws-in-evaluation"

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return [one + 0 * torch.rand(()) for one in super().forward(images, read)]


class SeesItsBatch(Plain):
    name = "sees-its-batch"
    whole_batch = True

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return [one - one.mean(0) for one in super().forward(images, read)]


class NeverReached(Plain):
    name = "never-reached"

    def __init__(self, vit: Any):
        super().__init__(vit)
        self.scale = nn.Parameter(torch.ones(vit.dim))

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return [self.scale.detach() * one for one in super().forward(images, read)]


class Misspelt(Method):
    name = "misspelt"

    def __init__(self, vit: Any):
        super().__init__(vit)
        self.prompts = new_prompts(vit, vit.depth, 3)

    def foward(self, images: Tensor, read: Read) -> list[Tensor]:
        return self.vit.run(self.vit.embed(images), read, list(self.prompts))


class ReachedByZero(NeverReached):
    name = "reached-by-zero"

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return [(1 + 0 * self.scale) * one for one in Plain.forward(self, images, read)]


class ShapeFromData(Plain):
    name = "shape-from-data"

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        self.register_buffer("seen", torch.zeros(len(train)))


class RowsFromData(Plain):
    name = "rows-from-data"

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        tokens = super().forward(images, read)
        if read.rows == "cls":
            return tokens
        size = tokens[-1].square().sum((0, 2))
        strong = size >= size.mean()
        return [one[:, strong] for one in tokens]


class NotRepeatable(Plain):
    name = "not-repeatable"

    def __init__(self, vit: Any):
        super().__init__(vit)
        with torch.no_grad():
            self.prompts += random.SystemRandom().random()


class Summed(Plain):
    name = "summed"

    def penalty(self, labels: Tensor, head: nn.Module) -> Tensor:
        return self.prompts.square().mean() * len(labels)


class Costly(Plain):
    name = "costly"

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        for _ in range(3):
            for images, _ in train.batches():
                self.vit.embed(images)


class SaysAnotherStage(Plain):
    name = "says-another-stage"

    @classmethod
    def effort(cls, arguments: Any, images: int, batch_size: int) -> Effort:
        return Effort(stages=2)


class Unbuilt(Plain):
    name = "unbuilt"
    toggles = ("wide",)

    def __init__(self, vit: Any, wide: bool = False):
        super().__init__(vit)
        self.prompts = new_prompts(vit, vit.depth, [3][int(wide)])


class Overflowing(Plain):
    name = "overflowing"

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        tokens = super().forward(images, read)
        half = torch.is_autocast_enabled("cpu")
        return [one * torch.finfo(torch.float32).max ** half for one in tokens]


class Misnamed(Plain):
    name = "misnamed"
    train_only = ("helper",)


class Mispooled(Plain):
    name = "mispooled"

    @property
    def width(self) -> int:
        return 2 * self.vit.dim


class OutputsOfPrompts(Plain):
    name = "outputs-of-prompts"
    refuses = {"segmentation": "its head reads the outputs of prompts"}

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        tokens, count = self.vit.embed(images), self.prompts.shape[1]
        tokens = torch.cat([tokens, self.prompts[0].expand(len(images), -1, -1)], dim=1)
        for index in range(self.vit.depth):
            added = self.prompts[index].mean(0)
            block: Any = self.vit.vit.blocks[index]
            mixed = self.vit.mix(index, *self.vit.project(index, block.norm1(tokens), "qkv"))
            tokens = self.vit.feed(index, tokens + block.ls1(mixed) + added)
        return [tokens[:, -count:]]

    def pool(self, tokens: Tensor) -> Tensor:
        return tokens.mean(1)


def test_a_method_that_pools_may_give_any_rows():
    report = check_method(OutputsOfPrompts)
    assert report.ok, report


@pytest.mark.parametrize(
    ("method", "check", "said"),
    [
        (DrawnAtLoad, "checkpoint", r"differs in logits by \S+: noise is made anew"),
        (NotKept, "checkpoint", r"noise is made anew .* in __init__\)"),
        (SeesValByFrames, "held-out split", r"training gives another prompts.*, in begin\)"),
        (SeesValByAFile, "held-out split", r"reads \S*held-out.txt: .*, in begin\)"),
        (ChangedByEvaluation, "evaluation", r"evaluation changes mean \(.*, in forward\)"),
        (CountedInEvaluation, "evaluation", "other logits in a second evaluation"),
        (DrawsInEvaluation, "evaluation", "draws from torch's generator"),
        (SeesItsBatch, "evaluation", "depend on the others of its batch"),
        (NeverReached, "gradients", r"no gradient arrives at scale \(.*, in forward\)"),
        (
            Misspelt,
            "gradients",
            r"arrives at prompts\. Misspelt has no forward of its own: is 'foward' to be it\?",
        ),
        (ReachedByZero, "gradients", "the gradient is zero at scale"),
        (ShapeFromData, "shapes", r"seen is absent when built and \(12,\) after begin\(\)"),
        (RowsFromData, "shapes", r"rows .* \(.*, in forward\)"),
        (NotRepeatable, "repeatable", "the same seed gives another prompts"),
        (Summed, "micro-batch", r"parts of 4 and 2 images .*, in penalty\)"),
        (Costly, "plan", r"passed 91 .* say 67 .*, in begin\)"),
        (SaysAnotherStage, "contract", r"has 1 stages and effort\(\) says 2"),
        (Unbuilt, "contract", "wide=True can't be built: IndexError"),
        (Overflowing, "bf16", "isn't finite"),
        (Misnamed, "trained values", "train_only names 'helper'"),
        (Mispooled, "shapes", r"pool\(\) gives \(3, 48\), and width says \(3, 96\)"),
    ],
)
def test_a_fault_is_named_by_its_check(method: type[Method], check: str, said: str, tmp_path: Path):
    VAL[:] = [tmp_path / "held-out.txt"]
    VAL[0].write_text("0.5")
    report = check_method(method)
    assert report.failed == (check,), report
    (found,) = [one for one in report.checks if one.state == "failed"]
    assert "\n" not in found.said
    assert "test_testing.py:" in found.said
    assert re.search(said, found.said), found.said
