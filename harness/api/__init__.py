"""The Python API: what the command `harness` does, as functions.

Arguments have the names and defaults of the flags; where a flag takes comma-separated text, a list
works too. Every mistake of a caller is a `harness.BadInput` whose message names the problem and the
fix. Nothing here ends the process, and signal handlers are restored when a function returns.
"""

from harness.api.models import fit, load, reproduce
from harness.api.options import BoardOptions, PlanOptions, RunOptions
from harness.api.reports import compare, report
from harness.api.running import ablate, plan, run, toggled
from harness.api.runs import Ablation, Run

__all__ = [
    "Ablation",
    "BoardOptions",
    "PlanOptions",
    "Run",
    "RunOptions",
    "ablate",
    "compare",
    "fit",
    "load",
    "plan",
    "report",
    "reproduce",
    "run",
    "toggled",
]
