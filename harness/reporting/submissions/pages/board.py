"""Everything on a board: the rows of all submissions in one store, and what each is worth."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from harness.reporting.leaderboard import COMPARABLE, TaskResult, leaderboard
from harness.reporting.rows import Rows, Run, read
from harness.reporting.section import Section, sections
from harness.reporting.submissions.check import Checked
from harness.reporting.submissions.fault import Finding
from harness.reporting.submissions.folder import ROWS, Submission
from harness.reporting.submissions.pages.marks import Mark, Marks, marks_of, together
from harness.store import Store
from harness.store.records import Cell
from harness.store.transfer.exchange import StoreRows
from harness.store.transfer.merge import merge
from harness.store.transfer.validate import checked
from harness.tasks.cards import load_suites
from harness.text import plain


@dataclass(frozen=True)
class Part:
    """One board: a suite, a backbone and a protocol, whose scores may be compared."""

    slug: str
    section: Section

    @property
    def title(self) -> str:
        return plain(f"{self.section.suite} on {self.section.backbone}")

    @property
    def protocol(self) -> str:
        return plain(self.section.protocol)

    @property
    def ids(self) -> list[str]:
        return [id for row in self.section.board for id in row.ids]

    @cached_property
    def leaders(self) -> list[tuple[str, float]]:
        """Variants with a score on every task, the best mean first."""
        means = ((name, one.mean) for name, one in self.section.methods.items())
        return [(name, mean) for name, mean in means if mean is not None]


@dataclass(frozen=True)
class Board:
    """All submissions, the earliest first."""

    submissions: tuple[Submission, ...]
    notes: Mapping[str, Sequence[Finding]]
    """By submission: what its check has noted."""
    rows: Rows

    @cached_property
    def marks(self) -> dict[str, Mark]:
        """By result id."""
        return marks_of(self.submissions)

    @cached_property
    def senders(self) -> dict[str, list[str]]:
        """By result id: the submissions that have it; the first one's is shown."""
        found: dict[str, list[str]] = {}
        for one in self.submissions:
            for id in one.results:
                found.setdefault(id, []).append(one.name)
        return found

    @cached_property
    def runs(self) -> dict[str, Run]:
        """By result id."""
        return {run.id: run for run in self.rows.runs}

    @cached_property
    def parts(self) -> list[Part]:
        return parts_of(self.rows)

    @cached_property
    def method_slugs(self) -> dict[str, str]:
        """The name of each method's page."""
        return _slugs(sorted({cell.method for cell in self.rows.cells}))

    @cached_property
    def task_slugs(self) -> dict[str, str]:
        return _slugs(sorted({cell.task for cell in self.rows.cells}))

    def mark(self, rows: Sequence[TaskResult]) -> Marks:
        """Of these rows together."""
        return together(self.marks, (id for row in rows for id in row.ids))

    def from_(self, rows: Sequence[TaskResult]) -> list[str]:
        """The submissions that these rows are from."""
        return list(dict.fromkeys(self.senders[id][0] for row in rows for id in row.ids))


def board_of(outcomes: Sequence[Checked]) -> Board:
    """Merges checked submissions, without faults, by identity, as `harness results import` does.
    Where two contradict each other, the earlier one's row is shown."""
    submissions = [one.submission for one in outcomes if one.submission is not None]
    submissions.sort(key=lambda one: (one.about.when, one.name))
    store = Store("sqlite://")
    labels = _labels(submissions)
    for one in submissions:
        cells = [
            replace(cell, labels={**cell.labels, "variant": labels[cell.key]})
            for cell in one.rows.cells
        ]
        rows = StoreRows(cells, one.rows.trials, one.rows.results, [])
        merge(store, checked(rows, f"{one.name}/{ROWS}"))
    notes = {one.name: one.notes for one in outcomes}
    return Board(tuple(submissions), notes, read(store))


def _labels(submissions: Sequence[Submission]) -> dict[str, str]:
    """The variant of each cell, by key. Different code under one name gets the start of its sha256:
    a leaderboard would take it for a new version, and show the newest alone."""
    cells = {cell.key: cell for one in submissions for cell in one.rows.cells}
    sources: dict[str, set[str]] = {}
    for cell in cells.values():
        sources.setdefault(cell.identity["method"]["name"], set()).add(_source(cell))

    def label(cell: Cell) -> str:
        source, variant = _source(cell), cell.labels["variant"]
        several = len(sources[cell.identity["method"]["name"]]) > 1
        return f"{variant} [{source[:6]}]" if several and source else variant

    return {key: label(cell) for key, cell in cells.items()}


def _source(cell: Cell) -> str:
    return str(cell.identity["method"].get("source") or "")


def parts_of(rows: Rows) -> list[Part]:
    """The boards of these rows: by suite, then those of suites that are made of others, where all
    their tasks are there."""
    results = leaderboard(rows)
    found = [*sections(results, None, None), *_larger(results)]
    found.sort(key=lambda part: (-len(part.tasks), part.suite, part.backbone, part.protocol))
    names = [f"{part.suite}-{part.backbone}-{part.protocol}" for part in found]
    return [Part(slug, part) for slug, part in zip(_distinct(names), found, strict=True)]


def _larger(results: Sequence[TaskResult]) -> Iterator[Section]:
    for suite in load_suites().values():
        of_suite = [row for row in results if row.task in suite.tasks]
        if len({row.cell.suite for row in of_suite}) > 1:
            for part in sections(of_suite, suite.tasks, suite.name):
                if not part.missing and len({row.cell.suite for row in part.board}) > 1:
                    yield part


def comparable(part: Section) -> tuple[str, ...]:
    """What the scores of a board share."""
    return tuple(str(getattr(part.first, name)) for name in COMPARABLE)


def _slugs(names: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, _distinct(names), strict=True))


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of files: of a-z, 0-9, '.', '_' and '-' alone, each once."""
    taken: dict[str, int] = {}
    slugs = []
    for name in names:
        slug = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:80] or "unnamed"
        taken[slug] = taken.get(slug, 0) + 1
        slugs.append(slug if taken[slug] == 1 else f"{slug}-{taken[slug]}")
    return slugs
