"""Whole runs: made again, scored on other images, evaluated."""

from typing import Any

import numpy as np
import torch

from harness.engine.method_checks.report import Fault
from harness.engine.method_checks.subject import HELD_OUT, Subject, largest_difference, made_up
from harness.inference import checkpoint
from harness.text import first_few
from harness.training.forward import sha256_of
from harness.training.heads import Model


def repeatable(subject: Subject) -> str:
    """Two runs with one seed."""
    (one, _), (other, _) = subject.trained, subject.fitted()
    if differing := _differing(one, other):
        raise Fault(
            f"the same seed gives another {first_few(differing)}: is something drawn from the"
            " system, the time or a generator of its own?",
            subject.place("__init__"),
        )
    images = subject.held_out.images
    logits = subject.logits(one, images)
    if not torch.equal(logits, subject.logits(other, images)):
        raise Fault("the same seed gives the same tensors and other logits")
    return f"logits {sha256_of(logits)[:8]} twice from seed {subject.seed}"


def _differing(one: Model, other: Model) -> list[str]:
    """Tensors of a checkpoint that aren't equal in two models."""
    first, second = checkpoint.tuned_tensors(one), checkpoint.tuned_tensors(other)
    return [
        name.removeprefix("method.")
        for name in first
        if name not in second or not torch.equal(first[name], second[name])
    ]


def held_out(subject: Subject) -> str:
    """Another split to score on must change nothing of what is trained; no file may be read."""
    files: list[str] = []
    other, _ = subject.fitted(made_up(HELD_OUT + 2, 99), files)
    place = subject.place("begin")
    if differing := _differing(subject.trained[0], other):
        raise Fault(
            f"with other images to score on, training gives another {first_few(differing)}: it"
            " must not see them",
            place,
        )
    if files:
        raise Fault(
            f"begin or advance reads {first_few(files)}: what it learns of the task comes from"
            " `train` alone, and what else it needs is read in __init__",
            place,
        )
    return "training is the same whatever it is scored on"


def evaluation(subject: Subject) -> str:
    """A forward in eval mode changes nothing, draws nothing, and sees each image alone."""
    model, _ = subject.trained
    images = subject.held_out.images
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = _generators()
    logits = subject.logits(model, images)
    for name, state in _generators().items():
        if not np.array_equal(state, states[name]):
            raise Fault(f"evaluation draws from {name}'s generator")
    for name, tensor in model.state_dict().items():
        if not torch.equal(tensor, before[name]):
            raise Fault(f"evaluation changes {name.removeprefix('method.')}")
    subject.logits(model, subject.train.images)
    if not torch.equal(logits, subject.logits(model, images)):
        raise Fault("the same images give other logits in a second evaluation")
    alone = torch.cat([subject.logits(model, image[None]) for image in images])
    if largest_difference({"": logits}, {"": alone}):
        raise Fault("in evaluation, an image's logits depend on the others of its batch")
    return "changes and draws nothing; each image by itself"


def _generators() -> dict[str, Any]:
    numpy: Any = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy(),
        "numpy": np.array([*numpy[1], numpy[2]]),
    }
