"""Turns flags into a RunPlan: the cells to fill, each a method variant on a task with a backbone
under a protocol."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution

import harness.backbones
from harness.backbones import Backbone
from harness.backbones.carried import Uncarried
from harness.data import normalization
from harness.data.normalization import Statistics
from harness.errors import BadInput, unknown
from harness.io import flags
from harness.planning import arithmetic, protocols, user_errors
from harness.planning.declaration import defaults
from harness.planning.known import Known, point_of, points_of, starts, table
from harness.planning.protocols import Settings
from harness.planning.search_space import own_arguments, search_size, search_space, settled
from harness.planning.space import size, values
from harness.planning.variants import Variant, carried, left_out, parse
from harness.store import Cell, cell_key
from harness.tasks.cards import Suite, TaskCard, load_cards, load_suites

if TYPE_CHECKING:
    from harness.data.readers.reader import TaskReader
    from harness.training.kind import Kind
    from harness.training.recipe import Recipe


@dataclass(frozen=True)
class Request:
    """What the user requested, as typed, except for paths."""

    methods: str = flags.DEFAULT_METHODS
    suite: str | None = None
    tasks: str | None = None
    backbone: str | None = None
    protocol: str | None = None
    data_root: Path | None = None
    cards: Path | None = None
    pixels: str | None = None
    image_size: int | None = None
    normalize: str | None = None
    precision: str | None = None
    allow_overlap: bool = False
    """Run even though test images are also in train or val."""
    trials: int | None = None
    seeds: tuple[int, ...] | None = None
    hparams: str | None = None
    """A table of settings that are run instead of searches."""
    start_from: str | None = None
    """A table or a store whose settings searches begin with."""
    cpu: bool = False
    """Whether jobs get no GPU, even if this machine has one."""

    def __post_init__(self) -> None:
        """Paths become absolute: a worker is in another folder. Raises `BadInput`."""
        absolute: dict[str, object] = {
            name: flags.path(value).absolute()
            for name in ("data_root", "cards")
            if (value := getattr(self, name)) is not None
        }
        if self.protocol is not None and self.protocol.endswith(".toml"):
            absolute["protocol"] = str(flags.path(self.protocol).absolute())
        if self.hparams is not None and self.start_from is not None:
            raise BadInput(
                "--hparams runs settings without a search, --start-from begins a search with them:"
                " leave one out."
            )
        if self.backbone is not None:
            absolute["backbone"] = flags.backbone(self.backbone)
        for name, value in absolute.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class PlannedCell:
    """One cell and everything needed to fill it."""

    cell: Cell
    card: TaskCard
    root: Path | None
    fingerprint: str
    variant: Variant
    backbone: str
    protocol: Settings
    space: Mapping[str, BaseDistribution]
    seeds: tuple[int, ...]
    inputs: Mapping[str, str | None]
    """Where everything came from, as paths and names, for `harness reproduce`. Provenance, never
    identity."""

    @property
    def key(self) -> str:
        return self.cell.key

    @property
    def statistics(self) -> Statistics:
        """For normalising pixels."""
        return normalization.of(self.cell.identity)

    @property
    def precision(self) -> protocols.Precision:
        """The arithmetic of its runs."""
        return self.protocol.precision or "fp32"

    @property
    def constant_features(self) -> bool:
        """Whether the tokens that a head reads can be computed once."""
        return self.variant.has_constant_features(self.card)

    @property
    def trials(self) -> int:
        """Points that the search will try; 0 if there is nothing to choose."""
        return search_size(self.space, self.protocol)

    def method_arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The method's own arguments: those fixed by the variant and those chosen by the search."""
        return own_arguments({**self.variant.arguments, **params}, self.protocol)

    def batch_size(self, *points: Mapping[str, Any]) -> int:
        """The largest of these points' batches."""
        return max(self.recipe(params).batch_size for params in points)

    @property
    def kind(self) -> "Kind[Any]":
        """The kind of its task: how it is trained and scored."""
        from harness.training.kinds import kind_of

        return kind_of(self.card.kind)

    def recipe(self, params: Mapping[str, Any]) -> "Recipe":
        """The protocol at a point of its search space."""
        chosen = {**self.variant.arguments, **params}
        protocol = self.protocol.at(self.method_arguments(params) | chosen)
        point = {name: chosen[name] for name in protocol.arguments if name in chosen}
        return self.kind.recipe(**{**protocol.fields_of(self.kind.recipe), **point})


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


