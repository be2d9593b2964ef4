"""One training run, in this process: no Ray, no store, no search. For `harness.fit`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness import backbones
from harness.engine.jobs import FinalJob, Outcome, TuneJob
from harness.engine.trainer import Trainer
from harness.errors import BadInput, unknown
from harness.inference import checkpoint, tuned_model
from harness.inference.tuned_model import Tuned
from harness.planning import space
from harness.planning.cell import PlannedCell
from harness.planning.choices import choose_tasks, settings, suite_of
from harness.planning.declaration import defaults, own_arguments
from harness.planning.plan import plan
from harness.planning.protocols import Protocol
from harness.planning.request import Request
from harness.planning.variant import Variant
from harness.planning.variants import one
from harness.training.annotations import check_arguments
from harness.training.loop import Score

if TYPE_CHECKING:
    from harness.backbones.frozen import FrozenBackbone
    from harness.training.method import Method


def fit(
    method: "str | type[Method]",
    params: Mapping[str, Any],
    request: Request,
    seed: int,
    final: bool,
    on_score: Callable[[int, int, float], object],
) -> Tuned:
    """Trains one method on `request`'s one task. `params`: arguments of the method and the
    protocol, besides those in the method's text. `on_score`: called with epoch, epochs and percent.

    Raises `BadInput`; errors in the method's own code propagate unchanged.
    """
    planned, run_plan = _planned(method, params, request)
    if final:
        job = FinalJob(planned.key, (seed,), chosen(planned))
    else:
        job = TuneJob(planned.key, ((0, chosen(planned)),))
    trainer = Trainer(run_plan, raises=True)
    (outcome,) = _followed(trainer, job, seed, planned.protocol.last, on_score)
    if outcome.score is None:  # the method changed what all methods share
        raise BadInput(f"{planned.variant.label}: {outcome.reason}.")
    (point,) = job.chosen
    origin = checkpoint.origin_of(
        planned, seed, point, outcome.score, outcome.logits_sha256, outcome.provenance or {}
    )
    if not final:  # not a row of a store
        origin = replace(origin, id=f"{origin.id[:8]}-val")
    tuned = tuned_model.rebuilt(
        f"a run of {planned.variant.label}",
        planned.variant,
        run_plan.backbones[planned.backbone],
        origin,
        checkpoint.contents(trainer.model),
    )
    tuned.curve = outcome.curve
    return tuned


def subject(method: str, request: Request) -> "tuple[Variant, FrozenBackbone]":
    """A method as `request`'s one task may be asked of it, and that task's backbone. Raises
    `BadInput`."""
    suite, cards, suites = choose_tasks(request.suite, request.tasks, request.cards)
    if len(cards) != 1:
        raise BadInput(f"{request.tasks!r}: one task at a time.")
    spec, protocol = settings(request, cards[0], suite_of(cards[0], suite, suites))
    variant, vit = one(method, protocol.arguments), backbones.load(spec).vit
    variant.check_carried(vit)
    return variant, vit


def tried(
    method: "str | type[Method]",
    request: Request,
    seed: int,
    epochs: int,
    on_score: Callable[[int, int, float], object],
) -> tuple[Outcome, str]:
    """A few epochs of `fit`, without a warm-up, on `request`'s task: scored on val after each, in
    segmentation after as many iterations. Also says with what.

    Raises as `fit`.
    """
    planned, run_plan = _planned(method, {}, request)
    protocol = planned.protocol
    if isinstance(protocol, Protocol):
        said = {"epochs": epochs, "warmup_epochs": 0, "score_every": 1}
    else:
        each = -(-planned.card.sizes["train"] // protocol.batch_size)
        said = {"iterations": epochs * each, "score_every": each}
    planned = replace(planned, protocol=protocol.model_copy(update=said))
    point = chosen(planned)
    trainer = Trainer(replace(run_plan, cells=(planned,)), raises=True)
    job = TuneJob(planned.key, ((0, point),))
    (outcome,) = _followed(trainer, job, seed, planned.protocol.last, on_score)
    if outcome.score is None:
        raise BadInput(f"{planned.variant.label}: {outcome.reason}.")
    words = ", ".join(f"{name} {value}" for name, value in point.items())
    return outcome, f"{planned.card.name}, {planned.backbone}" + (f", {words}" if words else "")


def chosen(planned: PlannedCell) -> dict[str, Any]:
    """Values for what isn't fixed: a method's argument keeps its default; what the protocol would
    search gets the middle of its range."""
    own = defaults(planned.variant.method)
    return {
        name: own[name] if name in own else space.middle(distribution)
        for name, distribution in planned.space.items()
    }


def _planned(
    method: "str | type[Method]", params: Mapping[str, Any], request: Request
) -> tuple[PlannedCell, Any]:
    suite, cards, suites = choose_tasks(request.suite, request.tasks, request.cards)
    if len(cards) != 1:
        raise BadInput(f"task={request.tasks!r}: one task at a time.")
    _, protocol = settings(request, cards[0], suite_of(cards[0], suite, suites))
    variant = _variant(method, params, set(protocol.arguments))
    run_plan = plan(request, [variant])
    return run_plan.cells[0], run_plan


def _variant(method: "str | type[Method]", params: Mapping[str, Any], also: set[str]) -> Variant:
    variant = one(method, also)
    known = own_arguments(variant.method)
    for name in params:
        if name not in known and name not in also:
            raise unknown(f"argument of {variant.name}", name, [*known, *also])
    arguments = {**variant.arguments, **params}
    try:
        own = {name: value for name, value in arguments.items() if name in known}
        check_arguments(variant.method, own)
    except ValueError as error:
        raise BadInput(f"{error}.") from error
    return replace(variant, arguments=arguments)


def _followed(
    trainer: Trainer,
    job: FinalJob | TuneJob,
    seed: int,
    last: int,
    on_score: Callable[[int, int, float], object],
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for step in trainer.run(job, seed):
        if isinstance(step, Score):
            on_score(step.epoch, last, step.value)
        else:
            outcomes = step
    for outcome in outcomes:
        if outcome.score is not None:
            on_score(last, last, outcome.score)
    return outcomes
