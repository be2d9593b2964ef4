"""A method through the engine in this process: a final run on a tiny task, and its checkpoint."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from in_process import outcomes
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.vit import FrozenViT
from harness.engine.jobs import FinalJob, Outcome
from harness.engine.trainer import Trainer
from harness.inference import checkpoint, checkpoint_files, tuned_model
from harness.planning.cost import variant_cost
from harness.planning.plan import plan
from harness.training.heads import Model
from harness.training.train_split import TrainSplit

POINT: Mapping[str, Any] = {"base_lr": 0.05, "weight_decay": 0.01}


@dataclass(frozen=True)
class WholeRun:
    outcome: Outcome
    model: Model
    """As it was trained."""
    tuned: tuned_model.Tuned
    """From its checkpoint."""
    kept: set[str]
    """The names of the checkpoint's tensors."""
    planned_units: float
    """What a plan says that the run spends."""


def final_run(tiny: Any, method: str, point: Mapping[str, Any] = POINT, **more: Any) -> WholeRun:
    """Of `method`, as typed, on the toy task unless `more` says another."""
    found = plan(tiny.request(method, **more))
    (cell,) = found.cells
    keep = checkpoint_files.Keep(tiny.folder / "kept")
    trainer = Trainer(found, threads=1, raises=True, keep=keep)
    _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), dict(point)))
    (file,) = keep.folder.iterdir()
    origin, tensors = checkpoint.read(file)
    base = found.backbones[cell.backbone]
    assert isinstance(trainer.model, Model)
    return WholeRun(
        outcome,
        trainer.model,
        tuned_model.rebuilt("a test", cell.variant, base, origin, tensors),
        set(tensors),
        variant_cost(cell.variant, cell.card, cell.protocol, 0, 1).units,
    )


def trained(
    tiny: Any, method: str, tasks: str = "toy", **point: Any
) -> tuple[Outcome, Model, Model]:
    """What came of a final run at a point of the search, the model that it trained, and the one
    that its checkpoint makes."""
    values = {"base_lr": 0.05, "weight_decay": 0.0001, **point}
    run = final_run(tiny, method, values, tasks=tasks)
    assert isinstance(run.tuned.model, Model)
    return run.outcome, run.model.eval(), run.tuned.model.eval()


def agrees_after_loading(run: WholeRun) -> bool:
    """Whether the loaded model puts out what the trained one does."""
    side = run.tuned.size
    images = torch.randn(5, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.equal(run.model.eval()(images), run.tuned(images))


def frozen(vit: VisionTransformer) -> FrozenViT:
    """A copy of a small ViT, as a method gets one."""
    pooling = "avg" if vit.global_pool == "avg" else "cls"
    return FrozenViT(copy.deepcopy(vit), pooling)


def train_split(
    images: Tensor, labels: Tensor, at_once: int = 256, seed: int = 0, classes: int = 3
) -> TrainSplit:
    """For `begin`, outside a run."""

    def still(rows: Tensor) -> tuple[Tensor, Tensor]:
        return images[rows], labels[rows]

    return TrainSplit(len(images), still, lambda: iter(()), seed, at_once, classes)
