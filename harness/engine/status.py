"""The progress of the work on a store, from its rows alone: whoever can read it can see it, from
any machine, whether or not a run is active.

A run writes the work that it plans with each cell when it starts: the label `asked` (see
`planned_work` below). For cells from elsewhere, or from before there was such a label, that isn't
known: they count as done if they have a result.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

from harness.errors import BadInput
from harness.io import commands
from harness.store import Cell, Lease, Store, gone
from harness.text import plain

WINDOW = 3600.0
"""Seconds back from now within which results count for the rate."""

_FEW, _SHORT = 3, 20.0
"""Pieces of work, and seconds, that are needed for a rate."""

_READ = 200
"""Failed trials whose reasons are read."""

State = Literal["done", "under way", "waiting", "with gaps"]


def planned_work(
    trials: int, seeds: Collection[int], trial_units: float, final_units: float
) -> dict[str, Any]:
    """A cell's label `asked`: points of its search, seeds of its final runs, and the forward-image
    units expected for each."""
    return {
        "trials": trials,
        "seeds": list(seeds),
        "trial_units": trial_units,
        "final_units": final_units,
    }


@dataclass(frozen=True)
class CellStatus:
    """One cell: what is stored, and what is left."""

    key: str
    variant: str
    task: str
    state: State
    trials: dict[str, int]
    """By state."""
    trials_wanted: int | None
    """None: unknown."""
    results: int
    results_wanted: int | None
    driver: str | None
    """The owner of its lease, if alive."""
    units_done: float | None
    """Forward-image units, as expected; None: unknown."""
    units_left: float | None

    @property
    def tried(self) -> int:
        """Points of the search that are used up, by the rows: a failed trial is retried."""
        return self.trials.get("complete", 0) + self.trials.get("pruned", 0)


@dataclass(frozen=True)
class Driver:
    """A `harness run` that holds leases, or held some when it died."""

    owner: str
    host: str
    process: str
    state: Literal["alive", "expired", "dead"]
    """`dead`: it ran on this machine, and no longer does. `expired`: it was unresponsive for the
    duration of a lease."""
    cells: int
    seconds: float
    """Until the first of its leases expires; negative: since then."""


@dataclass(frozen=True)
class Gap:
    """A final run that failed for good."""

    variant: str
    task: str
    seed: int
    reason: str


@dataclass(frozen=True)
class Rate:
    """How fast work was done."""

    seconds: float
    """The period that it covers, up to now."""
    results: float
    """Per hour."""
    trials: float | None
    """Per hour; None: unknown, since stored trials have no time."""
    units: float | None
    """Expected forward-image units per second."""


@dataclass(frozen=True)
class StoreStatus:
    """The progress of the work on a store."""

    store: str
    time: str
    """ISO time in UTC."""
    cells: tuple[CellStatus, ...]
    drivers: tuple[Driver, ...]
    gaps: tuple[Gap, ...]
    trials_failed: tuple[tuple[str, int], ...]
    """Reasons of failed trials with their counts, among `reasons_of` trials."""
    reasons_of: int
    rate: Rate | None
    """None: too little was done in the last hour."""

    @cached_property
    def states(self) -> Counter[State]:
        """The number of cells in each state."""
        return Counter(cell.state for cell in self.cells)

    @cached_property
    def trials(self) -> Counter[str]:
        """By state."""
        trials: Counter[str] = Counter()
        for cell in self.cells:
            trials.update(cell.trials)
        return trials

    @property
    def results(self) -> int:
        return sum(cell.results for cell in self.cells)

    @property
    def results_wanted(self) -> int | None:
        return _total(cell.results_wanted for cell in self.cells)

    @property
    def trials_wanted(self) -> int | None:
        return _total(cell.trials_wanted for cell in self.cells)

    @property
    def units_done(self) -> float | None:
        return _total(cell.units_done for cell in self.cells)

    @property
    def units_left(self) -> float | None:
        """For the cells that are under way or waiting."""
        return _total(
            cell.units_left for cell in self.cells if cell.state in ("under way", "waiting")
        )

    @property
    def left(self) -> float | str:
        """Seconds until everything is done at the current rate, or why that is unknown."""
        if not self.states["under way"] and not self.states["waiting"]:
            return (
                "nothing is left to do"
                if not self.states["with gaps"]
                else "nothing is left except gaps"
            )
        if not any(driver.state == "alive" for driver in self.drivers):
            return "unknown: no run is working on it"
        if self.units_left is None:
            return "unknown: for some cells, the store doesn't say how much was requested"
        if self.rate is None or not self.rate.units:
            return "unknown, like the rate"
        return self.units_left / self.rate.units

    def json(self) -> dict[str, Any]:
        """All of it, for programs."""
        left = self.left
        return {
            "store": self.store,
            "time": self.time,
            "cells": {
                "all": len(self.cells),
                **{
                    state: self.states[state]
                    for state in ("done", "under way", "waiting", "with gaps")
                },
            },
            "results": {"stored": self.results, "wanted": self.results_wanted},
            "trials": {
                **{state: self.trials[state] for state in ("complete", "pruned", "failed")},
                "wanted": self.trials_wanted,
            },
            "rate": None if self.rate is None else asdict(self.rate),
            "seconds_left": left if isinstance(left, float) else None,
            "drivers": [asdict(driver) for driver in self.drivers],
            "under_way": [asdict(cell) for cell in self.cells if cell.state == "under way"],
            "gaps": [asdict(gap) for gap in self.gaps],
            "failed_trials": [
                {"reason": reason, "trials": count} for reason, count in self.trials_failed
            ],
        }


def read(store: Store, before: StoreStatus | None = None) -> StoreStatus:
    """The current progress. Counts trials by an index, and reads only a few failed ones. Raises
    `BadInput` without a store.

    `before`: an earlier one, to compute the rate from what was done since, once that is enough;
    else it comes from when results were stored.
    """
    if store.engine.read(lambda _, schema: schema, None) is None:
        raise BadInput(
            f"there is no store {store.name}: give --store, or run"
            f" `{commands.command('run', store=store)}`."
        )
    now = datetime.now(UTC)
    counts, stored, failures, leases, known = (
        store.trial_counts(),
        store.runs(_RUN),
        store.failures(),
        store.leases(),
        store.cells(),
    )
    drivers = _drivers(leases)
    alive = {driver.owner for driver in drivers if driver.state == "alive"}
    holder = {
        lease.cell: lease.owner for lease in leases if lease.owner in alive and lease.seconds > 0
    }
    seeds: dict[str, set[int]] = {}
    for row in stored:
        seeds.setdefault(row["cell"], set()).add(row["seed"])
    failed: dict[str, set[int]] = {}
    for failure in failures:
        failed.setdefault(failure.cell, set()).add(failure.seed)
    cells = {
        key: _cell(
            cell,
            counts.get(key, {}),
            seeds.get(key, set()),
            failed.get(key, set()),
            holder.get(key),
        )
        for key, cell in known.items()
    }
    failing = [key for key, states in counts.items() if states.get("failed")]
    reasons = [plain(reason or "unknown") for reason in store.failed_trials(failing, _READ)]
    status = StoreStatus(
        plain(store.name),
        now.isoformat(timespec="seconds"),
        tuple(cells.values()),
        tuple(drivers),
        tuple(
            Gap(cells[row.cell].variant, cells[row.cell].task, row.seed, plain(row.line))
            for row in failures
            if row.cell in cells
        ),
        tuple(Counter(reasons).most_common()),
        len(reasons),
        _of_results(stored, cells, now),
    )
    since = _since(before, status) if before is not None else None
    return status if since is None else replace(status, rate=since)


_RUN = ("cell", "seed", "created")


def _cell(
    cell: Cell, trials: Mapping[str, int], done: set[int], failed: set[int], driver: str | None
) -> CellStatus:
    wanted = _wanted(cell)
    missing = set(wanted["seeds"]) - done if wanted else set()
    if not missing if wanted else done:
        state: State = "done"
    elif driver is not None:
        state = "under way"
    elif failed & missing if wanted else failed:
        state = "with gaps"
    else:
        state = "waiting"
    points, units_done, units_left = None, None, None
    if wanted:
        points = int(wanted["trials"])
        tried = trials.get("complete", 0) + trials.get("pruned", 0)
        units_done = tried * wanted["trial_units"] + len(done) * wanted["final_units"]
        units_left = (max(0, points - tried) * wanted["trial_units"] if missing else 0.0) + len(
            missing
        ) * wanted["final_units"]
    results_wanted = len(done | set(wanted["seeds"])) if wanted else None
    variant, task = (
        plain(str(name))
        for name in (
            cell.labels.get("variant", "?"),
            cell.identity.get("task", {}).get("name", "?"),
        )
    )
    return CellStatus(
        cell.key,
        variant,
        task,
        state,
        dict(trials),
        points,
        len(done),
        results_wanted,
        driver,
        units_done,
        units_left,
    )


def _wanted(cell: Cell) -> dict[str, Any] | None:
    """The label `asked`, if it is valid: it may come from somebody else's file."""
    label: Any = cell.labels.get("asked")
    try:
        return planned_work(
            int(label["trials"]),
            {int(seed) for seed in label["seeds"]},
            float(label["trial_units"]),
            float(label["final_units"]),
        )
    except (TypeError, KeyError, ValueError, OverflowError):
        return None


