"""`harness run --dry-run`: what would be done, what it would cost, and what is missing for it.
Writes nothing."""

from bdb import BdbQuit
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness import backbones
from harness.backbones.carried import Uncarried
from harness.backbones.frozen import FrozenBackbone
from harness.data import missing
from harness.data.normalization import described
from harness.data.readers import TaskReader, resolve
from harness.errors import BadInput
from harness.planning import reading, space, user_errors
from harness.planning.cell import normalized_by, of_cell, trained_on
from harness.planning.choices import choose_tasks, settings, suite_of
from harness.planning.cost import Pace, probe, variant_cost
from harness.planning.plan import has_settings, known_settings, notes_on, opened
from harness.planning.protocols import Settings
from harness.planning.reading import Reading
from harness.planning.request import Request
from harness.planning.search_space import own_arguments, search_size, search_space, searched
from harness.planning.variant import Variant
from harness.planning.variants import carried, left_out, parse
from harness.tasks.cards import TaskCard
from harness.text import preformatted, rendered, some
from harness.training.forward import computing_in
from harness.training.kind import Cost
from harness.training.kinds import kind_of

if TYPE_CHECKING:
    import pandas as pd

WORTH_SAYING = 60.0
"""Seconds of decoding that a preview mentions."""

WIDE, MUCH = 384, 0.8
"""Width of backbones for which bf16 is tried on a CPU, that of ViT-S; and the share of float32's
time from which on it is worth saying."""


@dataclass(frozen=True)
class MethodCost:
    """The cost of one method variant on all tasks of a plan: an upper bound if trials may be
    pruned."""

    method: str
    trials: int
    final_runs: int
    units: float
    """Forward-image units: a forward pass of an image counts 1, a training step on it 2."""
    hours: float
    """On this machine, one job after another, estimated from the fastest of a few steps and of a
    few batches that are read."""


