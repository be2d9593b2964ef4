"""`harness list`: the available methods, tasks, suites, protocols and backbones. Most of them need
neither torch nor ray."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from harness.errors import unknown

if TYPE_CHECKING:
    from harness.training.method import Method


@dataclass(frozen=True)
class Listing:
    """Names of one kind, in order: as a table for people, and as records for programs."""

    table: Table
    records: list[dict[str, Any]]


def listing(what: str, cards: Path | None = None) -> Listing:
    """What there is of one kind of name. Raises `BadInput` for a kind that isn't listed."""
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


def _plain(columns: Mapping[str, str], records: list[dict[str, Any]]) -> Listing:
    """A column for each of these fields, under its title."""
    table = _table(*columns.values())
    for record in records:
        values = (record[name] for name in columns)
        table.add_row(*(Text("" if value is None else str(value)) for value in values))
    return Listing(table, records)


def _methods() -> Listing:
    """By family and year; below what a method is, its arguments, what is searched and what an
    ablation switches."""
    from harness.io import answers
    from harness.planning.registry import registered

    entries = registered()
    asked = sorted((name, entry.value) for name, entry in entries.items())
    rows = answers.recalled("list methods", asked)
    if rows is None:
        rows, broken = [], []
        for name, entry in entries.items():
            try:
                rows.append(_method(name, entry.load()))
            except Exception as error:
                # somebody else's package may fail in any way; the others still work
                said = f"can't be imported: {type(error).__name__}: {error}"
                broken.append({**_of_no_family(name), "summary": said})
        if not broken:  # what an import that failed depends on isn't known
            answers.keep("list methods", asked, rows)
        rows += broken
    rows.sort(key=lambda row: (row["family"] == "", row["family"], row["year"] or 0, row["method"]))
    table = _table("method", "year", "what it is; its arguments, those of a search, its toggles")
    for family in dict.fromkeys(row["family"] for row in rows):
        of = [row for row in rows if row["family"] == family]
        several = [_shown(row) for row in of if row["kinds"]]
        but = f", without {', '.join(several)}" if several else ""
        hint = f"{len(of)} methods; all of them: --methods {family}{but}" if family else ""
        table.add_row(Text(family or "of no family", style="bold"), "", Text(hint, style="dim"))
        for row in of:
            text = Text(row["summary"])
            for line in _lines(row):
                text.append(f"\n{line}", style="dim")
            table.add_row(Text(f"  {_shown(row)}"), str(row["year"] or ""), text)
    return Listing(table, rows)


def _of_no_family(name: str) -> dict[str, Any]:
    empty: dict[str, Any] = {"family": "", "year": None, "summary": "", "arguments": {}}
    return {"method": name, **empty, "searched": {}, "toggles": [], "kinds": None, "install": ""}


def _method(name: str, method: "type[Method]") -> dict[str, Any]:
    """What is said of a method: values for JSON."""
    from harness.planning.declaration import own_arguments
    from harness.planning.registry import kinds_of, missing
    from harness.planning.space import described
    from harness.training.annotations import choices

    needs = " ".join(f"'{source}'" for source in method.packages.values())
    absent = "not installed: " if missing(method) else "an extra: "
    return {
        "method": name,
        "family": method.family,
        "year": method.year,
        "summary": method.summary,
        "arguments": {
            key: {"default": parameter.default, "choices": choices(parameter.annotation) or None}
            for key, parameter in own_arguments(method).items()
        },
        "searched": {key: described(space) for key, space in method.search_space.items()},
        "toggles": list(method.toggles),
        "kinds": next(iter(kinds_of(method)), None),
        "install": needs and f"{absent}pip install {needs}",
    }


def _shown(row: Mapping[str, Any]) -> str:
    return f"{row['method']}({row['kinds']}=...)" if row["kinds"] else row["method"]


