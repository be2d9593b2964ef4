"""What a checkpoint keeps of a method."""

from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from harness.backbones.changes import AS_LOADED
from harness.engine.method_checks.report import Fault
from harness.engine.method_checks.subject import Subject
from harness.inference import checkpoint
from harness.text import first_few
from harness.training.heads import Model
from harness.training.seeds import seed_all


def kept(subject: Subject) -> str:
    """What is kept of a run, put into an object that was built with another seed."""
    model, _ = subject.trained
    images = subject.held_out.images
    expected = subject.logits(model, images)
    data = save({name: one.clone() for name, one in checkpoint.contents(model).items()})
    for seed in (subject.seed, subject.seed + 1):
        seed_all(seed)
        fresh = subject.model()
        try:
            checkpoint.put(fresh, load(data))
        except ValueError:
            mine = checkpoint.contents(fresh)
            odd = sorted(set(mine) ^ set(load(data)))
            raise Fault(
                f"its tensors aren't those of a fresh object: {first_few(odd)}",
                subject.place("__init__"),
            ) from None
        found = subject.logits(fresh, images)
        if not torch.equal(found, expected):
            unkept = first_few(_unkept(model, fresh)) or "something"
            raise Fault(
                f"a fresh object with the checkpoint's tensors differs in logits by"
                f" {(found - expected).abs().max():.2g}: {unkept} is made anew and isn't in the"
                " checkpoint; make it a parameter, or a buffer by register_buffer",
                subject.place("__init__"),
            )
    return f"equal logits from {len(data):,} bytes"


def _unkept(one: Model, other: Model) -> list[str]:
    """Tensors of the method, registered or not, in which two models differ, and that no checkpoint
    has."""
    kept = set(checkpoint.tuned_tensors(one))
    mine, theirs = _held(one), _held(other)
    return [
        name.removeprefix("method.")
        for name, tensor in mine.items()
        if name not in kept and (name not in theirs or not torch.equal(tensor, theirs[name]))
    ]


def _held(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor of the method's own modules: parameters, buffers, plain attributes and those in
    lists."""
    found: dict[str, Tensor] = {}
    modules: list[tuple[str, Any]] = list(model.named_modules())  # pyright: ignore[reportUnknownArgumentType]  # torch: no annotation
    for prefix, module in modules:
        if AS_LOADED in module.__dict__:
            continue
        held: dict[str, Any] = {**module.__dict__, **module._parameters, **module._buffers}
        for name, value in held.items():
            items: list[Any] = list(value) if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownArgumentType]
            for item in items:
                if isinstance(item, Tensor):
                    found.setdefault(f"{prefix}.{name}", item)
    return found
