"""The progress of the work on a store: as tables, as one line, and updated until Ctrl-C."""

import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.engine.status import CellStatus, Driver, StoreStatus, read
from harness.errors import unknown
from harness.store import Store
from harness.text import some

EVERY = 2.0
"""Seconds between updates."""

FORMATS = ("text", "json")

_ROWS = 20
"""Rows of a list, unless it is being watched."""

_STATES = ("complete", "pruned", "failed")


def show(store: Store, form: str, console: Console) -> None:
    """Prints the status of the store. Raises `BadInput` if there is none."""
    _check(form)
    status = read(store)
    if form == "json":
        print(json.dumps(status.json(), indent=2))
    else:
        console.print(picture(status))


def watch(store: Store, form: str, console: Console, every: float = EVERY) -> None:
    """Updates every few seconds, until Ctrl-C: a live view in a terminal, a line for every change
    elsewhere, and with JSON a line per update."""
    _check(form)
    try:
        if form == "text" and console.is_terminal:
            with Live(console=console, auto_refresh=False) as live:
                for status in _looks(store, every):
                    live.update(picture(status, console.height), refresh=True)
        last = ""
        for status in _looks(store, every):
            text = json.dumps(status.json()) if form == "json" else line(status)
            if text != last:
                print(text if form == "json" else f"{_clock(status)} {text}", flush=True)
            last = text
    except KeyboardInterrupt:
        return


def _looks(store: Store, every: float) -> Iterator[StoreStatus]:
    """Repeated statuses; reading takes at most a sixth of the time, however large the store."""
    first = None
    while True:
        begun = time.monotonic()
        status = read(store, first)
        first = first or status
        pause = max(every, 5 * (time.monotonic() - begun))
        yield status
        time.sleep(pause)


def line(status: StoreStatus) -> str:
    """All numbers in one line."""
    states, rate = status.states, _rate(status)
    parts = [
        f"cells: {', '.join(_cells(status))}",
        f"{_of(status.results, status.results_wanted)} results",
        f"trials: {', '.join(f'{status.trials[state]:,} {state}' for state in _STATES)}",
        *([rate] if status.rate else []),
        *(
            [f"{_left(status)} left"]
            if states["under way"] and isinstance(status.left, float)
            else []
        ),
    ]
    return "; ".join(parts)


def picture(status: StoreStatus, height: int | None = None) -> RenderableType:
    """Numbers, then the drivers, their cells, and what failed. `height`: lines of the terminal that
    it should fit in."""
    numbers = Table.grid(padding=(0, 2))
    numbers.add_column(style="bold")
    numbers.add_column()
    trials = ", ".join(f"{status.trials[state]:,} {state}" for state in _STATES)
    asked_for = (
        f"  (searches of {some(status.trials_wanted, 'point')})" if status.trials_wanted else ""
    )
    rows = {
        "cells": f"{', '.join(_cells(status))}  (of {len(status.cells):,})",
        "results": _of(status.results, status.results_wanted),
        "trials": f"{trials}{asked_for}",
        **({"rate": _rate(status)} if status.rate or status.states["under way"] else {}),
        "time left": _left(status),
    }
    for name, text in rows.items():
        numbers.add_row(name, Text(text))
    under_way = [cell for cell in status.cells if cell.state == "under way"]
    lists = [
        ("drivers", _drivers(status.drivers), len(status.drivers)),
        ("under way", _under_way(under_way, status.drivers), len(under_way)),
        (
            "gaps",
            [(f"{gap.variant} on {gap.task}, seed {gap.seed}", gap.reason) for gap in status.gaps],
            len(status.gaps),
        ),
        (
            "failed trials",
            [(f"{count:,}", reason) for reason, count in status.trials_failed],
            len(status.trials_failed),
        ),
    ]
    shown = [(title, rows, count) for title, rows, count in lists if count]
    at_most = _ROWS if height is None else max(2, (height - 9) // max(1, len(shown)) - 3)
    parts: list[RenderableType] = [
        Text.assemble((status.store, "bold"), f"  {_clock(status)}"),
        Text(""),
        numbers,
    ]
    for title, rows, count in shown:
        parts += [
            Text(""),
            Text(title + _of_how_many(title, status), style="bold"),
            _table(rows[:at_most], cut=height is not None),
        ]
        if count > at_most:
            parts.append(Text(f"  ... and {count - at_most:,} more", style="dim"))
    return Group(*parts)


def _check(form: str) -> None:
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)


def _cells(status: StoreStatus) -> list[str]:
    named = ("done", "under way", "waiting", "with gaps")
    return [
        f"{status.states[state]:,} {state}"
        for state in named
        if status.states[state] or state != "with gaps"
    ]


def _of(count: int, wanted: int | None) -> str:
    return f"{count:,}" if wanted is None else f"{count:,} of {wanted:,}"


def _rate(status: StoreStatus) -> str:
    rate = status.rate
    if rate is None:
        return "unknown: too few results in the last hour"
    trials = f", {rate.trials:,.0f} trials" if rate.trials is not None else ""
    return f"{rate.results:,.0f} results{trials} per hour, over the last {_span(rate.seconds)}"


def _left(status: StoreStatus) -> str:
    return status.left if isinstance(status.left, str) else f"about {_span(status.left)}"


def _span(seconds: float) -> str:
    """`48 s`, `35 min`, `11.5 h`, `12 days`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.0f} days"


def _clock(status: StoreStatus) -> str:
    """In this machine's time zone."""
    return datetime.fromisoformat(status.time).astimezone().strftime("%H:%M:%S")


def _drivers(drivers: Sequence[Driver]) -> list[tuple[str, ...]]:
    end = {
        "alive": "lease ends in {} unless renewed",
        "dead": "dead: the process is gone",
        "expired": "dead or cut off: lease ended {} ago",
    }
    return [
        (
            _named(driver),
            some(driver.cells, "cell"),
            end[driver.state].format(_span(abs(driver.seconds))),
        )
        for driver in drivers
    ]


def _named(driver: Driver) -> str:
    """Its host, without the domain, and process."""
    return f"{driver.host.partition('.')[0]}, process {driver.process}"


def _under_way(cells: Sequence[CellStatus], drivers: Sequence[Driver]) -> list[tuple[str, ...]]:
    names = {driver.owner: _named(driver) for driver in drivers}
    several = len([driver for driver in drivers if driver.state == "alive"]) > 1
    return [
        (
            f"{cell.variant} on {cell.task}",
            f"{_of(cell.tried, cell.trials_wanted)} trials",
            f"{_of(cell.results, cell.results_wanted)} results",
            *([names[cell.driver]] if several and cell.driver else []),
        )
        for cell in cells
    ]


def _of_how_many(title: str, status: StoreStatus) -> str:
    """A note if not all reasons were read."""
    return (
        f" (reasons of {status.reasons_of:,})"
        if title == "failed trials" and status.reasons_of < status.trials["failed"]
        else ""
    )


def _table(rows: Sequence[Sequence[str]], cut: bool) -> RenderableType:
    """`cut`: keep each row on one line, whatever its length."""
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(
            *(Text(text, overflow="ellipsis" if cut else "fold", no_wrap=cut) for text in row)
        )
    return Padding(table, (0, 0, 0, 2))
