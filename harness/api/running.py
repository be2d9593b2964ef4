"""Runs from Python: `run`, `plan` and `ablate`."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from harness.api.options import (
    Names,
    Place,
    PlanOptions,
    RunOptions,
    Seeds,
    as_flags,
    path_of,
    request_of,
    resources_of,
    text_of,
)
from harness.api.progress import viewing
from harness.api.runs import Ablation, Run
from harness.errors import BadInput, names_arguments
from harness.io.flags import DEFAULT_METHODS, DEFAULT_STORE

if TYPE_CHECKING:
    from typing import Unpack

    from harness.api.options import Methods
    from harness.engine.events import Traces
    from harness.engine.progress import ProgressView
    from harness.engine.resources import Resources
    from harness.planning.dry_run import Preview
    from harness.planning.outline import Outline
    from harness.planning.plan import RunPlan
    from harness.planning.request import Request
    from harness.reporting.ablation import Ablation as Grid
    from harness.store import Store
    from harness.training.method import Method


@names_arguments()
def run(
    methods: "Methods" = DEFAULT_METHODS,
    suite: str | None = None,
    tasks: Names | None = None,
    *,
    backbone: str | None = None,
    protocol: Place | None = None,
    data_root: Place | None = None,
    cards: Place | None = None,
    pixels: str | None = None,
    image_size: int | None = None,
    normalize: str | None = None,
    precision: str | None = None,
    allow_overlap: bool = False,
    trials: int | None = None,
    seeds: Seeds | None = None,
    hparams: Place | None = None,
    start_from: Place | None = None,
    store: Place = DEFAULT_STORE,
    workers: int | None = None,
    gpus_per_trial: float | None = None,
    address: str | None = None,
    compile: bool = False,
    keep_large: bool = False,
    trial_timeout: float = 3600.0,
    max_hours: float | None = None,
    log_json: Place | None = None,
    tensorboard: Place | None = None,
    progress: bool = True,
) -> Run:
    """Tunes, trains and scores every method on every task, and returns when everything is done.

    What is already in the store isn't repeated; interrupt it anywhere, and the same call resumes.
    In a script, call it under `if __name__ == "__main__":`. It also works in a thread other than
    the main one, but there Ctrl-C can't interrupt it, and it can't restart Ray if that dies.

    Args:
        methods: Names, variants such as `"ivpt(da=false)"`, `"FILE.py:CLASS"`, or classes; a class
            must be at the top level of a file, since a score's key includes its code.
        suite: `mini`, `vtab`, `fgvc`, `all` and others: `harness list suites`. None: `mini`.
        tasks: Tasks of the suite, or without a suite, any tasks.
        backbone: A timm name, `NAME=FILE`, or `NAME@SIDE`. None: the suite's.
        protocol: `mini`, `default`, `vpt`, `petl`, or a `.toml` file. None: the suite's.
        data_root: Folder with the tasks' data.
        cards: Folder with your own task cards.
        pixels: `tf`, `pil` or `vpt`. None: depends on the data's format.
        image_size: Image side in pixels. None: from the backbone's name, else 224.
        normalize: `imagenet`, `backbone`, `inception` or `none`. None: the protocol's.
        precision: `fp32` or `bf16`, the arithmetic of training and scoring; part of a score's key.
            None: the protocol's, else `bf16` on a GPU that has it, and `fp32` elsewhere.
        allow_overlap: Run even if test images are also in train or val; the leaderboard mentions
            it.
        trials: Points per search. None: the protocol's.
        seeds: Seeds of the final runs. None: the protocol's.
        hparams: `osu`, or a `.csv` file: settings of methods on tasks, which are run without a
            search; what it has no line for isn't run.
        start_from: `osu`, a `.csv` file or a store, whose settings searches try first.
        store: Where results are stored: a file, or any SQLAlchemy URL.
        workers: Jobs at once. None: one per core, or as many as fit on the GPUs.
        gpus_per_trial: Share of a GPU per job, e.g. 0.25. None: 1 if there is a GPU.
        address: A running Ray cluster, `"auto"` or `"HOST:PORT"`, of which this machine is a node.
            None: the variable RAY_ADDRESS, else a private Ray that is shut down at the end.
        compile: On GPUs, compile what blocks do in training: a minute per process, then less time
            per step. Rounding differs, as it does between GPUs.
        keep_large: Keep checkpoints above 32 MB too, such as full fine-tuning's.
        trial_timeout: Seconds without a batch after which a trial is considered hung; 0: never.
        max_hours: Hours after which nothing new is started; what is under way is finished. None:
            no limit.
        log_json: A file for the run's events, one JSON object per line.
        tensorboard: A folder for TensorBoard curves.
        progress: Whether to show progress.

    Returns:
        The run, with its results, trials and leaderboard.

    Raises:
        BadInput: A name, a file, data, weights, the store or the cluster can't be used.
        KeyboardInterrupt: Ctrl-C. Everything finished is in the store, and Ray is shut down.

    Examples:
        >>> run = harness.run(["linear", "vpt-deep"], tasks="digits", seeds=[0, 1])
        >>> run.results.groupby("variant")["score"].mean()
    """
    with viewing(progress) as view:
        request = request_of(
            methods,
            suite,
            tasks,
            backbone=backbone,
            protocol=protocol,
            data_root=data_root,
            cards=cards,
            pixels=pixels,
            image_size=image_size,
            normalize=normalize,
            precision=precision,
            allow_overlap=allow_overlap,
            trials=trials,
            seeds=seeds,
            hparams=hparams,
            start_from=start_from,
        )
        request = replace(request, cpu=gpus_per_trial == 0)
        resources = resources_of(
            workers, gpus_per_trial, address, trial_timeout, compile, max_hours
        )
        from harness.engine.events import Traces

        traces = Traces(keep_large, path_of(log_json), path_of(tensorboard))
        config = {
            **as_flags(request),
            "workers": workers,
            "gpus-per-trial": gpus_per_trial,
            "address": address,
            "compile": compile,
            "keep-large": keep_large,
            "trial-timeout": trial_timeout if trial_timeout != 3600.0 else None,
            "max-hours": max_hours,
            "log-json": text_of(log_json),
            "tensorboard": text_of(tensorboard),
        }
        return _filled(request, store, resources, traces, view, config)


@names_arguments(PlanOptions)
def plan(
    methods: "Methods" = DEFAULT_METHODS,
    suite: str | None = None,
    tasks: Names | None = None,
    *,
    progress: bool = True,
    **options: "Unpack[PlanOptions]",
) -> "Preview":
    """What a run with these arguments would do and cost, and what is missing for it: `harness run
    --dry-run`. Times a few steps of each method, trains nothing and writes nothing.

    Args:
        methods: As in `run`; so are `suite`, `tasks` and the options.
        suite: As in `run`.
        tasks: As in `run`.
        progress: Whether to show progress.
        **options: Those of `run` that say what to measure: see `PlanOptions`.

    Returns:
        The plan: its costs as a frame, and the tasks that can't run yet, with the reasons.

    Raises:
        BadInput: A name or a method's arguments can't be used.

    Examples:
        >>> harness.plan("ivpt,vpt", suite="vtab").costs["hours"].sum()
    """
    with viewing(progress) as view:
        from harness.planning.dry_run import preview

        return preview(request_of(methods, suite, tasks, **options), view.stage)


@names_arguments(RunOptions)
def ablate(
    method: "str | type[Method]" = "ivpt",
    suite: str | None = None,
    tasks: Names | None = None,
    **options: "Unpack[RunOptions]",
) -> Ablation:
    """Runs every valid combination of a method's toggles, and shows what each is worth. Shares its
    cells with `run`.

    Args:
        method: A method with toggles; a variant such as `"ivpt(prompts=10)"` fixes an argument.
        suite: As in `run`.
        tasks: As in `run`.
        **options: As in `run`: see `RunOptions`.

    Returns:
        The run, which is displayed as the table of the ablation.

    Raises:
        BadInput: As in `run`; or the method has no toggles.

    Examples:
        >>> print(harness.ablate("ivpt", suite="mini"))
    """
    with viewing(options.get("progress", True)):
        grid = _grid(method)
    filled = run(grid.methods, suite, tasks, **options)
    found = {field.name: getattr(filled, field.name) for field in fields(filled)}
    return Ablation(**found, grid=grid)


def toggled(method: "str | type[Method]") -> str:
    """The variants that `ablate` runs, for `run`. Raises `BadInput`."""
    return _grid(method).methods


def _grid(method: "str | type[Method]") -> "Grid":
    from harness.planning import arguments
    from harness.reporting.ablation import ablation

    return ablation(arguments.methods(method))


def _filled(
    request: "Request",
    store: Place,
    resources: "Resources",
    traces: "Traces",
    view: "ProgressView",
    config: Mapping[str, Any],
) -> Run:
    """`config`: the run's flags, kept with the store."""
    from harness.engine.signals import Interrupted, Interrupts, process_is_ours
    from harness.planning import configs
    from harness.planning import outline as outlines
    from harness.store import Store

    opened = Store(store)
    words = f"Interrupted. Everything finished is saved in {opened.name}. The same command resumes."
    try:
        with Interrupts(words, process_is_ours()) as interrupts:
            outline = outlines.recalled(request, opened)
            plain = outline is None and outlines.is_plain(request)
            if outline is not None and not traces.wanted:
                _say(outline, opened, view)
                configs.keep(opened, config)
                return _all_stored(request, outline, opened)
            from harness.engine.ray_session import starting_ahead
            from harness.engine.run import run as fill
            from harness.planning.plan import plan as planned

            view.stage("checking data and backbone")
            with starting_ahead(resources) if plain else nullcontext() as ahead:
                cells = planned(request)
                outline = outlines.of_plan(cells)
                outlines.keep(request, outline)
                _say(outline, opened, view)
                configs.keep(opened, config)
                scheduler = fill(cells, opened, resources, view, traces, interrupts, ahead)
    except Interrupted as interrupted:
        interrupted.add_note(_saved(opened))
        raise
    scores = {cell.planned.key: cell.scores for cell in scheduler.cells}
    late = scheduler.late and bool(scheduler.unfinished)
    return _run(opened, scores, scheduler.wanted, outline, cells, late)


