"""A benchmark harness for visual prompt tuning.

The names below are loaded when they are first used, so that `import harness` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import Ablation, Run, ablate, compare, fit, load, plan, report, reproduce, run
    from harness.backbones.frozen import FrozenBackbone, KeysValues, Read
    from harness.backbones.vit import FrozenViT
    from harness.errors import BadInput
    from harness.inference.tuned_model import Tuned
    from harness.reporting.board import Leaderboard
    from harness.training.method import ADAMW_RATES, Effort, Factors, Method
    from harness.training.prompts import (
        ANY_LENGTH,
        PROMPT_DROPOUT,
        PROMPT_LENGTHS,
        PromptDropout,
        new_kv,
        new_prompts,
        run_prompts,
    )
    from harness.training.train_split import TrainSplit

    __version__: str

__all__ = [
    "ADAMW_RATES",
    "ANY_LENGTH",
    "PROMPT_DROPOUT",
    "PROMPT_LENGTHS",
    "Ablation",
    "BadInput",
    "Effort",
    "Factors",
    "FrozenBackbone",
    "FrozenViT",
    "KeysValues",
    "Leaderboard",
    "Method",
    "PromptDropout",
    "Read",
    "Run",
    "TrainSplit",
    "Tuned",
    "ablate",
    "compare",
    "fit",
    "load",
    "new_kv",
    "new_prompts",
    "plan",
    "report",
    "reproduce",
    "run",
    "run_prompts",
]

ROOMS = {
    **dict.fromkeys(("Ablation", "Run", "ablate", "compare", "fit", "load"), "harness.api"),
    **dict.fromkeys(("plan", "report", "reproduce", "run"), "harness.api"),
    **dict.fromkeys(("ANY_LENGTH", "PROMPT_DROPOUT", "PROMPT_LENGTHS"), "harness.training.prompts"),
    **dict.fromkeys(
        ("PromptDropout", "new_kv", "new_prompts", "run_prompts"), "harness.training.prompts"
    ),
    "ADAMW_RATES": "harness.training.method",
    "BadInput": "harness.errors",
    "Effort": "harness.training.method",
    "Factors": "harness.training.method",
    "FrozenBackbone": "harness.backbones.frozen",
    "FrozenViT": "harness.backbones.vit",
    "KeysValues": "harness.backbones.frozen",
    "Leaderboard": "harness.reporting.board",
    "Method": "harness.training.method",
    "Read": "harness.backbones.frozen",
    "TrainSplit": "harness.training.train_split",
    "Tuned": "harness.inference.tuned_model",
}
"""Where each public name lives."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("vpt-harness")
    if name not in ROOMS:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(ROOMS[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
