"""Known settings of methods on tasks: a table in CSV, or what a store's searches chose. `--hparams`
runs them as they are, `--start-from` begins searches with them.

A table has the columns `method` and `task`, and of `base_lr`, `weight_decay` and `arguments`
(`rank=8,scale=0.1`, as inside a variant's brackets) those that it needs; others are for people, but
`note`, which a plan repeats.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution

from harness.errors import BadInput, nearest
from harness.io import flags
from harness.io.resources import osu_csv
from harness.planning import space
from harness.planning.declaration import defaults, own_arguments
from harness.planning.variant import Variant, read_arguments
from harness.store import Store
from harness.text import plain

if TYPE_CHECKING:
    from harness.planning.protocols import Settings

OSU = "osu"
"""The shipped table: what OSU-MLB/ViT_PEFT_Vision chose for 16 methods on VTAB-1k."""
COLUMNS = ("method", "task", "base_lr", "weight_decay", "arguments")
"""Those that say something to a run."""
LARGEST = 4_000_000
"""Bytes of a table that are read."""


@dataclass(frozen=True)
class Setting:
    """Values for one method on one task."""

    text: str
    """`base_lr=0.004,weight_decay=0.001,rank=8`."""
    where: str
    """For messages: a file and its line, or a store."""
    note: str = ""

    def values(self, variant: Variant, protocol: "Settings") -> dict[str, Any]:
        """Read as arguments of the method and of the protocol, without those that the variant has
        fixed. Raises `BadInput`."""
        try:
            read = read_arguments(variant.name, variant.method, self.text, protocol.arguments)
        except BadInput as error:
            raise BadInput(f"{self.where}: {error}") from None
        return {name: value for name, value in read.items() if name not in variant.arguments}


@dataclass(frozen=True)
class Known:
    """Settings by variant or method, and task."""

    name: str
    settings: Mapping[tuple[str, str], tuple[Setting, ...]]

    def of(self, variant: Variant, task: str) -> tuple[Setting, ...]:
        """Those of the variant as it is written, else of its method; the best first."""
        return self.settings.get((variant.label, task)) or self.settings.get(
            (variant.name, task), ()
        )

    def notes(self, variants: Sequence[Variant], tasks: Sequence[str]) -> list[str]:
        """What the table says about lines that are used."""
        found = {
            f"{self.name} on {variant.name}: {setting.note}."
            for variant in variants
            for task in tasks
            for setting in self.of(variant, task)
            if setting.note
        }
        return sorted(found)


def table(named: str) -> Known:
    """`osu`, or a file. Raises `BadInput`."""
    path = osu_csv() if named == OSU else flags.path(named)
    if named != OSU and not path.is_file():
        hint = "" if named.endswith(".csv") else nearest(named, [OSU])
        raise BadInput(f"--hparams {named}: no such file; the shipped table is '{OSU}'.{hint}")
    settings: dict[tuple[str, str], tuple[Setting, ...]] = {}
    for number, line in _lines(path):
        key = _variant(line["method"]), line["task"]
        where = f"{path}, line {number}"
        if not all(key):
            raise BadInput(f"{where}: a line needs a method and a task.")
        if key in settings:
            first = settings[key][0].where.rpartition(" ")[2]
            raise BadInput(f"{where}: {key[0]} on {key[1]} is in line {first} too.")
        rates = (
            f"{name}={line[name]}" for name in ("base_lr", "weight_decay") if line.get(name, "")
        )
        text = ",".join((*rates, *filter(None, [line.get("arguments", "")])))
        settings[key] = (Setting(text, where, line.get("note", "").rstrip(".")),)
    return Known(named if named == OSU else path.stem, settings)


def starts(named: str) -> Known:
    """For `--start-from`: as `table`, or of a store. Raises `BadInput`."""
    if named == OSU or named.endswith(".csv"):
        return table(named)
    if "://" not in named and not flags.path(named).is_file():
        raise BadInput(f"--start-from {named}: no such file: give '{OSU}', a FILE.csv or a store.")
    name = "store" if "://" in named else flags.path(named).stem
    return of_store(Store(named if "://" in named else flags.path(named)), name)


def of_store(store: Store, name: str) -> Known:
    """The points that a store's final runs were made with, of cells whose search had no start
    itself: so the same store may grow meanwhile. The best on val first."""
    cells = store.cells()
    found: dict[tuple[str, str], list[tuple[float, Setting]]] = {}
    seen: set[str] = set()
    for result in store.results():
        cell = cells.get(result.cell)
        if cell is None or result.cell in seen or cell.identity["protocol"].get("start"):
            continue
        seen.add(result.cell)
        best = store.best_trials(result.cell)
        score = best[0].value if best and best[0].value is not None else 0.0
        text = ",".join(f"{name}={_text(value)}" for name, value in sorted(result.params.items()))
        key = str(cell.labels["variant"]), str(cell.identity["task"]["name"])
        if text:
            found.setdefault(key, []).append((score, Setting(text, store.name)))
    return Known(
        name,
        {
            key: tuple({setting.text: setting for _, setting in sorted(of, key=_score)}.values())
            for key, of in found.items()
        },
    )


def point_of(
    known: Known, variant: Variant, task: str, protocol: "Settings", searched: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The point of a cell that isn't searched; None where the table has none. Raises `BadInput`
    for one that leaves a rate open. `searched`: what a search would choose."""
    settings = known.of(variant, task)
    if not settings:
        return None
    values = settings[0].values(variant, protocol)
    for name in searched:
        if name not in values and name not in own_arguments(variant.method):
            raise BadInput(f"{settings[0].where}: no {name} for {variant.label} on {task}.")
    return values


