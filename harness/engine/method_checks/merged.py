"""What `merge` makes of a method's backbone."""

from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor

from harness.backbones.changes import put_in
from harness.engine.method_checks.report import Fault
from harness.engine.method_checks.subject import CLOSE, Subject
from harness.training.heads import LinearHead


def merged(subject: Subject) -> str:
    """After training: the merged ViT by timm's own forward gives the method's logits."""
    model, images = deepcopy(subject.trained[0]), subject.held_out.images
    before = subject.logits(model, images)
    vit: Any = model.method.vit.vit
    with torch.no_grad():
        try:
            model.method.merge()
        except ValueError as error:
            return str(error)
        place = subject.place("merge")
        names = set(vit.state_dict()) ^ set(subject.plain.vit.state_dict())
        if left := put_in(vit) or (f"{min(names)} isn't timm's" if names else ""):
            raise Fault(f"merge() leaves more than a plain ViT: {left}", place)
        tokens = vit.forward_features(images)
        after: Tensor = cast("LinearHead", model.head).linear(
            vit.forward_head(tokens, pre_logits=True)
        )
    difference = float((after - before).abs().max() / before.abs().max())
    if not difference < CLOSE:
        raise Fault(f"merge() changes the logits by {difference:.2g} of the largest", place)
    return "equal logits by timm's plain ViT"