def choose_tasks(
    suite: str | None, tasks: str | None, cards: Path | None
) -> tuple[str | None, list[TaskCard], dict[str, Suite]]:
    """The suite's name (None if tasks were chosen from anywhere), the cards to run, and all suites.
    Raises `BadInput`."""
    known, suites = load_cards(cards), load_suites()
    if suite is not None and suite not in suites:
        raise unknown("suite", suite, suites)
    if tasks is None:
        suite = suite or "mini"
        return suite, [known[name] for name in suites[suite].tasks], suites
    wanted = [name.strip() for name in tasks.split(",") if name.strip()]
    if not wanted:
        raise BadInput("--tasks names no task.")
    for name in wanted:
        if name not in known:
            raise unknown("task", name, known)
        if suite is not None and name not in suites[suite].tasks:
            raise BadInput(
                f"task '{name}' is not in suite '{suite}': leave --suite out to choose tasks from"
                " anywhere."
            )
    return suite, [known[name] for name in dict.fromkeys(wanted)], suites


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


def suite_of(card: TaskCard, chosen: str | None, suites: Mapping[str, Suite]) -> Suite:
    """The suite whose backbone and protocol a task uses: the chosen one if it defines them, else
    the task's own."""
    if chosen is not None and suites[chosen].backbone:
        return suites[chosen]
    return suites.get(card.suite, suites["mini"])


def settings(request: Request, card: TaskCard, suite: Suite) -> tuple[str, Settings]:
    """The backbone, with the side of its images, and the protocol of a task, with the arithmetic:
    the user's, else its suite's. Raises `BadInput`."""
    protocol = protocols.load(request.protocol or suite.protocol, request.trials).of(card.kind)
    precision = arithmetic.chosen(request.precision, protocol.precision, request.cpu)
    spec = sided(request.backbone or suite.backbone, request.image_size, card, suite)
    return spec, protocol.model_copy(update={"precision": precision})


def sided(spec: str, image_size: int | None, card: TaskCard, suite: Suite) -> str:
    """The requested backbone, with the side from `--image-size` or else from its suite. Raises
    `BadInput` for two different sides."""
    wanted = harness.backbones.parse(spec)
    if image_size and wanted.side and image_size != wanted.side:
        raise BadInput(
            f"--image-size {image_size} and --backbone {wanted} set different image sizes: leave"
            " one out."
        )
    side = image_size or wanted.side
    if card.task_kind.cropped:
        if side:
            raise BadInput(
                f"task {card.name}: its card's crop sets the image size, {card.crop} pixels: leave"
                f" {side} out."
            )
        return spec
    if side is None and harness.backbones.own_side(wanted.name) is None:
        side = suite.image_size
    return str(replace(wanted, side=side))


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
    request: Request = Request(),
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


