"""A benchmark harness for visual prompt tuning. `harness.load` gives back what a run tuned; everything else is the command's."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from harness.backbones import Backbone
    from harness.checkpoint import Tuned


def load(file: "str | Path", backbone: "str | Backbone | None" = None, method: str | None = None) -> "Tuned":
    """A tuned model from a file that `harness export` made, in eval mode on the CPU: see `harness.checkpoint.load`."""
    from harness import own

    own.check()
    from harness import checkpoint

    return checkpoint.load(file, backbone, method)
