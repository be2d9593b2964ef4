"""Which rows of a store a report is about: those of some cells, tasks and methods."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

from harness.errors import BadInput, unknown
from harness.io import commands
from harness.reporting.rows import CellSummary, Rows, read
from harness.store import Store
from harness.tasks.cards import load_cards
from harness.tasks.kinds import KINDS


@dataclass(frozen=True)
class Setting:
    """How something was measured; None: in any way."""

    backbone: str | None = None
    """A name, or `NAME@SIDE`."""
    protocol: str | None = None
    kind: str | None = None
    """Of task: classification, segmentation."""

    def __bool__(self) -> bool:
        return self != Setting()

    def check(self, known: Collection["Setting"]) -> None:
        """Raises `BadInput` where nothing of these was measured so; a name that isn't there is
        named."""
        for field in fields(self):
            asked = getattr(self, field.name)
            names = dict.fromkeys(getattr(one, field.name) for one in known)
            sides = {str(name).partition("@")[0] for name in names}
            if asked is not None and asked not in {*names, *sides}:
                raise unknown(field.name, asked, sorted(sides))
        if not any(map(self.includes, known)):
            raise BadInput(f"nothing stored was measured with {self}.")

    def includes(self, other: "Setting") -> bool:
        """Whether something measured so is meant; `other` has a side."""
        backbone = str(other.backbone)
        return (
            self.backbone in (None, backbone, backbone.partition("@")[0])
            and self.protocol in (None, other.protocol)
            and self.kind in (None, other.kind)
        )

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in vars(self).items() if value)


ANY = Setting()


def of_setting(rows: Rows, setting: Setting) -> Rows:
    """The rows that were measured so. Raises `BadInput` where there are none."""
    settings = {cell.key: _setting(cell) for cell in rows.cells}
    setting.check(settings.values())
    return rows.of_cells({key for key, one in settings.items() if setting.includes(one)})


def _setting(cell: CellSummary) -> Setting:
    kinds = [kind.name for kind in KINDS.values() if kind.metric.name == cell.metric]
    return Setting(f"{cell.backbone}@{cell.side}", cell.protocol, kinds[0] if kinds else None)


def stored(
    store: Store,
    tasks: Sequence[str] | None,
    suite_name: str | None,
    cells: Collection[str] | None,
    detail: bool = False,
) -> Rows:
    """The rows of these tasks and cells, None for all. Raises `BadInput` where there are none."""
    rows = read(store, cells, detail)
    if not rows:
        of_this = "" if cells is None else " of this run"
        raise BadInput(
            f"{store.name} holds no results{of_this}: add some with"
            f" `{commands.command('run', store=store)}`."
        )
    if tasks is None:
        return rows
    rows = rows.of_tasks(tasks)
    if not rows:
        flag = ("--suite", suite_name) if suite_name else ("--tasks", ",".join(tasks))
        if suite_name or set(tasks) <= load_cards().keys():
            remedy = f"run `{commands.command('run', *flag, store=store)}`"
        else:
            remedy = f"`{commands.command('results', 'list', store=store)}` lists what it has"
        raise BadInput(f"{store.name} holds no results for {flag[1]}: {remedy}.")
    return rows


def of_methods(rows: Rows, methods: Sequence[str]) -> Rows:
    """Rows of these methods: `ivpt` means all its variants, `ivpt(da=false)` that one. Raises
    `BadInput`."""
    return rows.of_variants(named_variants(method_of_variants(rows), methods))


def one_variant(rows: Rows, name: str) -> str:
    """The variant that this name refers to: the one written like that, else the method's only one.
    Raises `BadInput`."""
    matching = _matching(method_of_variants(rows), name)
    exact = [variant for variant in matching if _canonical(variant) == _canonical(name)]
    if not exact and len(matching) > 1:
        raise BadInput(
            f"method '{name}' has {len(matching)} variants here: name one of"
            f" {', '.join(sorted(matching))}."
        )
    return (exact or matching)[0]


def method_of_variants(rows: Rows) -> dict[str, str]:
    """The method of each variant."""
    return {cell.variant: cell.method for cell in rows.cells}


def named_variants(known: Mapping[str, str], names: Sequence[str]) -> set[str]:
    """The variants that these names refer to; `known`: the method of each. Raises `BadInput`."""
    return {variant for name in names for variant in _matching(known, name)}


def _matching(known: Mapping[str, str], name: str) -> list[str]:
    written_so = [
        variant
        for variant, method in known.items()
        if method == name or _canonical(variant) == _canonical(name)
    ]
    return written_so or _meant(known, name)


def _meant(known: Mapping[str, str], text: str) -> list[str]:
    """The variants that `harness run` would take a text for, though it isn't written as they are:
    a group, a class in a file, arguments that are the default."""
    from harness.planning import variants  # imports torch: not for what is written as it is stored

    try:
        asked = variants.parse(text)
    except BadInput as error:
        if ".py:" in text or text.partition("(")[0].strip() in known.values():
            raise
        raise unknown("method", text, {*known.values(), *known}) from error
    found = [
        variant
        for one in asked
        for variant, method in known.items()
        if method == one.name and (not one.arguments or one.is_written(variant))
    ]
    if not found:
        raise BadInput(f"no result of '{text}' is here, only of {', '.join(sorted(known))}.")
    return found


def _canonical(variant: str) -> str:
    """The variant without spaces, its arguments sorted."""
    name, _, inside = re.sub(r"\s", "", variant).partition("(")
    return f"{name}({','.join(sorted(inside.removesuffix(')').split(',')))})"
