"""What `harness results` works on: results by task, method and seed, or by id. Lists them as a
table or JSON, and removes them from the store."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from harness.errors import BadInput
from harness.io import commands
from harness.reporting.filters import ANY, Setting, named_variants
from harness.reporting.rows import settings_of
from harness.reporting.section_names import NamedProtocol, protocol_names
from harness.store import Store, result_id
from harness.store.records import Cell, Failure, Result
from harness.text import plain, some


@dataclass(frozen=True)
class Wanted:
    """Filters; None: all. `methods` are names (`ivpt`: all its variants) or full variants
    (`ivpt(da=false)`), as in `harness report`."""

    tasks: Sequence[str] | None = None
    methods: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    setting: Setting = ANY

    def __bool__(self) -> bool:
        return self != Wanted()

    def cells(self, store: Store) -> dict[str, Cell]:
        """The cells of these tasks and methods, by key. Raises `BadInput` where there are none."""
        known = store.cells()
        if not known:
            raise BadInput(
                f"{store.name} holds no results: add some with"
                f" `{commands.command('run', store=store)}`."
            )
        matching = {
            key: cell
            for key, cell in known.items()
            if self.tasks is None or cell.identity["task"]["name"] in self.tasks
        }
        if not matching:
            these = ", ".join(self.tasks or ())
            raise BadInput(
                f"{store.name} holds nothing for {these}:"
                f" `{commands.command('results', 'list', store=store)}` lists what it has."
            )
        if self.setting:
            settings = {key: _setting(cell) for key, cell in matching.items()}
            self.setting.check(settings.values())
            matching = {k: c for k, c in matching.items() if self.setting.includes(settings[k])}
        if self.methods is not None:
            methods = {
                cell.labels["variant"]: cell.identity["method"]["name"]
                for cell in matching.values()
            }
            variants = named_variants(methods, self.methods)
            matching = {
                key: cell for key, cell in matching.items() if cell.labels["variant"] in variants
            }
        return matching

    def results(self, store: Store) -> list[Result]:
        """Final runs in the order they were stored. Raises `BadInput` if no cell matches."""
        cells = self.cells(store)
        return [
            row
            for row in store.results()
            if row.cell in cells and (self.seeds is None or row.seed in self.seeds)
        ]

    def failures(self, store: Store) -> list[Failure]:
        """Final runs that failed and haven't succeeded since."""
        cells = self.cells(store)
        done = {(run["cell"], run["seed"]) for run in store.runs(("cell", "seed"))}
        rows = [
            row
            for row in store.failures()
            if row.cell in cells and (row.cell, row.seed) not in done
        ]
        return [row for row in rows if self.seeds is None or row.seed in self.seeds]


def _setting(cell: Cell) -> Setting:
    backbone = cell.identity["backbone"]
    return Setting(
        f"{backbone['name']}@{backbone.get('side', '')}",
        str(cell.labels["protocol"]),
        str(cell.labels.get("kind")),
    )


def records(store: Store, rows: Sequence[Result] | Sequence[Failure]) -> list[dict[str, Any]]:
    """One dict per row: what it is, and its score in percent and id, or its reason."""
    cells = store.cells()
    return [_record(cells[row.cell], row) for row in rows]


def _record(cell: Cell, row: Result | Failure) -> dict[str, Any]:
    what = {
        "variant": cell.labels["variant"],
        "task": cell.identity["task"]["name"],
        "backbone": cell.identity["backbone"]["name"],
        "protocol": cell.labels["protocol"],
        "version": str(cell.identity["method"]["version"]),
        "source": str(cell.identity["method"].get("source") or ""),
        "seed": row.seed,
    }
    if isinstance(row, Result):
        return {"id": row.id, **what, "score": row.score, "created": row.created, "cell": row.cell}
    return {
        "id": result_id(row.cell, row.seed),
        **what,
        "reason": plain(row.line),
        "created": row.created,
        "cell": row.cell,
    }


