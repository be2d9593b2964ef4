"""The results that `harness results` is asked for: by task, method and seed, or by id; as a table
or JSON, and out of the store."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from harness.errors import BadInput
from harness.io import commands
from harness.reporting.filters import named_variants
from harness.store import Store, result_id
from harness.store.records import Cell, Failure, Result
from harness.text import plain, some


@dataclass(frozen=True)
class Wanted:
    """Filters; None: all. `methods` are names (`ivpt`: all its variants) or whole variants
    (`ivpt(da=false)`), as in `harness report`."""

    tasks: Sequence[str] | None = None
    methods: Sequence[str] | None = None
    seeds: Sequence[int] | None = None

    def __bool__(self) -> bool:
        return (self.tasks, self.methods, self.seeds) != (None, None, None)

    def cells(self, store: Store) -> dict[str, Cell]:
        """The cells of these tasks and methods, by key. Raises `BadInput` where there are none."""
        known = store.cells()
        if not known:
            raise BadInput(
                f"{store.name} holds no results: `{commands.command('run', store=store)}` makes"
                " some."
            )
        found = {
            key: cell
            for key, cell in known.items()
            if self.tasks is None or cell.identity["task"]["name"] in self.tasks
        }
        if not found:
            these = ", ".join(self.tasks or ())
            raise BadInput(
                f"{store.name} holds nothing of {these}: see"
                f" `{commands.command('results', 'list', store=store)}`."
            )
        if self.methods is not None:
            methods = {
                cell.labels["variant"]: cell.identity["method"]["name"] for cell in found.values()
            }
            variants = named_variants(methods, self.methods)
            found = {key: cell for key, cell in found.items() if cell.labels["variant"] in variants}
        return found

    def results(self, store: Store) -> list[Result]:
        """Final runs in the order they were stored. Raises `BadInput` where no cell is as asked
        for."""
        cells = self.cells(store)
        return [
            row
            for row in store.results()
            if row.cell in cells and (self.seeds is None or row.seed in self.seeds)
        ]

    def failures(self, store: Store) -> list[Failure]:
        """Final runs that failed, and that no result has made good."""
        cells = self.cells(store)
        done = {(run["cell"], run["seed"]) for run in store.runs(("cell", "seed"))}
        found = [
            row
            for row in store.failures()
            if row.cell in cells and (row.cell, row.seed) not in done
        ]
        return [row for row in found if self.seeds is None or row.seed in self.seeds]


def records(store: Store, rows: Sequence[Result] | Sequence[Failure]) -> list[dict[str, Any]]:
    """A dict a row: what it is, and its score in percent and id, or its reason."""
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


def table(found: Sequence[dict[str, Any]]) -> Table:
    """For the terminal; empty for no records. A backbone and a protocol that all share are said
    once, above.

    The method's version and the sha256 of its code are shown where a variant has several.
    """
    shared = {
        name: found[0][name]
        for name in ("backbone", "protocol")
        if found and len({row[name] for row in found}) == 1
    }
    title = plain(", ".join(f"{name} {value}" for name, value in shared.items()))
    made = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        title=Text(title, style="dim") if title else None,
        title_justify="left",
    )
    alike = [
        name
        for name in ("version", "source")
        if len({(row["variant"], row[name]) for row in found}) == len({r["variant"] for r in found})
    ]
    columns = [
        name for name in (found[0] if found else ()) if name not in ("cell", *shared, *alike)
    ]
    for name in columns:
        number = name in ("seed", "score")
        made.add_column(
            "date" if name == "created" else name,
            justify="right" if number else "left",
            no_wrap=name in ("id", "score"),
            overflow="fold",
        )
    for row in found:
        made.add_row(*(Text(_shown(name, row[name])) for name in columns))
    return made


def _shown(name: str, value: Any) -> str:
    if name == "score":
        return f"{value:.2f}"
    return plain(str(value)[: {"created": 10, "source": 8}.get(name)])


@dataclass(frozen=True)
class Removal:
    """What would go."""

    results: list[Result]
    failures: list[Failure]
    searches: list[str]
    """Keys of cells that would have no result left, and whose search goes too."""
    trials: int
    also: int
    """Failures of those cells."""

    def __str__(self) -> str:
        parts = [some(len(self.results), "result") if self.results or not self.failures else ""]
        parts += [some(len(self.failures), "failure") if self.failures else ""]
        if self.searches:
            more = f" and {some(self.also, 'failure')}" if self.also else ""
            parts.append(
                f"{some(self.trials, 'trial')}{more} of {some(len(self.searches), 'cell')} without"
                " results"
            )
        return ", ".join(part for part in parts if part)


def by_id(store: Store, ids: Sequence[str]) -> list[Result]:
    """The results with these ids or prefixes; each once. Raises `BadInput`."""
    return list({row.id: row for row, _ in map(store.result, ids)}.values())


def removal(
    store: Store, results: list[Result], failures: list[Failure], searches: Collection[str] | None
) -> Removal:
    """What removing these means. `searches`: keys of cells whose trials go too where no result is
    left; None: no trials go."""
    gone, keys = {row.id for row in results}, set(searches or ())
    kept = {run["cell"] for run in store.runs(("id", "cell")) if run["id"] not in gone}
    empty = sorted(keys - kept)
    counts, told = store.trial_counts(), {(row.cell, row.seed) for row in failures}
    also = sum(
        (row.cell, row.seed) not in told and row.cell in set(empty) for row in store.failures()
    )
    return Removal(
        results, failures, empty, sum(sum(counts.get(key, {}).values()) for key in empty), also
    )


def remove(store: Store, asked: Removal) -> dict[str, int]:
    """Removes it, the results' checkpoints beside the store too. Gives back how many rows of each
    kind went, and how many checkpoints.

    Raises `BadInput` for a checkpoint that can't be removed; its result has gone then.
    """
    went = store.remove(
        [row.id for row in asked.results],
        [(row.cell, row.seed) for row in asked.failures],
        asked.searches,
    )
    checkpoints = 0
    for row in asked.results:
        file = store.checkpoints / f"{row.id}.safetensors"
        try:
            file.unlink()
            checkpoints += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BadInput(
                f"the results are removed, their checkpoint {file} can't be ({error.strerror}):"
                " remove it by hand."
            ) from error
    return {
        "result": went["results"],
        "checkpoint": checkpoints,
        "trial": went["trials"],
        "failure": went["failures"],
        "cell": went["cells"],
    }
