"""`harness list`: the available methods, tasks, suites, protocols and backbones. Most of them need
neither torch nor ray."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from harness.errors import unknown

if TYPE_CHECKING:
    from harness.training.method import Method


def listing(what: str, cards: Path | None = None) -> Table:
    """The table of one kind of name. Raises `BadInput` for a kind that isn't listed."""
    kinds = {
        "methods": _methods,
        "tasks": lambda: _tasks(cards),
        "suites": _suites,
        "protocols": _protocols,
        "backbones": _backbones,
    }
    if what not in kinds:
        raise unknown("list", what, kinds)
    return kinds[what]()


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, no_wrap=index == 0, overflow="fold")
    return table


def _methods() -> Table:
    """By family and year; arguments with their defaults stand below what a method is."""
    from harness.io import answers
    from harness.planning.variants import registered

    entries = registered()
    asked = sorted((name, entry.value) for name, entry in entries.items())
    rows = answers.recalled("methods", asked)
    if rows is None:
        rows, broken = [], []
        for name, entry in entries.items():
            try:
                rows.append(_method(name, entry.load()))
            except Exception as error:
                # somebody else's package may fail in any way; the others still work
                said = f"can't be imported: {type(error).__name__}: {error}"
                broken.append(("", 0, name, said))
        if not broken:  # what an import that failed depends on isn't known
            answers.keep("methods", asked, rows)
        rows += broken
    table = _table("method", "year", "what it is; its arguments and their defaults")
    families = sorted({row[0] for row in rows}, key=lambda family: (family == "", family))
    for family in families:
        of = sorted((year, name, said) for other, year, name, said in rows if other == family)
        several = [name for _, name, _ in of if name.endswith("=...)")]
        but = f", without {', '.join(several)}" if several else ""
        hint = f"{len(of)} methods; all of them: --methods {family}{but}" if family else ""
        table.add_row(Text(family or "of no family", style="bold"), "", Text(hint, style="dim"))
        for year, name, said in of:
            first, *more = said.split("\n")
            text = Text(first)
            for line in more:
                text.append(f"\n{line}", style="dim")
            table.add_row(Text(f"  {name}"), str(year or ""), text)
    return table


def _method(name: str, method: "type[Method]") -> tuple[str, int, str, str]:
    """Family, year, name and what is said of it."""
    from harness.planning.variants import kinds_of, missing, own_arguments

    arguments = ", ".join(f"{key}={value.default}" for key, value in own_arguments(method).items())
    needs = " ".join(f"'{source}'" for source in method.packages.values())
    absent = "not installed: " if missing(method) else "an extra: "
    lines = [method.summary, arguments, needs and f"{absent}pip install {needs}"]
    if kinds_of(method):
        name += f"({next(iter(kinds_of(method)))}=...)"
    return method.family, method.year or 0, name, "\n".join(filter(None, lines))


def _tasks(cards: Path | None) -> Table:
    from harness.tasks.cards import load_cards

    table = _table("task", "suite", "group", "classes", "train", "val", "test", "metric")
    for card in load_cards(cards).values():
        sizes = (str(card.sizes.get(split, "")) for split in ("train", "val", "test"))
        table.add_row(card.name, card.suite, card.group, str(card.classes), *sizes, card.metric)
    return table


def _suites() -> Table:
    from harness.tasks.cards import load_suites

    table = _table("suite", "tasks", "backbone", "protocol", "what it is")
    for suite in load_suites().values():
        table.add_row(
            suite.name, str(len(suite.tasks)), suite.backbone, suite.protocol, suite.title
        )
    return table


def _protocols() -> Table:
    from harness.planning import protocols

    table = _table("protocol", "epochs", "trials", "seeds", "what it is")
    for name in protocols.names():
        protocol = protocols.load(name)
        table.add_row(
            name,
            str(protocol.epochs),
            str(protocol.trials or "grid"),
            str(len(protocol.seeds)),
            protocol.title,
        )
    return table


def _backbones() -> Table:
    from harness import backbones
    from harness.backbones.names import COVERED, ELSEWHERE
    from harness.io import answers
    from harness.tasks.cards import load_suites

    table = _table("backbone", "what it is")
    suites = [suite.backbone for suite in load_suites().values() if suite.backbone]
    shipped = backbones.shipped()
    asked = [[asdict(card) for card in shipped.values()], suites]
    rows = answers.recalled("backbones", asked)
    if rows is None:
        from harness.backbones.outlines import KNOWN

        names = dict.fromkeys((*shipped, *suites, *ELSEWHERE, *KNOWN))
        rows = [(name, _backbone(name)) for name in names]
        answers.keep("backbones", asked, rows)
    for name, said in rows:
        table.add_row(name, said)
    table.caption = (
        f"Any other of {COVERED} too. NAME: weights that are"
        " shipped, or of timm's hub; NAME=FILE: of a file (.safetensors, .pth, .npz); NAME@384: its"
        " side; hf_hub:OWNER/NAME; local-dir:FOLDER. Lacks: a method that needs it is refused."
    )
    table.caption_justify = "left"
    return table


def _backbone(name: str) -> str:
    from harness.backbones.outlines import outline

    own = outline(name)
    size = f"{own.tokens} tokens of {own.width}, {own.parameters / 1e6:.1f} M values"
    said = f"{own.family}, {own.side} pixels, {size}; pixels: {own.pixels}; {own.licence}"
    return f"{said}; lacks {own.lacks}" if own.lacks else said
