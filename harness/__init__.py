"""A benchmark harness for visual prompt tuning.

The names below are loaded when they are first used, so that `import harness` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import load
    from harness.backbones.vit import FrozenViT, Read
    from harness.errors import BadInput
    from harness.training.method import ADAMW_RATES, Method

__all__ = ["ADAMW_RATES", "BadInput", "FrozenViT", "Method", "Read", "load"]

ROOMS = {
    "ADAMW_RATES": "harness.training.method",
    "BadInput": "harness.errors",
    "FrozenViT": "harness.backbones.vit",
    "Method": "harness.training.method",
    "Read": "harness.backbones.vit",
    "load": "harness.api",
}
"""Where each public name lives."""


def __getattr__(name: str) -> Any:
    if name not in ROOMS:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    return getattr(import_module(ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