def _drivers(leases: Collection[Lease]) -> list[Driver]:
    """By owner; live ones first."""
    held: dict[str, list[Lease]] = {}
    for lease in leases:
        held.setdefault(lease.owner, []).append(lease)
    drivers = []
    for owner, leases_held in held.items():
        host, _, process, _ = (*plain(owner).split("/"), "?", "?", "?")[:4]
        last = max(lease.seconds for lease in leases_held)
        state = "expired" if last <= 0 else "dead" if gone(owner) else "alive"
        seconds = [lease.seconds for lease in leases_held if lease.seconds > 0 or last <= 0]
        drivers.append(
            Driver(owner, host, process, state, len(seconds), min(seconds) if last > 0 else last)
        )
    return sorted(drivers, key=lambda driver: (driver.state != "alive", driver.owner))


def _of_results(
    stored: Collection[Mapping[str, Any]], cells: Mapping[str, CellStatus], now: datetime
) -> Rate | None:
    """From the first result of the last hour until now. A result counts for its share of its cell's
    trials too, as these have no time."""
    recent = sorted(
        (age, row["cell"])
        for row in stored
        if (age := _age(row["created"], now)) is not None and age <= WINDOW
    )
    if len(recent) <= _FEW or recent[-1][0] < _SHORT:
        return None
    seconds, _ = recent.pop()  # its work was before the window
    units = _total(
        (
            done / cells[key].results
            if key in cells and (done := cells[key].units_done) is not None
            else None
        )
        for _, key in recent
    )
    return Rate(
        seconds, 3600 * len(recent) / seconds, None, units / seconds if units is not None else None
    )


def _since(before: StoreStatus, now: StoreStatus) -> Rate | None:
    """From what was done between two readings."""
    seconds = (
        datetime.fromisoformat(now.time) - datetime.fromisoformat(before.time)
    ).total_seconds()
    results, trials = now.results - before.results, now.trials.total() - before.trials.total()
    if seconds < _SHORT or results + trials < _FEW:
        return None
    done, was = now.units_done, before.units_done
    units = (done - was) / seconds if done is not None and was is not None and done > was else None
    return Rate(seconds, 3600 * results / seconds, 3600 * trials / seconds, units)


def _age(created: str, now: datetime) -> float | None:
    """Seconds; None if the text isn't a time with a time zone."""
    try:
        return (now - datetime.fromisoformat(created)).total_seconds()
    except (ValueError, TypeError):
        return None


def _total(parts: Any) -> Any:
    """The sum; None if one of them is unknown."""
    values = list(parts)
    return None if any(part is None for part in values) else sum(values)