def _lines(row: Mapping[str, Any]) -> Iterator[str]:
    """Below a method's summary: what stands in its brackets."""
    arguments = [
        f"{key}={_written(argument['default'])}{_others(argument)}"
        for key, argument in row["arguments"].items()
    ]
    if arguments:
        yield ", ".join(arguments)
    if row["searched"]:
        yield "searched: " + "; ".join(f"{key} {said}" for key, said in row["searched"].items())
    if row["toggles"]:
        yield f"toggles: {', '.join(row['toggles'])}"
    if row["install"]:
        yield row["install"]


def _others(argument: Mapping[str, Any]) -> str:
    """The values beside the default."""
    others = [value for value in argument["choices"] or () if value != argument["default"]]
    return f" (or {', '.join(map(_written, others))})" if others else ""


def _written(value: Any) -> str:
    """As the command line takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tasks(cards: Path | None) -> Listing:
    from harness.tasks.cards import load_cards

    columns = ("task", "suite", "group", "classes", "train", "val", "test", "metric")
    records = [
        {
            "task": card.name,
            "suite": card.suite,
            "group": card.group,
            "classes": card.classes,
            **{split: card.sizes.get(split) for split in ("train", "val", "test")},
            "metric": card.metric,
        }
        for card in load_cards(cards).values()
    ]
    return _plain({name: name for name in columns}, records)


def _suites() -> Listing:
    from harness.tasks.cards import load_suites

    records = [
        {
            "suite": suite.name,
            "tasks": len(suite.tasks),
            "backbone": suite.backbone or None,
            "protocol": suite.protocol or None,
            "title": suite.title,
            "names": list(suite.tasks),
        }
        for suite in load_suites().values()
    ]
    columns = {name: name for name in ("suite", "tasks", "backbone", "protocol")}
    return _plain({**columns, "title": "what it is"}, records)


def _protocols() -> Listing:
    from harness.planning import protocols

    records = []
    for name in protocols.names():
        protocol = protocols.load(name)
        of = {"epochs": protocol.epochs, "trials": protocol.trials or "grid"}
        records.append(
            {"protocol": name, **of, "seeds": len(protocol.seeds), "title": protocol.title}
        )
    columns = {name: name for name in ("protocol", "epochs", "trials", "seeds")}
    return _plain({**columns, "title": "what it is"}, records)


def _backbones() -> Listing:
    from harness import backbones
    from harness.backbones.names import COVERED, ELSEWHERE
    from harness.io import answers
    from harness.tasks.cards import load_suites

    suites = [suite.backbone for suite in load_suites().values() if suite.backbone]
    shipped = backbones.shipped()
    asked = [[asdict(card) for card in shipped.values()], suites]
    rows = answers.recalled("backbones", asked)
    if rows is None:
        from harness.backbones.outlines import KNOWN

        names = dict.fromkeys((*shipped, *suites, *ELSEWHERE, *KNOWN))
        rows = [(name, _backbone(name)) for name in names]
        answers.keep("backbones", asked, rows)
    found = _plain(
        {"backbone": "backbone", "title": "what it is"},
        [{"backbone": name, "title": said, "shipped": name in shipped} for name, said in rows],
    )
    found.table.caption = (
        f"Any other of {COVERED} too. NAME: weights that are"
        " shipped, or of timm's hub; NAME=FILE: of a file (.safetensors, .pth, .npz); NAME@384: its"
        " side; hf_hub:OWNER/NAME; local-dir:FOLDER. Lacks: a method that needs it is refused."
    )
    found.table.caption_justify = "left"
    return found


def _backbone(name: str) -> str:
    from harness.backbones.outlines import outline

    own = outline(name)
    size = f"{own.tokens} tokens of {own.width}, {own.parameters / 1e6:.1f} M values"
    said = f"{own.family}, {own.side} pixels, {size}; pixels: {own.pixels}; {own.licence}"
    return f"{said}; lacks {own.lacks}" if own.lacks else said
