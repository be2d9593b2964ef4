"""What calls of the API take: their keywords, and what is made of them."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from harness.errors import BadInput
from harness.io import flags
from harness.io.flags import DEFAULT_METHODS

if TYPE_CHECKING:
    from typing import Unpack

    from harness.engine.resources import Resources
    from harness.planning.request import Request
    from harness.training.method import Method

    Methods = str | type[Method] | Sequence[str | type[Method]]

Names = str | Iterable[str]
"""Comma-separated text, or a list."""
Seeds = str | int | Iterable[int]
Place = str | Path


class PlanOptions(TypedDict, total=False):
    """Keyword arguments of `plan`, `run` and `ablate` that say what to measure; `run` describes
    them."""

    backbone: str | None
    protocol: Place | None
    data_root: Place | None
    cards: Place | None
    pixels: str | None
    image_size: int | None
    normalize: str | None
    precision: str | None
    allow_overlap: bool
    trials: int | None
    seeds: Seeds | None
    hparams: Place | None
    start_from: Place | None


class BoardOptions(TypedDict, total=False):
    """Keyword arguments of `report` that say what a leaderboard shows; `report` describes them."""

    baseline: str | None
    group: bool
    sort: str
    complete_only: bool
    budgets: bool
    columns: Names | None
    published: bool


class RunOptions(PlanOptions, total=False):
    """Keyword arguments of `run` and `ablate`, except methods, suite and tasks; `run` describes
    them."""

    store: Place
    workers: int | None
    gpus_per_trial: float | None
    address: str | None
    compile: bool
    keep_large: bool
    trial_timeout: float
    max_hours: float | None
    log_json: Place | None
    tensorboard: Place | None
    progress: bool


def request_of(
    methods: "Methods", suite: str | None, tasks: Names | None, **options: "Unpack[PlanOptions]"
) -> "Request":
    """Checks what a parser of flags would have checked. Raises `BadInput`."""
    from harness.planning import arguments
    from harness.planning.request import Request

    arguments.check_not_importing()
    for name in ("trials", "image_size"):
        arguments.check_least(name, options.get(name), 1, integer=True)
    return Request(
        methods=arguments.methods(methods),
        suite=suite,
        tasks=arguments.joined("tasks", tasks),
        backbone=options.get("backbone"),
        protocol=text_of(options.get("protocol")),
        data_root=path_of(options.get("data_root")),
        cards=path_of(options.get("cards")),
        pixels=options.get("pixels"),
        image_size=options.get("image_size"),
        normalize=options.get("normalize"),
        precision=options.get("precision"),
        allow_overlap=options.get("allow_overlap", False),
        trials=options.get("trials"),
        seeds=flags.seeds(arguments.joined("seeds", options.get("seeds"))),
        hparams=text_of(options.get("hparams")),
        start_from=text_of(options.get("start_from")),
    )


def as_flags(request: "Request") -> dict[str, Any]:
    """What a request says beside the defaults, by the names of flags."""
    return {
        "methods": request.methods if request.methods != DEFAULT_METHODS else None,
        "suite": request.suite,
        "tasks": request.tasks,
        "backbone": request.backbone,
        "protocol": request.protocol,
        "data-root": request.data_root,
        "cards": request.cards,
        "pixels": request.pixels,
        "image-size": request.image_size,
        "normalize": request.normalize,
        "precision": request.precision,
        "allow-overlap": request.allow_overlap,
        "trials": request.trials,
        "seeds": None if request.seeds is None else ",".join(map(str, request.seeds)),
        "hparams": request.hparams,
        "start-from": request.start_from,
    }


def resources_of(
    workers: int | None,
    gpus_per_trial: float | None,
    address: str | None,
    trial_timeout: float,
    compile: bool,
    max_hours: float | None,
) -> "Resources":
    from harness.engine.resources import Resources
    from harness.planning import arguments

    arguments.check_least("workers", workers, 1, integer=True)
    arguments.check_least("gpus_per_trial", gpus_per_trial, 0)
    arguments.check_least("trial_timeout", trial_timeout, 0)
    arguments.check_least("max_hours", max_hours, 0)
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        raise BadInput(
            "Ray is already running in this process: call ray.shutdown() first. A run starts its"
            " own Ray, or joins the cluster at `address`."
        )
    address = address or os.environ.get("RAY_ADDRESS")
    return Resources(workers, gpus_per_trial, address, trial_timeout, compile, max_hours)


def text_of(value: Place | None) -> str | None:
    return None if value is None else str(value)


def path_of(value: Place | None) -> Path | None:
    return None if value is None else flags.path(value)