@dataclass(frozen=True, repr=False)
class Preview:
    """A plan before it runs: what it will do, what it will cost, and what is missing for it.

    A terminal shows it as a table with notes; `costs` is the table as a frame.
    """

    rows: tuple[MethodCost, ...]
    tasks: tuple[str, ...]
    missing: Mapping[str, str]
    """Tasks that can't run yet, each with what is wrong and how to fix it."""
    notes: tuple[str, ...]
    advice: tuple[str, ...] = ()
    """The same for all of them together, with one command that fetches what has an address."""
    without: int = 0
    """Cells that aren't run, since a table of known settings has none for them."""

    @property
    def costs(self) -> "pd.DataFrame":
        """One row per method: `method`, `trials`, `final_runs`, `units`, `hours`."""
        import pandas as pd

        return pd.DataFrame([vars(row) for row in self.rows])

    @property
    def total(self) -> MethodCost:
        """The sum of all methods."""
        trials, runs = sum(row.trials for row in self.rows), sum(r.final_runs for r in self.rows)
        units, hours = sum(row.units for row in self.rows), sum(row.hours for row in self.rows)
        return MethodCost("all", trials, runs, units, hours)

    def __str__(self) -> str:
        return rendered(self).rstrip()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return preformatted(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        methods, tasks = len(self.rows), len(self.tasks)
        table = Table(
            title=(
                f"{some(methods * tasks - self.without, 'cell')}: {some(methods, 'method')} x"
                f" {some(tasks, 'task')}"
                + (f", without {self.without} that have no settings" if self.without else "")
            ),
            title_justify="left",
        )
        for name in ("method", "trials", "final runs", "forward-image units", "hours here"):
            table.add_column(name, justify="left" if name == "method" else "right")
        for row in self.rows:
            table.add_row(escape(row.method), *_figures(row))
        table.add_section()
        table.add_row("all", *_figures(self.total))
        yield table
        notes = list(self.notes)
        if self.missing:
            notes.append(f"{len(self.missing)} of {some(tasks, 'task')} can't run yet:")
        for line in (*notes, *(self.advice or self.missing.values())):
            yield Text(line)


def preview(request: Request, stage: Callable[[str], None]) -> Preview:
    """Times a few steps of each method, and checks for the data; writes nothing. Raises `BadInput`
    for unknown names."""
    suite, cards, suites = choose_tasks(request.suite, request.tasks, request.cards)
    cards = [resolve(card, request.data_root, request.pixels) for card in cards]
    chosen = [(card, *settings(request, card, suite_of(card, suite, suites))) for card in cards]
    variants = parse(
        request.methods, also={name for _, _, protocol in chosen for name in protocol.arguments}
    )
    known = known_settings(request)
    shapes = {spec: _loaded(spec) for spec in dict.fromkeys(spec for _, spec, _ in chosen)}
    variants, absent = carried(variants, shapes.values())
    known_notes = [] if known is None else notes_on(known, request, variants, chosen)
    stage("checking the data")
    readers, gaps = opened(cards, request.data_root)
    stage("timing a few reads of each task")
    readings, faults = _readings(request, chosen, shapes, readers)
    gaps.update(faults)
    stage("timing a few steps of each method")
    paces: dict[tuple[str, str, str, int | None, str], Pace] = {}
    rows: list[MethodCost] = []
    planned: list[tuple[Variant, Settings]] = []
    probed: dict[str, str] = {}
    without = 0
    by_suite: defaultdict[str, float] = defaultdict(float)
    for variant in variants:
        trials, runs, units, hours = 0, 0, 0.0, 0.0
        for card, spec, shared in chosen:
            if not has_settings(known, request, variant, card.name):
                without += 1
                continue
            name = backbones.parse(spec).name
            protocol = of_cell(shared, variant, card, name, request, known)
            planned.append((variant, protocol))
            cost = _cost(variant, trained_on(card, protocol), protocol, request)
            given = str({**protocol.method_arguments, **sizes(variant, protocol)})
            shape = variant.label, spec, card.kind, card.crop, given
            if shape not in paces:
                paces[shape] = _pace(variant, shapes[spec], card, protocol)
                if spec not in probed and protocol.precision != "bf16":
                    probed[spec] = _in_bf16(variant, shapes[spec], card, protocol, paces[shape])
            trials, runs = trials + cost.trials, runs + cost.seeds
            spent = paces[shape].hours(cost, readings.get(card.name, reading.FREE))
            units, hours = units + cost.units, hours + spent
            by_suite[card.suite] += spent
        rows.append(MethodCost(variant.label, trials, runs, units, hours))
    notes = [*left_out(request.methods), *absent, *searched(planned)]
    notes += [f"{line}." for line in known_notes]
    notes += [_weights_note(spec) for spec in shapes]
    notes += _inputs(request, chosen, shapes)
    notes += dict.fromkeys(_titled(protocol, request) for _, _, protocol in chosen)
    notes.append(
        "A unit is the forward pass of one image; a training image counts as 2. Pruning reduces"
        " the total. Hours are estimated from the fastest of a few measured steps"
        f"{_read(readings, gaps)}."
    )
    if len(by_suite) > 1:
        hours_of = (f"{suite} {_hours(hours)}" for suite, hours in by_suite.items())
        notes.append(f"Hours by suite: {', '.join(hours_of)}.")
    notes += [*dict.fromkeys(probed.values()), _decoding(cards, readings)]
    notes += dict.fromkeys(kind_of(card.kind).image for card in cards)
    names = tuple(card.name for card in cards)
    advice = tuple(missing.lines(gaps, cards, request.data_root))
    said = tuple(note for note in notes if note)
    return Preview(tuple(rows), names, gaps, said, advice, without)


def _cost(variant: Variant, card: TaskCard, protocol: Settings, request: Request) -> Cost:
    trials = search_size(search_space(variant, protocol), protocol)
    return variant_cost(variant, card, protocol, trials, len(request.seeds or protocol.seeds))


def _pace(variant: Variant, vit: FrozenBackbone, card: TaskCard, protocol: Settings) -> Pace:
    """Timed at the largest prompt length that is searched: an upper bound, like the rest."""
    largest = {
        name: value
        for name, distribution in search_space(variant, protocol).items()
        if name in variant.method.search_space
        and (value := space.largest(distribution)) is not None
    }
    arguments = own_arguments({**largest, **protocol.fixed, **variant.arguments}, protocol)
    try:
        with computing_in(protocol.precision or "fp32"):
            return probe(variant, arguments, vit, card)
    except (Uncarried, BdbQuit):
        raise
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        raise BadInput(f"{variant.label}: {user_errors.line(error)}.") from error


def _in_bf16(
    variant: Variant, vit: FrozenBackbone, card: TaskCard, protocol: Settings, pace: Pace
) -> str:
    """What bf16 would save on a CPU that has it, if that is much; small models only lose."""
    if vit.dim < WIDE or torch.cuda.is_available():
        return ""
    other = _pace(variant, vit, card, protocol.model_copy(update={"precision": "bf16"}))
    share = other.train / pace.train
    if share > MUCH:
        return ""
    return (
        f"In bf16 this CPU takes {share:.2f} of the time for a step of {variant.label}: see"
        " --precision bf16, whose results are others than those of fp32."
    )


def _titled(protocol: Settings, request: Request) -> str:
    """A protocol's title; and what the request has in place of what the title says."""
    given = [some(request.trials, "trial")] if request.trials is not None else []
    if request.seeds is not None:
        seeds = ", ".join(str(seed) for seed in request.seeds)
        given.append(f"seed{'s' if len(request.seeds) > 1 else ''} {seeds}")
    return f"Protocol {protocol.name}: {protocol.title}." + (
        f" Here with {' and '.join(given)}." if given else ""
    )


def sizes(variant: Variant, protocol: Settings) -> Mapping[str, object]:
    """What is given of a method's own arguments in place of a search."""
    return {name: value for name, value in protocol.fixed.items() if name not in protocol.arguments}


def _figures(row: MethodCost) -> list[str]:
    return [
        f"{row.trials:,}",
        f"{row.final_runs:,}",
        f"{row.units:,.0f}",
        _hours(row.hours),
    ]


def _hours(hours: float) -> str:
    return f"{hours:,.2f}" if hours < 10 else f"{hours:,.0f}"


def _readings(
    request: Request,
    chosen: list[tuple[TaskCard, str, Settings]],
    shapes: Mapping[str, FrozenBackbone],
    readers: Mapping[str, TaskReader],
) -> tuple[dict[str, Reading], dict[str, str]]:
    """By task, what reading its images takes; and for those with an image that can't be decoded,
    what is wrong with it."""
    readings: dict[str, Reading] = {}
    faults: dict[str, str] = {}
    for card, spec, protocol in chosen:
        if card.name in readers:
            statistics = normalized_by(request, protocol, backbones.parse(spec).name)
            try:
                readings[card.name] = reading.measure(
                    readers[card.name], protocol, _side(card, shapes[spec]), statistics
                )
            except BadInput as error:
                faults[card.name] = str(error)
    return readings, faults


def _decoding(cards: Iterable[TaskCard], readings: Mapping[str, Reading]) -> str:
    """What decoding all images takes, if that is worth saying."""
    seconds = sum(
        readings[card.name].decode * sum(card.sizes.values())
        for card in cards
        if card.name in readings
    )
    if seconds <= WORTH_SAYING:
        return ""
    return (
        f"Decoding all images takes {_hours(seconds / 3600)} hours more, once: what is decoded"
        " stays in the cache."
    )


def _read(readings: Mapping[str, Reading], gaps: Mapping[str, str]) -> str:
    """What of reading images is in the hours."""
    if not readings:
        return ", without reading images"
    return " and batches" + (", without reading images of tasks that can't run yet" if gaps else "")


def _side(card: TaskCard, vit: FrozenBackbone) -> int:
    """Of a task's images as this backbone takes them, in pixels."""
    return card.side(vit.image_size, vit.patch_size[0])


def _loaded(spec: str) -> FrozenBackbone:
    """The backbone; with random weights if its own would have to be downloaded. Raises `BadInput`
    for a file without them."""
    return backbones.architecture(spec) if backbones.where_from(spec) else backbones.load(spec).vit


def _weights_note(spec: str) -> str:
    source = backbones.where_from(spec)
    return (
        f"Backbone {spec}: weights come from {source}; offline, give --backbone {spec}=FILE."
        if source
        else f"Backbone {spec}."
    )


def _inputs(
    request: Request,
    chosen: list[tuple[TaskCard, str, Settings]],
    shapes: Mapping[str, FrozenBackbone],
) -> list[str]:
    """The backbones' inputs: the images' side and normalization; with the tasks if these differ."""
    tasks: dict[str, list[str]] = {}
    for card, spec, protocol in chosen:
        statistics = normalized_by(request, protocol, backbones.parse(spec).name)
        side = _side(card, shapes[spec])
        line = (
            f"Images of {side} x {side} pixels, as {card.pixels} resizes them, normalized by"
            f" {described(statistics)}"
        )
        tasks.setdefault(line, []).append(card.name)
    return [
        f"{line}." if len(tasks) == 1 else f"{line}: {', '.join(names)}."
        for line, names in tasks.items()
    ]
