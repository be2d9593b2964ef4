"""`harness try`: a method while it is developed."""

import traceback
from bdb import BdbQuit
from typing import Annotated

import typer

from harness.cli import complete, options
from harness.cli.options import Backbone, Cards, DataRoot, Debug
from harness.errors import BadInput

Method = Annotated[
    str,
    typer.Argument(
        metavar="METHOD",
        help="FILE.py:CLASS, or a registered name; 'ivpt(ar=false)' fixes an argument.",
        autocompletion=complete.methods,
    ),
]


def try_(
    method: Method,
    task: Annotated[
        str, typer.Option("--task", help="What it is trained on.", autocompletion=complete.task)
    ] = "digits",
    backbone: Backbone = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="As many are trained.")] = 2,
    data_root: DataRoot = None,
    cards: Cards = None,
    debug: Debug = False,
) -> None:
    """Check a method in this process, on tiny random backbones, then train it for two epochs; a
    breakpoint() in it works. Exit code 1 where a check fails."""
    from harness import testing
    from harness.engine import single
    from harness.planning import user_errors
    from harness.planning.request import Request

    request = Request("", tasks=task, backbone=backbone, data_root=data_root, cards=cards)
    variant, vit = single.subject(method, request)
    failed = 0
    for check in testing.checks(variant, vit):
        print(check, flush=True)
        failed += check.state == "failed"
        if check.error is not None and options.debugging():
            traceback.print_exception(check.error)

    def show(epoch: int, last: int, score: float) -> None:
        print(f"        {epoch} of {last}: {score:.2f} % on val", flush=True)

    try:
        outcome, said = single.tried(method, request, 0, epochs, show)
    except (BadInput, BdbQuit):
        raise
    except Exception as error:  # the user's code may fail in any way
        print(f"{'failed':<8}{'training':<16}{user_errors.line(error)}")
        if options.debugging():
            traceback.print_exception(error)
        raise typer.Exit(1) from None
    print(f"{'ok':<8}{'training':<16}{said}")
    curves = dict(outcome.curves or {})
    for at, unit in enumerate(curves.pop("epoch", [])):
        values = "  ".join(f"{name} {values[at]}" for name, values in curves.items())
        val = outcome.curve.get(int(unit or 0))
        print(f"        {unit:g}: {values}" + (f"  val {val:.2f} %" if val is not None else ""))
    if failed:
        print(f"{failed} failed.")
        raise typer.Exit(1)