def plan_cell(
    card: TaskCard,
    request: Request,
    fingerprint: str,
    variant: Variant,
    spec: str,
    backbone: Backbone,
    protocol: Settings,
    normalize: Statistics | None = None,
    overlap: int = 0,
    known: Known | None = None,
) -> PlannedCell:
    """One cell with its key: the sha256 of everything that its numbers may depend on, except the
    seed. `protocol`: that of all cells.

    `normalize` overrides the request and the protocol. `overlap`: how many test images are also in
    train or val. It follows from the data, so it isn't part of the key, but is shown with the
    score. `known`: settings that the request names.
    """
    shared, protocol = protocol, of_cell(protocol, variant, card, backbone.name, request, known)
    by = known.name if known is not None and (protocol.fixed or protocol.start) else None
    how = "hparams" if protocol.fixed else "start"
    normalize = normalize or normalized_by(request, protocol, backbone.name)
    identity = {
        "method": variant.identity,
        "task": {
            "name": card.name,
            "card": card.digest(),
            "data": fingerprint,
            "pixels": card.pixels,
            "normalize": normalize.identity(),
        },
        "backbone": {
            "name": backbone.name,
            "sha256": backbone.sha256,
            "pooling": backbone.pooling,
            "side": card.side(backbone.size, backbone.vit.patch_size[0]),
        },
        "protocol": protocol.identity(),
    }
    labels = {
        "variant": variant.label,
        "suite": card.suite,
        "group": card.group,
        "kind": card.kind,
        "metric": card.metric,
        "classes": card.classes,
        "protocol": protocol.name if by is None else f"{protocol.name}+{by}",
        "note": variant.method.note,
        "family": variant.method.family,
        "year": variant.method.year,
        "settings": {**shared.identity(), **({how: by} if by is not None else {})},
        **(
            {"overlap": {"images": overlap, "of": card.sizes["test"], "expected": card.overlap}}
            if overlap
            else {}
        ),
    }
    inputs = {
        "method": flags.method_file(variant.origin),
        "data_root": str(request.data_root.resolve()) if request.data_root else None,
        "cards": str(request.cards.resolve()) if request.cards else None,
        "backbone": spec,
        "pixels": request.pixels,
        "image_size": request.image_size,
        "normalize": request.normalize,
        "precision": request.precision,
        "protocol": request.protocol,
        "hparams": request.hparams,
        "start_from": request.start_from,
    }
    card = trained_on(card, protocol)
    space, seeds = search_space(variant, protocol), request.seeds or protocol.seeds
    whole_grid = protocol.sampler == "grid" and search_size(space, protocol) == size(space)
    if space and size(space) < math.inf and not whole_grid:
        # a store may have cells of before, whose search tried points twice, or a grid's first alone
        identity["search"] = {"points": "distinct"}
    labels |= {
        "arguments": settled(variant, protocol, space),
        "searched": {name: values(entry) for name, entry in space.items()},
    }
    return PlannedCell(
        Cell(cell_key(identity), identity, labels),
        card,
        request.data_root,
        fingerprint,
        variant,
        spec,
        protocol,
        space,
        seeds,
        inputs,
    )


def normalized_by(request: Request, protocol: Settings, backbone: str) -> Statistics:
    """The statistics named by a request's `--normalize`, or else by the protocol. Raises
    `BadInput`."""
    name = request.normalize or protocol.normalize
    if name not in normalization.NAMES:
        raise unknown("normalization", name, normalization.NAMES)
    return (
        harness.backbones.statistics_of(backbone)
        if name == normalization.BACKBONES_OWN
        else normalization.NAMED[name]
    )


def of_cell(
    protocol: Settings,
    variant: Variant,
    card: TaskCard,
    backbone: str,
    request: Request = Request(),
    known: Known | None = None,
) -> Settings:
    """The part of a protocol that holds for one cell, and for points that its search may choose; of
    `known`, what the request asks for. Raises `BadInput`."""
    whole = protocol.for_cell(variant, card.suite, backbone, card.train_on)
    space = search_space(variant, whole)
    if known is not None and request.hparams is not None:
        point = point_of(known, variant, card.name, whole, space)
        if point is not None:
            arguments = {**defaults(variant.method), **whole.method_arguments, **variant.arguments}
            return whole.without_search(point, arguments)
    within = whole.within(space)
    if known is not None and request.start_from is not None and space:
        inside, _ = points_of(known, variant, card.name, whole, space)
        return within.model_copy(update={"start": tuple(inside)})
    return within


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


def trained_on(card: TaskCard, protocol: Settings) -> TaskCard:
    """The card, with the cell's protocol deciding what final runs train on."""
    return card.model_copy(update={"train_on": protocol.train_on or card.train_on})
