"""Turns a request into a RunPlan: the cells to fill."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import harness.backbones
from harness.backbones import Backbone
from harness.backbones.carried import Uncarried
from harness.errors import BadInput
from harness.planning import user_errors
from harness.planning.cell import PlannedCell, of_cell, plan_cell
from harness.planning.choices import choose_tasks, settings, suite_of
from harness.planning.known import Known, points_of, starts, table
from harness.planning.protocols import Settings
from harness.planning.request import DEFAULT, Request
from harness.planning.search_space import own_arguments, search_space
from harness.planning.variant import Variant
from harness.planning.variants import carried, left_out, parse
from harness.tasks.cards import TaskCard

if TYPE_CHECKING:
    from harness.data.readers.reader import TaskReader


@dataclass(frozen=True)
class RunPlan:
    """The cells of a run, task by task so that few are open at a time, and the backbones they
    share."""

    cells: tuple[PlannedCell, ...]
    backbones: Mapping[str, Backbone]
    tasks: tuple[str, ...]
    suite: str | None
    warnings: tuple[str, ...] = ()
    """What readers of the scores should know about the data: duplicate images."""

    def cell(self, key: str) -> PlannedCell:
        return self._by_key[key]

    @cached_property
    def _by_key(self) -> dict[str, PlannedCell]:
        return {cell.key: cell for cell in self.cells}

    @property
    def variants(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.variant.label for cell in self.cells))


def plan(request: Request, variants: Sequence[Variant] | None = None) -> RunPlan:
    """The complete plan. Reads cards, checks and fingerprints the data, loads the backbones. Raises
    `BadInput` before anything is written.

    `variants`: instead of those in the request's `methods`.
    """
    from harness.data.fingerprint import data_summary, rows_of
    from harness.data.readers import resolve

    suite, cards, suites = choose_tasks(request.suite, request.tasks, request.cards)
    cells: list[PlannedCell] = []
    backbones: dict[str, Backbone] = {}
    built: set[str] = set()
    errors: list[str] = []
    warnings: list[str] = []
    cards = [resolve(card, request.data_root, request.pixels) for card in cards]
    chosen = [(card, *settings(request, card, suite_of(card, suite, suites))) for card in cards]
    warnings += [] if variants else left_out(request.methods)
    variants = variants or parse(
        request.methods, also={name for _, _, protocol in chosen for name in protocol.arguments}
    )
    known = known_settings(request)
    readers = check_data(cards, request.data_root)
    for spec in dict.fromkeys(spec for _, spec, _ in chosen):
        backbones[spec] = harness.backbones.load(spec)
    variants, without = carried(variants, [backbone.vit for backbone in backbones.values()])
    warnings += without
    if known is not None:
        warnings += notes_on(known, request, variants, chosen)
    for card, spec, protocol in chosen:
        own = [variant for variant in variants if has_settings(known, request, variant, card.name)]
        check_variants(own, backbones[spec], card, protocol, built, request, known)
        digest, duplicates = data_summary(card, request.data_root, rows_of(readers[card.name]))
        if (wrong := duplicates.error(card)) and request.allow_overlap:
            warnings.append(f"task {card.name}: {wrong}.")
        elif wrong:
            remedy = (
                "Remove them from one of the two; or run with --allow-overlap, which the"
                " leaderboard will mention."
            )
            errors.append(f"task {card.name}: {wrong}. {remedy}")
        warnings += [f"task {card.name}: {warning}." for warning in duplicates.warnings(card)]
        for variant in own:
            cells.append(
                plan_cell(
                    card,
                    request,
                    digest,
                    variant,
                    spec,
                    backbones[spec],
                    protocol,
                    overlap=duplicates.test,
                    known=known,
                )
            )
    if errors:
        raise BadInput("\n".join(errors))
    return RunPlan(
        tuple(cells), backbones, tuple(card.name for card in cards), suite, tuple(warnings)
    )


def check_data(cards: Sequence[TaskCard], root: Path | None) -> "dict[str, TaskReader]":
    """The reader of every task, with its lists read. Raises one `BadInput` that says which tasks'
    data are missing, incomplete or wrong, and how to get them."""
    readers, problems = opened(cards, root)
    if problems and root is not None and not root.is_dir():
        raise BadInput(
            f"--data-root {root}: no such folder. Give the one that holds the data of"
            f" {', '.join(problems)}."
        )
    if problems:
        from harness.data import missing

        raise BadInput("\n".join(missing.lines(problems, cards, root)))
    return readers


def opened(
    cards: Sequence[TaskCard], root: Path | None
) -> "tuple[dict[str, TaskReader], dict[str, str]]":
    """By task, the readers of those whose data can be used; and for the others, what is wrong and
    how to fix it."""
    from harness.data.readers import open_reader

    readers, problems = {}, {}
    for card in cards:
        try:
            reader = open_reader(card, root)
            reader.check_all()
            readers[card.name] = reader
        except BadInput as error:
            problems[card.name] = str(error)
    return readers, problems


def check_variants(
    variants: Sequence[Variant],
    backbone: Backbone,
    card: TaskCard,
    protocol: Settings,
    built: set[str],
    request: Request = DEFAULT,
    known: Known | None = None,
) -> None:
    """Builds every variant once on a backbone, so that wrong arguments are reported before anything
    runs.

    `built`: what was built before, which is extended.
    """
    from harness.training.kinds import kind_of

    for variant in variants:
        own = of_cell(protocol, variant, card, backbone.name, request, known)
        arguments = own_arguments({**own.fixed, **variant.arguments}, own)
        if reason := variant.method.refuses.get(card.kind):
            raise BadInput(f"{variant.name} can't do {card.kind} (task {card.name}): {reason}.")
        signature = f"{variant.label} {arguments} {backbone.name} {backbone.sha256} {card.kind}"
        if signature in built:
            continue
        built.add(signature)
        try:
            kind_of(card.kind).check_method(variant.build(backbone.vit, arguments))
        except Uncarried:
            raise
        except (Exception, SystemExit) as error:  # the user's code may fail in any way
            raise BadInput(
                f"{variant.label} can't be built on {backbone.name}: {user_errors.line(error)}."
            ) from error


def known_settings(request: Request) -> Known | None:
    """The settings that a request names, if it names any. Raises `BadInput`."""
    if request.hparams is not None:
        return table(request.hparams)
    return starts(request.start_from) if request.start_from is not None else None


def has_settings(known: Known | None, request: Request, variant: Variant, task: str) -> bool:
    """Whether a cell can be run: `--hparams` has a line for it, or wasn't given."""
    return known is None or request.hparams is None or bool(known.of(variant, task))


