"""`harness run --dry-run`: what would be done, what it costs, and what is missing for it. Writes
nothing."""

from collections.abc import Callable, Mapping

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness import backbones
from harness.backbones.vit import FrozenViT
from harness.data.normalization import said
from harness.data.readers import resolve
from harness.errors import BadInput
from harness.planning import space, user_errors
from harness.planning.cost import Cost, Pace, cell_cost, probe
from harness.planning.plan import (
    Request,
    choose_tasks,
    missing,
    normalized_by,
    of_cell,
    own_arguments,
    search_size,
    search_space,
    searched,
    settings,
    side_of,
    suite_of,
    trained_on,
)
from harness.planning.protocols import Settings
from harness.planning.variants import Variant, parse
from harness.tasks.cards import TaskCard
from harness.text import some


def preview(request: Request, stage: Callable[[str], None]) -> RenderableType:
    """A table of the plan's cost by method, then a line for everything that is missing. Raises
    `BadInput` for names that don't exist."""
    suite, cards, suites = choose_tasks(request.suite, request.tasks, request.cards)
    cards = [resolve(card, request.data_root, request.pixels) for card in cards]
    chosen = [(card, *settings(request, card, suite_of(card, suite, suites))) for card in cards]
    variants = parse(
        request.methods, also={name for _, _, protocol in chosen for name in protocol.arguments}
    )
    stage("looking for the data")
    gaps = missing(cards, request.data_root)
    stage("timing one step of each method")
    shapes = {spec: _loaded(spec) for _, spec, _ in chosen}
    paces: dict[tuple[str, str, int | None, str], Pace] = {}
    table = Table(
        title=(
            f"{some(len(cards) * len(variants), 'cell')}: {some(len(variants), 'method')} x"
            f" {some(len(cards), 'task')}"
        ),
        title_justify="left",
    )
    for name in ("method", "trials", "final runs", "forward-image units", "hours here"):
        table.add_column(name, justify="left" if name == "method" else "right")
    total, searches = [0, 0, 0.0, 0.0], []
    for variant in variants:
        row = [0, 0, 0.0, 0.0]
        for card, spec, shared in chosen:
            protocol = of_cell(shared, variant, card, backbones.parse(spec).name)
            searches.append(searched(variant, protocol))
            cost = _cost(variant, trained_on(card, protocol), protocol, request)
            kind = variant.label, spec, card.crop, str(protocol.method_arguments)
            if kind not in paces:
                paces[kind] = _pace(variant, shapes[spec], card, protocol)
            row = [
                a + b
                for a, b in zip(
                    row, (cost.trials, cost.seeds, cost.units, paces[kind].hours(cost)), strict=True
                )
            ]
        total = [a + b for a, b in zip(total, row, strict=True)]
        table.add_row(escape(variant.label), *_figures(row))
    table.add_section()
    table.add_row("all", *_figures(total))
    notes = list(dict.fromkeys(searches))
    notes += [_weights_note(spec) for spec in shapes]
    notes += _inputs(request, chosen, shapes)
    notes += dict.fromkeys(
        f"Protocol {protocol.name}: {protocol.title}." for _, _, protocol in chosen
    )
    notes.append(
        "A unit is one image passed forward; a training image counts 2. Pruned trials make it less."
        " Hours: one probed step, times all."
    )
    if any(card.crop for card in cards):
        notes.append(
            "Of segmentation, an image is a crop, or a sliding window: counted for images of 4"
            " by 3."
        )
    if gaps:
        notes.append(f"{len(gaps)} of {len(cards)} tasks can't run yet:")
    return Group(
        table, *(Text(note) for note in notes if note), *(Text(line) for line in gaps.values())
    )


def _cost(variant: Variant, card: TaskCard, protocol: Settings, request: Request) -> Cost:
    trials = search_size(search_space(variant, protocol), protocol)
    constant = variant.method.constant_features and not card.pixels_are_drawn
    return cell_cost(card, protocol, trials, len(request.seeds or protocol.seeds), constant)


def _pace(variant: Variant, vit: "object", card: TaskCard, protocol: Settings) -> Pace:
    """Timed at the largest prompt length that is searched: an upper bound, like the rest."""
    largest = {
        name: value
        for name, distribution in search_space(variant, protocol).items()
        if name in variant.method.search_space
        and (value := space.largest(distribution)) is not None
    }
    arguments = own_arguments({**largest, **variant.arguments}, protocol)
    try:
        return probe(variant, arguments, vit, card)
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        raise BadInput(f"{variant.label}: {user_errors.line(error)}.") from error


def _figures(row: list[float]) -> list[str]:
    trials, seeds, units, hours = row
    return [
        f"{trials:,}",
        f"{seeds:,}",
        f"{units:,.0f}",
        f"{hours:,.2f}" if hours < 10 else f"{hours:,.0f}",
    ]


def _loaded(spec: str) -> FrozenViT:
    """The backbone; where its weights would have to be fetched, with random ones. Raises `BadInput`
    for a file that doesn't hold them."""
    return backbones.architecture(spec) if backbones.where_from(spec) else backbones.load(spec).vit


def _weights_note(spec: str) -> str:
    source = backbones.where_from(spec)
    return (
        f"Backbone {spec}: weights come from {source}; offline, give --backbone {spec}=FILE."
        if source
        else f"Backbone {spec}."
    )


def _inputs(
    request: Request, chosen: list[tuple[TaskCard, str, Settings]], shapes: Mapping[str, FrozenViT]
) -> list[str]:
    """What the backbones are given: the side of images and what is taken out of them, a line each
    that isn't the same for all."""
    tasks: dict[str, list[str]] = {}
    for card, spec, protocol in chosen:
        statistics = normalized_by(request, protocol, backbones.parse(spec).name)
        side = (
            shapes[spec].image_size
            if card.crop is None
            else side_of(card, shapes[spec].patch_size[0])
        )
        line = (
            f"Images of {side} x {side} pixels, as {card.pixels} resizes them, normalized by"
            f" {said(statistics)}"
        )
        tasks.setdefault(line, []).append(card.name)
    return [
        f"{line}." if len(tasks) == 1 else f"{line}: {', '.join(names)}."
        for line, names in tasks.items()
    ]
