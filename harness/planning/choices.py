"""What a request chooses: its tasks, and for each of them a backbone and a protocol, its own or
those of a suite."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import harness.backbones
from harness.errors import BadInput, unknown
from harness.planning import arithmetic, protocols
from harness.planning.protocols import Settings
from harness.planning.request import Request
from harness.tasks.cards import Suite, TaskCard, load_cards, load_suites


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
