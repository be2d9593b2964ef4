"""`harness protocol`: what a protocol says once all that it extends is in it, and whether a file of
your own is one."""

import json
from typing import Annotated

import typer

from harness.cli import complete
from harness.cli.command import Group, registering
from harness.cli.options import TextOrJson, check_format
from harness.io.toml import written

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
    is wrong."""
    from harness.planning.plan import of_cell, search_size, search_space
    from harness.planning.protocols import load
    from harness.planning.variants import parse
    from harness.tasks.cards import load_cards, load_suites
    from harness.text import some

    loaded = load(protocol)
    print(f"{protocol} is a protocol: {loaded.title or loaded.name}")
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
