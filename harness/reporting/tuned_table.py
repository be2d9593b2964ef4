"""What a store's searches chose, as a table that `--hparams` and `--start-from` take."""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.errors import BadInput
from harness.io.atomic import making, replacing
from harness.planning.known import COLUMNS
from harness.store import Cell, Result, Store

HEADER: tuple[str, ...] = (*COLUMNS, "val", "test", "seeds", "backbone", "protocol")
"""After the columns that a run reads, what the settings were worth, and where: for people."""


def tuned_table(
    store: Store,
    cells: Mapping[str, Cell],
) -> list[dict[str, str]]:
    """A line for each of these cells that has final runs, in their order.

    Raises `BadInput` if a method and task have several, by backbone or protocol, or none has any.
    """
    runs: dict[str, list[Result]] = defaultdict(list)
    for result in store.results():
        runs[result.cell].append(result)
    lines: list[dict[str, str]] = []
    for key, cell in cells.items():
        if runs[key]:
            lines.append(_line(store, cell, runs[key]))
    if not lines:
        raise BadInput(f"{store.name} has no such final runs: nothing to write.")
    first: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        key = line["method"], line["task"]
        if (other := first.setdefault(key, line)) is not line:
            raise BadInput(
                f"{key[0]} on {key[1]} was tuned with {other['backbone']} under"
                f" {other['protocol']} and with {line['backbone']} under {line['protocol']}: say"
                " which by --backbone and --protocol."
                if (other["backbone"], other["protocol"]) != (line["backbone"], line["protocol"])
                else f"{key[0]} on {key[1]} was tuned twice under {line['protocol']}, with other"
                " versions of the method, its data or its settings: `harness results rm` removes"
                " the older ones."
            )
    return lines


def write(lines: list[dict[str, str]], to: Path) -> None:
    """As CSV. Raises `BadInput`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    with making(to), replacing(to) as file:
        file.write(text.getvalue().encode())


def _line(store: Store, cell: Cell, runs: list[Result]) -> dict[str, str]:
    params = dict(runs[0].params)
    rates = {name: _text(params.pop(name, "")) for name in ("base_lr", "weight_decay")}
    best = store.best_trials(cell.key)
    val = best[0].value if best else None
    return {
        "method": str(cell.labels["variant"]),
        "task": str(cell.identity["task"]["name"]),
        **rates,
        "arguments": ",".join(f"{name}={_text(value)}" for name, value in sorted(params.items())),
        "val": "" if val is None else f"{val:.2f}",
        "test": f"{fmean(run.score for run in runs):.2f}",
        "seeds": str(len(runs)),
        "backbone": str(cell.identity["backbone"]["name"]),
        "protocol": str(cell.labels["protocol"]),
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
