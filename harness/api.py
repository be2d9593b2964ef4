"""The Python front door: what the command `harness` does, as functions."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.backbones import Backbone
    from harness.inference.checkpoint import Tuned


def load(
    file: str | Path, backbone: "str | Backbone | None" = None, method: str | None = None
) -> "Tuned":
    """A tuned model from a file that `harness export` made, in eval mode on the CPU: see
    `harness.inference.checkpoint.load`."""
    from harness.planning import builtin

    builtin.check()
    from harness.inference import checkpoint

    return checkpoint.load(file, backbone, method)