def _say(outline: "Outline", store: "Store", view: "ProgressView") -> None:
    from harness.planning.notices import other_code

    for line in (*outline.notes, *other_code(outline.cells, store)):
        view.print_line(line)
    for warning in outline.warnings:
        view.print_line(f"warning: {warning}")


def _all_stored(request: "Request", outline: "Outline", store: "Store") -> Run:
    """The run of a request that leaves nothing to do."""
    scores = {key: found.scores for key, found in store.progress(outline.keys).items()}
    wanted = sum(len(set(cell.seeds) | scores[cell.key].keys()) for cell in outline.cells)
    return _run(store, scores, wanted, outline, request)


def _run(
    store: "Store",
    scores: Mapping[str, Mapping[int, float]],
    wanted: int,
    outline: "Outline",
    planned: "RunPlan | Request",
    late: bool = False,
) -> Run:
    from harness.store import result_id

    ids = tuple(result_id(key, seed) for key in outline.keys for seed in scores[key])
    gaps = sum(len(set(cell.seeds) - scores[cell.key].keys()) for cell in outline.cells)
    return Run(store, wanted, gaps, ids, late, outline, planned)


def _saved(store: "Store") -> str:
    from harness.text import some

    store.engine.patience = 2.0  # don't wait for an unreachable database when ending
    try:
        results = len(store.runs(("id",)))
        trials = sum(sum(states.values()) for states in store.trial_counts().values())
        store.close()
    except BadInput:
        return f"What was finished is saved in {store.name}."
    return f"{some(results, 'result')} and {some(trials, 'trial')} are saved in {store.name}."
