"""What heads read of a method, on every backbone and for every kind of task."""

import torch
from torch import Tensor

from harness.backbones.frozen import Pooling, Read
from harness.engine.method_checks.report import Fault
from harness.engine.method_checks.subject import CLASSES, CONVNETS, SIDE, Subject, made_up
from harness.training.heads import Model, SetrPup, check_tokens
from harness.training.kinds import kind_of
from harness.training.method import Method
from harness.training.step import loss_of

POOLINGS: dict[str, tuple[Pooling, ...]] = {
    "CLS": ("cls", "avg", "vpt-mae"),
    "mean-pooled": ("avg", "vpt-mae"),
    "registers": ("cls", "avg"),
    **{name: ("avg",) for name in CONVNETS},
}


def shapes(subject: Subject) -> str:
    """What the heads read, for every read; and that no tensor's shape depends on the data."""
    reads: list[str] = []
    images = {count: made_up(count, count).images for count in (1, 3)}
    for name, vit in subject.vits.items():
        if name in subject.refused:
            continue
        for pooling in POOLINGS[name]:
            try:
                method = subject.build(type(vit)(vit.vit, pooling))
            except ValueError:
                continue  # what it can't be built for
            for training in (True, False):
                seen = [
                    _read(method.train(training), method.vit.read(), one)
                    for one in (*images.values(), 0 * images[3])
                ]
                if len({tokens[-1].shape[1] for tokens in seen}) > 1:
                    raise Fault("the number of rows depends on the images")
                features = method.pool(seen[1][-1])
                if features.shape != (3, method.width):
                    raise Fault(
                        f"pool() gives {tuple(features.shape)}, and width says (3, {method.width})",
                        subject.place("pool"),
                    )
            reads.append(pooling)
    said = f"{', '.join(dict.fromkeys(reads))}"
    said += _segmentation(subject, images[3])
    before = {name: tensor.shape for name, tensor in subject.model().state_dict().items()}
    model = subject.begun()
    hooks = subject.hooks(model)
    for stage in range(hooks.stages):
        if stage:
            hooks.advance(stage)
        name = "advance" if stage else "begin"
        after = {name: tensor.shape for name, tensor in model.state_dict().items()}
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                own = key.removeprefix("method.")
                shapes = [tuple(one[key]) if key in one else "absent" for one in (before, after)]
                raise Fault(
                    f"{own} is {shapes[0]} when built and {shapes[1]} after {name}()",
                    subject.place(name),
                )
    return said


def _read(method: Method, read: Read, images: Tensor, segmentation: bool = False) -> list[Tensor]:
    """Raises where what `forward` gives isn't what a head reads."""
    tokens = method(images, read)
    check_tokens(method, read, tokens, len(images))
    least = 1 if read.rows == "cls" else method.vit.image_tokens
    if type(method).pool is not Method.pool and not segmentation:
        return tokens  # which rows it gives is between its forward and its pool
    exact = read.rows != "image+prompts"
    for block, selected in zip(read.blocks, tokens, strict=True):
        rows = selected.shape[1]
        if rows < least or (rows > least and exact):
            raise Fault(
                f"forward gives {rows} rows of block {block}, and a head that reads"
                f" '{read.rows}' reads {least}"
            )
    return tokens


def _segmentation(subject: Subject, images: Tensor) -> str:
    kind, labels = kind_of("segmentation"), torch.zeros(len(images), SIDE, SIDE, dtype=torch.long)
    if reason := subject.method.refuses.get(kind.task.name):
        return f"; refuses segmentation: {reason}"
    for name, vit in subject.vits.items():
        if name in subject.refused:
            continue
        method = subject.build(vit)
        if method.width != method.vit.dim:
            return "; no segmentation: it makes features of an image"
        head = SetrPup(method.vit, CLASSES)
        model = Model(method, head)
        for training in (True, False):
            _read(method.train(training), head.train(training).read, images, segmentation=True)
        loss = loss_of(kind, model.train(), images, labels)
        if loss.requires_grad:
            loss.backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
    return "; segmentation"
