"""The first steps of training: which tensors they reach, in parts of a batch, in bfloat16."""

from dataclasses import replace

import torch
from torch import Tensor

from harness.engine.method_checks.report import Fault, Skipped
from harness.engine.method_checks.subject import BATCH, CPU, PART, Subject, largest_difference
from harness.text import first_few
from harness.training.recipe import new_optimizer
from harness.training.seeds import seed_all
from harness.training.step import backward, loss_of
from harness.training.unreached import no_forward


def gradients(subject: Subject) -> str:
    """Which tensors the first two steps reach, of every stage."""
    if subject.method.constant_features:
        raise Skipped("its features are constant")
    model, recipe, kind = subject.begun(), subject.recipe, subject.kind
    hooks = subject.hooks(model)
    lines: list[str] = []
    for stage in range(hooks.stages):
        if stage:
            hooks.advance(stage)
        optimizer = new_optimizer(model, recipe)
        trained = {
            name.removeprefix("method."): parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and name.startswith("method.")
        }
        reached: list[set[str]] = []
        hooks.epoch(0, recipe)
        batches = next(iter(kind.rounds(subject.train, recipe, subject.seed, CPU)))
        for batch in batches:
            optimizer.zero_grad()
            backward(kind, model.train(), subject.train, batch, recipe, CPU)
            reached.append(
                {name for name, p in trained.items() if p.grad is not None and p.grad.any()}
            )
            for name, parameter in trained.items():
                if parameter.grad is not None and not parameter.grad.isfinite().all():
                    raise Fault(f"the gradient of {name} isn't finite")
            optimizer.step()
        at = f"stage {stage + 1}, " if hooks.stages > 1 else ""
        never = [name for name in trained if not any(name in one for one in reached)]
        if never:
            none = [name for name in never if trained[name].grad is None]
            kind_of_it = "no gradient arrives" if none else "the gradient is zero"
            where = first_few(none or never) + no_forward(model.method)
            raise Fault(f"{at}steps 1 and 2: {kind_of_it} at {where}")
        for step, names in enumerate(reached, start=1):
            without = [name for name in trained if name not in names]
            said = f"all but {first_few(without)}" if without else f"all {len(trained)}"
            lines.append(f"{at}step {step}: {said}")
    return "; ".join(lines)


def micro_batch(subject: Subject) -> str:
    """The gradient of a batch in two parts."""
    if subject.method.whole_batch:
        raise Skipped("whole_batch: its loss depends on a batch as a whole")
    if subject.method.constant_features:
        raise Skipped("its features are constant")
    model, recipe = subject.begun(), subject.recipe
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = torch.arange(BATCH)

    def gradients(training: bool, seed: int, part: int | None) -> dict[str, Tensor]:
        model.load_state_dict(state)
        model.zero_grad()
        model.train(training)
        seed_all(seed)
        backward(
            subject.kind,
            model,
            subject.train,
            rows,
            replace(recipe, micro_batch=part),
            CPU,
        )
        return {
            name: parameter.grad.clone()
            for name, parameter in model.named_parameters()
            if parameter.grad is not None
        }

    whole = gradients(True, 0, None)
    drawn = largest_difference(whole, gradients(True, 1, None)) is not None
    if drawn:
        whole = gradients(False, 0, None)
    apart = largest_difference(whole, gradients(not drawn, 0, PART))
    if apart:
        raise Fault(
            f"the gradient of {apart[0]} in parts of {PART} and {BATCH - PART} images differs from"
            f" that of the whole batch by {100 * apart[1]:.2g} %: make the penalty a mean over"
            " images, or say whole_batch = True",
            subject.place("penalty"),
        )
    return f"{BATCH} images at once or in parts: the same gradient" + (
        ", without what is drawn" if drawn else ""
    )


def bf16(subject: Subject) -> str:
    """A step and an evaluation as on a GPU."""
    model = subject.begun()
    images, labels = subject.train.batch(torch.arange(BATCH), CPU)
    with torch.no_grad():
        full = subject.kind.loss(model.eval()(images), labels)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(subject.kind, model.train(), images, labels)
        with torch.no_grad():
            half = subject.kind.loss(model.eval()(images), labels)
    loss.backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            raise Fault(f"under bf16 the gradient of {name.removeprefix('method.')} isn't finite")
    if not (loss.isfinite() and half.isfinite()):
        raise Fault("under bf16 the loss isn't finite")
    return f"loss {half:.4f}, in float32 {full:.4f}"