def notes_on(
    known: Known,
    request: Request,
    variants: Sequence[Variant],
    chosen: Sequence[tuple[TaskCard, str, Settings]],
) -> list[str]:
    """What known settings lack for a plan, or have outside of what is searched; a line each. Raises
    `BadInput` where a table has nothing at all."""
    lacking = {
        variant.label: [card.name for card, _, _ in chosen if not known.of(variant, card.name)]
        for variant in variants
    }
    if request.hparams is not None and all(len(of) == len(chosen) for of in lacking.values()):
        raise BadInput(
            f"--hparams {request.hparams} has no settings for {', '.join(lacking)} on"
            f" {', '.join(card.name for card, _, _ in chosen)}."
        )
    then = "not run" if request.hparams is not None else "searched from scratch"
    lines = [
        f"{known.name} has no settings for {label} on {', '.join(tasks)}: {then}"
        for label, tasks in lacking.items()
        if tasks
    ]
    outside: list[str] = []
    for card, spec, protocol in chosen if request.start_from is not None else ():
        for variant in variants:
            whole = protocol.for_cell(
                variant, card.suite, harness.backbones.parse(spec).name, card.train_on
            )
            space = search_space(variant, whole)
            outside += points_of(known, variant, card.name, whole, space)[1] if space else []
    if outside:
        shown = [*outside[:6], *([f"and {len(outside) - 6} more"] if len(outside) > 6 else [])]
        lines.append(f"{known.name}: outside of what is searched, and left out: {'; '.join(shown)}")
    names = [card.name for card, _, _ in chosen]
    return [*lines, *(note.rstrip(".") for note in known.notes(variants, names))]
