"""A method's final run on the toy task (or another), and the same method out of its checkpoint."""

from typing import Any

from in_process import outcomes

from harness.engine.jobs import FinalJob, Outcome
from harness.engine.worker import Trainer
from harness.inference import checkpoint
from harness.planning.plan import plan
from harness.training.heads import Model


def trained(
    tiny: Any, method: str, tasks: str = "toy", **point: Any
) -> tuple[Outcome, Model, Model]:
    """`method` as a user writes it, at a point of its search: what came of the run, the model that
    it trained, and the one that its checkpoint makes."""
    run = plan(tiny.request(method, tasks))
    (cell,) = run.cells
    keep = checkpoint.Keep(tiny.folder / "kept")
    trainer = Trainer(run, threads=1, raises=True, keep=keep)
    values = {"base_lr": 0.05, "weight_decay": 0.0001, **point}
    _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), values))
    assert isinstance(trainer.model, Model)
    (file,) = keep.folder.iterdir()
    base = run.backbones[cell.backbone]
    again = checkpoint.rebuilt("a test", cell.variant, base, *checkpoint._read(file))
    assert isinstance(again.model, Model)
    return outcome, trainer.model.eval(), again.model.eval()
