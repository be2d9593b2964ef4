"""`harness run --dry-run`: what would be done, what it costs, and what is missing for it. Writes nothing."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness import backbones
from harness.cards import TaskCard
from harness.cost import Cost, Pace, cell_cost, probe
from harness.data.readers import resolve
from harness.errors import BadInput
from harness.orchestrate.view import View
from harness.plan import Request, choose_tasks, missing, own_arguments, search_size, search_space, settings, suite_of
from harness.protocols import Protocol
from harness.variants import Variant, parse


def preview(request: Request, view: View) -> RenderableType:
    """A table of the plan's cost by method, then a line for everything that is missing. Raises `BadInput` for names that don't exist."""
    suite, cards, suites = choose_tasks(request.suite, request.tasks, request.cards)
    cards = [resolve(card, request.data_root, request.pixels) for card in cards]
    chosen = [(card, *settings(request, suite_of(card, suite, suites))) for card in cards]
    variants = parse(request.methods, also=chosen[0][2].space)
    view.stage("looking for the data")
    gaps = missing(cards, request.data_root)
    view.stage("timing one step of each method")
    shapes = {spec: backbones.architecture(spec.partition("=")[0]) for _, spec, _ in chosen}
    paces: dict[tuple[str, str], Pace] = {}
    table = Table(title=f"{len(cards) * len(variants)} cells: {len(variants)} methods x {len(cards)} tasks", title_justify="left")
    for name in ("method", "trials", "final runs", "forward-image units", "hours here"):
        table.add_column(name, justify="left" if name == "method" else "right")
    total = [0, 0, 0.0, 0.0]
    for variant in variants:
        row = [0, 0, 0.0, 0.0]
        for card, spec, protocol in chosen:
            cost = _cost(variant, card, protocol, request)
            if (variant.label, spec) not in paces:
                paces[variant.label, spec] = _pace(variant, shapes[spec], protocol)
            row = [a + b for a, b in zip(row, (cost.trials, cost.seeds, cost.units, paces[variant.label, spec].hours(cost)), strict=True)]
        total = [a + b for a, b in zip(total, row, strict=True)]
        table.add_row(escape(variant.label), *_figures(row))
    table.add_section()
    table.add_row("all", *_figures(total))
    notes = [_weights_note(spec) for spec in shapes]
    protocols = {protocol.name: protocol for _, _, protocol in chosen}
    notes += [f"Protocol {protocol.name}: {protocol.title}." for protocol in protocols.values()]
    notes.append(
        "A unit is one image passed forward; a training image counts 2. Pruned trials make it less. Hours: one probed step, times all."
    )
    if gaps:
        notes.append(f"{len(gaps)} of {len(cards)} tasks can't run yet:")
    return Group(table, *(Text(note) for note in notes if note), *(Text(line) for line in gaps.values()))


def _cost(variant: Variant, card: TaskCard, protocol: Protocol, request: Request) -> Cost:
    trials = search_size(search_space(variant, protocol), protocol)
    constant = variant.method.constant_features and card.pixels != "vpt"
    return cell_cost(card, protocol, trials, len(request.seeds or protocol.seeds), constant)


def _pace(variant: Variant, vit: "object", protocol: Protocol) -> Pace:
    """Timed at the largest prompt length that is searched: an upper bound, like the rest."""
    largest = {
        name: max(distribution.choices)  # type: ignore[attr-defined]
        for name, distribution in search_space(variant, protocol).items()
        if name in variant.method.search_space and hasattr(distribution, "choices")
    }
    arguments = own_arguments({**largest, **variant.arguments}, protocol)
    try:
        return probe(variant.method, arguments, vit, classes=10)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{variant.label}: {error}.") from error


def _figures(row: list[float]) -> list[str]:
    trials, seeds, units, hours = row
    return [f"{trials:,}", f"{seeds:,}", f"{units:,.0f}", f"{hours:,.2f}" if hours < 10 else f"{hours:,.0f}"]


def _weights_note(spec: str) -> str:
    name, _, file = spec.partition("=")
    if file or name in backbones.shipped():
        return f"Backbone {spec}."
    return f"Backbone {name}: weights come from timm's hub; offline, give --backbone {name}=FILE."
