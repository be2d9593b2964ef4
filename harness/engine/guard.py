"""One method's job can't move another's numbers: what the jobs of a process share is held to what
it was.

A method is built on a copy of the backbone, so it has nothing of what others use in its hands. What
is left are ways around that: classes of timm and PyTorch, which all methods share, and tensors that
it finds by other ways than its arguments.
"""

from harness.backbones import Backbone
from harness.backbones.changes import AS_LOADED
from harness.text import first_few


def put_back(backbone: Backbone) -> list[str]:
    """Gives the classes of its modules the forward back that they had when it was loaded; those
    that had another, in words."""
    found = []
    for module in backbone.vit.vit.modules():
        forward = module.__dict__[AS_LOADED]
        if type(module).forward is not forward:
            owner = next(kind for kind in type(module).__mro__ if "forward" in kind.__dict__)
            owner.forward = forward  # type: ignore[attr-defined]
            found.append(f"{owner.__name__}.forward of all methods")
    return found


def differences(used: Backbone, fresh: Backbone) -> str:
    """The tensors of `used` that aren't those of `fresh`, in words."""
    now, before = used.vit.vit.state_dict(), fresh.vit.vit.state_dict()
    named = [
        name
        for name in {**before, **now}
        if name not in now or name not in before or not before[name].equal(now[name].cpu())
    ]
    return f"the backbone of all methods ({first_few(named)})"
