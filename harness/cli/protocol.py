"""`harness protocol`: what a protocol says once all that it extends is in it, and whether a file of
your own is one."""

import inspect
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import complete
from harness.cli.command import Group, registering
from harness.cli.options import TextOrJson, check_format
from harness.errors import nearest
from harness.io.toml import written

if TYPE_CHECKING:
    from harness.planning.protocols import Protocol

app = typer.Typer(
    cls=Group,
    help="Show a protocol, or check a file of your own.",
    no_args_is_help=True,
    add_completion=False,
)
command = registering(app, "protocol")

Named = Annotated[
    str,
    typer.Argument(
        metavar="PROTOCOL",
        help="mini, default, vpt, petl, or a .toml file.",
        autocompletion=complete.protocol,
    ),
]
METHODS = ("linear", "vpt-deep")
"""Methods whose cells `check` resolves: one that has no prompts, and one that has."""


@command("show")
def show(protocol: Named, format: TextOrJson = "text") -> None:
    """Print a protocol with all that it extends, as a TOML file that says the same."""
    check_format(format, ("text", "json"))
    from harness.planning.protocols import load

    values = load(protocol).model_dump(mode="json", exclude_defaults=True)
    values = {name: value for name, value in values.items() if name != "name"}
    if "segmentation" in values:
        values["segmentation"].pop("name", None)
    if format == "json":
        print(json.dumps(values, indent=2))
    else:
        print(written(values), end="")


@command("check")
def check(protocol: Named) -> None:
    """Check a protocol's file, and say what a search of it costs. Exit code 2 if a key or a value
    is wrong; what may be meant for a method of your own, or is unusual, is a warning."""
    from harness.planning.cell import of_cell
    from harness.planning.protocols import load
    from harness.planning.search_space import search_size, search_space
    from harness.planning.variants import parse
    from harness.tasks.cards import load_cards, load_suites
    from harness.text import some

    loaded = load(protocol)
    print(f"{protocol} is a protocol: {loaded.title or loaded.name}")
    for line in _remarks(loaded):
        print(f"warning: {line}")
    backbone, cards = load_suites()["vtab"].backbone, load_cards()
    kinds = {"classification": "cifar100"}
    if loaded.segmentation is not None:
        kinds["segmentation"] = "ade20k"
    for kind, task in kinds.items():
        settings = loaded.of(kind)
        for (variant,) in map(parse, METHODS):
            own = of_cell(settings, variant, cards[task], backbone)
            points = search_size(search_space(variant, own), own)
            print(
                f"{kind}, {variant.label}: {some(points, 'trial')} and"
                f" {some(len(settings.seeds), 'final run')} per task, each of {own.last:,}"
                f" {'epochs' if kind == 'classification' else 'iterations'}"
            )


def _remarks(protocol: "Protocol") -> Iterator[str]:
    """On names that no registered method has, and on a warm-up that doesn't end."""
    from harness.planning.registry import registered

    methods, known = registered(), set[str]()
    for entry in methods.values():
        with suppress(ImportError):  # of an extra that isn't installed
            known |= inspect.signature(entry.load()).parameters.keys()
    spaces = [protocol.method_space]
    spaces += [one.fields.get("method_space", {}) for one in protocol.override]
    for name in dict.fromkeys(name for space in spaces for name in space):
        if name not in known:
            yield f"no registered method has an argument '{name}'.{nearest(name, known)}"
    for name in dict.fromkeys(name for one in protocol.override for name in one.method):
        if not re.search(r"[*?[]", name) and name not in methods:
            yield f"no registered method is named '{name}'.{nearest(name, methods)}"
    if protocol.warmup_epochs >= protocol.epochs:
        yield (
            f"warmup_epochs is {protocol.warmup_epochs} and epochs {protocol.epochs}: the learning"
            " rate never reaches base_lr."
        )
