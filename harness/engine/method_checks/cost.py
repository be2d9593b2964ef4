"""A step's time, operations and memory beside VPT-Deep's; on a ConvNet, full fine-tuning's."""

import time
from typing import Any

import torch

from harness.backbones.frozen import FrozenBackbone
from harness.engine.method_checks.report import Skipped
from harness.engine.method_checks.subject import BATCH, CLASSES, CPU, Subject
from harness.planning.variants import one
from harness.training.flops import kept_bytes, step_flops
from harness.training.heads import LinearHead, Model
from harness.training.kind import Kind
from harness.training.step import loss_of


def cost(subject: Subject) -> str:
    """Beside the other, of the same batch in turns."""
    if subject.method.constant_features:
        raise Skipped("its features are constant: only the head is trained")
    vit = subject.backbone or subject.plain
    beside = one("vpt-deep" if "prompts" in vit.carries else "full")
    models = [
        Model(method, LinearHead(method, CLASSES)).train()
        for method in (subject.build(vit), beside.build(vit, {}))
    ]
    flops = step_flops(subject.kind, models[0], vit.image_size, 64, CPU)
    others = _flops_of(beside.name, subject.kind, models[1], vit)
    kept = [_kept(subject, model, vit.image_size) for model in models]
    times = [float("inf")] * 2
    for _ in range(4):
        for at, model in enumerate(models):
            started = time.perf_counter()
            _step(subject, model, vit.image_size)
            times[at] = min(times[at], time.perf_counter() - started)
    return (
        f"a step of {BATCH} images {1000 * times[0]:.1f} ms; of {beside.name}'s time"
        f" {times[0] / times[1]:.2f}, FLOPs {flops / others:.2f}, memory"
        f" {kept[0] / kept[1]:.2f}"
    )


def _flops_of(name: str, kind: Kind[Any], model: Model, vit: FrozenBackbone) -> int:
    """Of the method that others are beside: counted once for backbones of the same shape."""
    shapes = tuple(tuple(parameter.shape) for parameter in vit.parameters())
    key = (name, kind.task, vit.family, shapes)
    if key not in _counted:
        _counted[key] = step_flops(kind, model, vit.image_size, 64, CPU)
    return _counted[key]


_counted: dict[tuple[Any, ...], int] = {}


def _step(subject: Subject, model: Model, side: int) -> None:
    images, labels = torch.randn(BATCH, 3, side, side), torch.arange(BATCH) % CLASSES
    loss_of(subject.kind, model, images, labels).backward()  # pyright: ignore[reportUnknownMemberType]
    model.zero_grad()


def _kept(subject: Subject, model: Model, side: int) -> int:
    """Bytes that a step keeps for its backward pass, weights aside."""
    return kept_bytes(lambda: _step(subject, model, side), model.state_dict().values())