def points_of(
    known: Known,
    variant: Variant,
    task: str,
    protocol: "Settings",
    searched: Mapping[str, BaseDistribution],
) -> tuple[list[dict[str, Any]], list[str]]:
    """The points that a search of this space may begin with; and why others can't. A method's
    argument that a setting lacks has its default."""
    own = defaults(variant.method)
    inside: list[dict[str, Any]] = []
    outside: list[str] = []
    for setting in known.of(variant, task):
        given = setting.values(variant, protocol)
        values = {**own, **given}
        point = {
            name: space.chosen(distribution, values.get(name))
            for name, distribution in searched.items()
        }
        here = {**own, **protocol.method_arguments}
        wrong = [name for name, value in point.items() if value is None]
        wrong += [
            name
            for name, value in given.items()
            if name in here and name not in searched and value != here[name]
        ]
        if wrong:
            named = ", ".join(
                f"{name} {_text(values[name])}" if name in values else f"no {name}"
                for name in wrong
            )
            outside.append(f"{variant.label} on {task}: {named}")
        elif point not in inside:
            inside.append(point)
    return inside, outside


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The lines of a table, numbered as in the file. Raises `BadInput`."""
    try:
        if path.stat().st_size > LARGEST:
            raise BadInput(f"{path}: larger than {LARGEST:,} bytes, which no such table is.")
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:  # Unicode's are ValueErrors
        raise BadInput(f"{path} can't be read as CSV ({plain(str(error))[:160]}).") from error
    header, *rest = lines or [[]]
    for name in ("method", "task"):
        if name not in header:
            raise BadInput(
                f"{path} has no column '{name}': name the columns {', '.join(COLUMNS)}."
                f" It has {', '.join(map(plain, header))[:160] or 'none'}."
            )
    found = []
    for number, line in enumerate(rest, 2):
        if not any(line):
            continue
        if len(line) != len(header) or any(plain(text) != text for text in line):
            what = (
                f"{len(line)} columns, expected {len(header)}"
                if len(line) != len(header)
                else "a control character"
            )
            raise BadInput(f"{path}, line {number}: {what}.")
        found.append(
            (number, {name: text.strip() for name, text in zip(header, line, strict=True)})
        )
    return found


def _variant(text: str) -> str:
    """As a variant's label: its arguments sorted, without spaces."""
    name, bracket, inside = text.partition("(")
    parts = sorted(
        "=".join(map(str.strip, part.split("="))) for part in inside.rstrip(")").split(",")
    )
    return f"{name.strip()}({','.join(parts)})" if bracket else name.strip()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _score(of: tuple[float, Setting]) -> float:
    return -of[0]
