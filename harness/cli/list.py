"""`harness list`: the available methods, tasks, suites, protocols and backbones. Most of them need
neither torch nor ray."""

from pathlib import Path

from rich.table import Table

from harness.errors import unknown


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
    from harness.planning.variants import own_arguments, registered

    table, rows = _table("method", "family", "year", "what it is", "arguments (and defaults)"), []
    for name, entry in sorted(registered().items()):
        try:
            method = entry.load()
        except Exception as error:
            # somebody else's package may fail in any way; the others still work
            rows.append((name, "", "", f"can't be imported: {type(error).__name__}: {error}", ""))
            continue
        arguments = ", ".join(
            f"{key}={value.default}" for key, value in own_arguments(method).items()
        )
        rows.append((name, method.family, str(method.year or ""), method.summary, arguments))
    for row in sorted(rows, key=lambda row: (row[1] == "", row[1], row[2], row[0])):
        table.add_row(*row)
    return table


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
    from harness.backbones.names import ELSEWHERE
    from harness.tasks.cards import load_suites

    table = _table("backbone", "what it is")
    for name, card in backbones.shipped().items():
        table.add_row(name, f"shipped: {card['title']}")
    for name in dict.fromkeys(suite.backbone for suite in load_suites().values()):
        if name and name not in backbones.shipped():
            table.add_row(name, "timm; weights from its hub, or NAME=FILE")
    for name, url in ELSEWHERE.items():
        table.add_row(name, f"{url}, or NAME=FILE")
    table.add_row(
        "any other plain ViT in timm",
        "NAME (weights from its hub) or NAME=FILE (.safetensors, .pth, .npz); NAME@384: its side",
    )
    return table
