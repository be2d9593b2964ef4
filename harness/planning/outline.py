"""What a plan comes to: its cells by key. Kept where it follows from code, weights, cards and data
that can be told to be the same, so that a run whose results are all stored needs neither torch nor
timm."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness.backbones
from harness.errors import BadInput
from harness.io import answers, flags
from harness.planning.choices import choose_tasks, settings, suite_of
from harness.planning.notices import not_narrowed
from harness.planning.plan import RunPlan
from harness.planning.registry import registered
from harness.planning.request import Request
from harness.planning.source import of_file
from harness.planning.variants import files_in
from harness.store import Store

if TYPE_CHECKING:
    from harness.tasks.cards import TaskCard

KIND = "plan"


@dataclass(frozen=True)
class OutlinedCell:
    """A planned cell in words."""

    key: str
    label: str
    """Of its variant."""
    task: str
    identity: dict[str, Any]
    fingerprint: str
    """Of its task's data."""
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Outline:
    """What a run has to say of its plan when nothing is left to do."""

    cells: tuple[OutlinedCell, ...]
    tasks: tuple[str, ...]
    suite: str | None
    notes: tuple[str, ...] = ()
    """On search spaces that a protocol couldn't narrow."""
    warnings: tuple[str, ...] = ()

    @property
    def variants(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.label for cell in self.cells))

    @property
    def keys(self) -> list[str]:
        return [cell.key for cell in self.cells]


def of_plan(plan: RunPlan) -> Outline:
    cells = [
        OutlinedCell(
            cell.key,
            cell.variant.label,
            cell.card.name,
            dict(cell.cell.identity),
            cell.fingerprint,
            tuple(cell.seeds),
        )
        for cell in plan.cells
    ]
    return Outline(tuple(cells), plan.tasks, plan.suite, tuple(not_narrowed(plan)), plan.warnings)


def keep(request: Request, outline: Outline) -> None:
    """Keeps a request's outline, if what it depends on can be told again without torch."""
    found = _inputs(request)
    if found is not None:
        answers.keep(KIND, found.of, asdict(outline), found.files, found.modules)


def recalled(request: Request, store: Store) -> Outline | None:
    """The outline of a request whose results are all in the store, if it was planned before with
    the same code, weights, cards, protocols and data."""
    found = _inputs(request)
    if found is None or (kept := _read(answers.recalled(KIND, found.of))) is None:
        return None
    progress = store.progress(kept.keys)
    if any(set(cell.seeds) - progress[cell.key].scores.keys() for cell in kept.cells):
        return None
    return kept if _has_data(kept, found.cards, request.data_root) else None


def is_plain(request: Request) -> bool:
    """Whether, as far as can be told without torch, a request can be planned: it names what is
    there, and fixes no argument that might be wrong."""
    names = {name.strip() for name in request.methods.split(",")}
    found = _inputs(request) if names <= registered().keys() else None
    if found is None:
        return False
    from harness.data.readers import open_reader

    try:
        return all(open_reader(card, request.data_root).present() for card in found.cards)
    except (BadInput, OSError):
        return False


@dataclass(frozen=True)
class _Inputs:
    """What a plan follows from, beside code and data."""

    of: Any
    """Values for JSON."""
    files: list[Path]
    modules: frozenset[str]
    """Those whose text is part of `of`."""
    cards: "list[TaskCard]"


def _inputs(request: Request) -> _Inputs | None:
    """None where it can't be told without torch, as of weights from a hub, or isn't, as of a table
    of settings. What is wrong with a request is said when it is planned."""
    from harness.data.readers import resolve

    if request.hparams is not None or request.start_from is not None:
        return None
    try:
        suite, cards, suites = choose_tasks(request.suite, request.tasks, request.cards)
        cards = [resolve(card, request.data_root, request.pixels) for card in cards]
        of_tasks: list[Any] = []
        files: list[Path] = []
        for card in cards:
            spec, protocol = settings(request, card, suite_of(card, suite, suites))
            weights = harness.backbones.files_of(spec)
            if weights is None:
                return None
            files += weights
            said = (card.model_dump(mode="json"), protocol.model_dump(mode="json"))
            of_tasks.append([*said, str(card.path), spec])
        codes = [of_file(flags.path(name)) for name in files_in(request.methods)]
    except (BadInput, OSError):
        return None
    of = {
        "request": {name: str(value) for name, value in asdict(request).items()},
        "tasks": of_tasks,
        "registered": sorted((entry.name, entry.value) for entry in registered().values()),
        "files": [[code.files[0].path, code.digest] for code in codes],
    }
    modules = frozenset(file.name for code in codes for file in code.files)
    return _Inputs(of, list(dict.fromkeys(files)), modules, cards)


def _has_data(outline: Outline, cards: "list[TaskCard]", root: Path | None) -> bool:
    """Whether all tasks have the data that the outline was made with."""
    from harness.data.fingerprint import remembered, rows_of
    from harness.data.readers import open_reader

    known = {cell.task: cell.fingerprint for cell in outline.cells}
    try:
        for card in cards:
            reader = open_reader(card, root)
            if remembered(card, root, rows_of(reader)) != known.get(card.name):
                return False
            reader.check()
    except (BadInput, OSError):
        return False
    return True


def _read(kept: Any) -> Outline | None:
    """An outline as it was kept."""
    try:
        cells = [OutlinedCell(**{**cell, "seeds": tuple(cell["seeds"])}) for cell in kept["cells"]]
        texts = {name: tuple(kept[name]) for name in ("tasks", "notes", "warnings")}
        return Outline(cells=tuple(cells), suite=kept["suite"], **texts)
    except (TypeError, KeyError):  # nothing, or nothing of ours
        return None