def table(store: Store, rows: Sequence[dict[str, Any]]) -> Table:
    """For the terminal; empty without rows. A backbone or protocol that all share is in the
    title, and protocols of one name by what they differ in.

    The method's version and the sha256 of its code are shown where a variant has several.
    """
    rows = _told_apart(store, rows)
    shared = {
        name: rows[0][name]
        for name in ("backbone", "protocol")
        if rows and len({row[name] for row in rows}) == 1
    }
    title = plain(", ".join(f"{name} {value}" for name, value in shared.items()))
    listing = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        title=Text(title, style="dim") if title else None,
        title_justify="left",
    )
    redundant = [
        name
        for name in ("version", "source")
        if len({(row["variant"], row[name]) for row in rows}) == len({r["variant"] for r in rows})
    ]
    columns = [
        name for name in (rows[0] if rows else ()) if name not in ("cell", *shared, *redundant)
    ]
    for name in columns:
        number = name in ("seed", "score")
        listing.add_column(
            "date" if name == "created" else name,
            justify="right" if number else "left",
            no_wrap=name in ("id", "score"),
            overflow="fold",
        )
    for row in rows:
        listing.add_row(*(Text(_shown(name, row[name])) for name in columns))
    return listing


def _told_apart(store: Store, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their protocol's name as a report's sections have it: `mini, 4 trials`."""
    cells = store.cells()
    protocols = {row["cell"]: _protocol(cells[row["cell"]]) for row in rows}
    names = protocol_names(protocols.values())
    return [{**row, "protocol": names[protocols[row["cell"]]]} for row in rows]


def _protocol(cell: Cell) -> NamedProtocol:
    return NamedProtocol(
        str(cell.labels["protocol"]), str(cell.labels["metric"]), settings_of(cell)
    )


def _shown(name: str, value: Any) -> str:
    if name == "score":
        return f"{value:.2f}"
    return plain(str(value)[: {"created": 10, "source": 8}.get(name)])


@dataclass(frozen=True)
class Removal:
    """What would be removed."""

    results: list[Result]
    failures: list[Failure]
    searches: list[str]
    """Keys of cells that would have no result left, and whose searches are removed too."""
    trials: int
    other_failures: int
    """Further failures, of those cells."""

    def __str__(self) -> str:
        parts = [some(len(self.results), "result") if self.results or not self.failures else ""]
        parts += [some(len(self.failures), "failure") if self.failures else ""]
        if self.searches:
            more = f" and {some(self.other_failures, 'failure')}" if self.other_failures else ""
            parts.append(
                f"{some(self.trials, 'trial')}{more} of {some(len(self.searches), 'cell')} without"
                " results"
            )
        return ", ".join(part for part in parts if part)


def by_id(store: Store, ids: Sequence[str]) -> list[Result]:
    """The results with these ids or prefixes, without repeats. Raises `BadInput`."""
    return list({row.id: row for row, _ in map(store.result, ids)}.values())


def removal(
    store: Store, results: list[Result], failures: list[Failure], searches: Collection[str] | None
) -> Removal:
    """What removing these entails. `searches`: keys of cells whose trials are removed too if they
    have no result left; None: no trials are removed."""
    removed, keys = {row.id for row in results}, set(searches or ())
    kept = {run["cell"] for run in store.runs(("id", "cell")) if run["id"] not in removed}
    empty = sorted(keys - kept)
    counts, named = store.trial_counts(), {(row.cell, row.seed) for row in failures}
    other_failures = sum(
        (row.cell, row.seed) not in named and row.cell in set(empty) for row in store.failures()
    )
    return Removal(
        results,
        failures,
        empty,
        sum(sum(counts.get(key, {}).values()) for key in empty),
        other_failures,
    )


def remove(store: Store, requested: Removal) -> dict[str, int]:
    """Removes it, and the results' checkpoints. Returns how many rows of each kind were removed,
    and how many checkpoints.

    Raises `BadInput` for a checkpoint that can't be removed; by then its result is gone.
    """
    removed = store.remove(
        [row.id for row in requested.results],
        [(row.cell, row.seed) for row in requested.failures],
        requested.searches,
    )
    checkpoints = 0
    for row in requested.results:
        file = store.checkpoints / f"{row.id}.safetensors"
        try:
            file.unlink()
            checkpoints += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BadInput(
                f"the results are removed, but their checkpoint {file} can't be ({error.strerror}):"
                " delete it by hand."
            ) from error
    return {
        "result": removed["results"],
        "checkpoint": checkpoints,
        "trial": removed["trials"],
        "failure": removed["failures"],
        "cell": removed["cells"],
    }
