"""Keeps one method's job from changing another's numbers: what the jobs of a process share is
restored.

A method is built on a copy of the backbone, so it gets nothing that others use. What remains are
ways around that: classes of timm and PyTorch, which all methods share, and tensors that it reaches
other than through its arguments.
"""

from harness.backbones import Backbone
from harness.backbones.changes import AS_LOADED
from harness.text import first_few


def restore_forwards(backbone: Backbone) -> list[str]:
    """Restores the `forward` that the classes of its modules had when it was loaded. Returns the
    changed ones, in words."""
    restored = []
    for module in backbone.vit.vit.modules():
        forward = module.__dict__[AS_LOADED]
        if type(module).forward is not forward:
            owner = next(kind for kind in type(module).__mro__ if "forward" in kind.__dict__)
            owner.forward = forward  # type: ignore[attr-defined]
            restored.append(f"{owner.__name__}.forward of all methods")
    return restored


def differences(used: Backbone, fresh: Backbone) -> str:
    """The tensors of `used` that differ from those of `fresh`, in words."""
    now, before = used.vit.vit.state_dict(), fresh.vit.vit.state_dict()
    named = [
        name
        for name in {**before, **now}
        if name not in now or name not in before or not before[name].equal(now[name].cpu())
    ]
    return f"the backbone of all methods ({first_few(named)})"
