"""`harness run` and `harness ablate`."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from harness.cli import options
from harness.cli.options import (
    Address,
    AllowGaps,
    AllowOverlap,
    Backbone,
    Cards,
    DataRoot,
    Debug,
    DryRun,
    GpusPerTrial,
    ImageSize,
    KeepLarge,
    LogJson,
    Normalize,
    Pixels,
    Protocol,
    Seeds,
    Store,
    Suite,
    Tasks,
    Tensorboard,
    Trials,
    TrialTimeout,
    Workers,
)
from harness.errors import BadInput
from harness.io import commands, flags
from harness.io.flags import DEFAULT_STORE
from harness.text import some

if TYPE_CHECKING:
    from harness.engine.events import Traces


def run(
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="Comma-separated; 'ivpt(da=false)' fixes an argument; or FILE.py:CLASS.",
        ),
    ] = "linear,vpt,vpt-deep,ivpt",
    suite: Suite = None,
    tasks: Tasks = None,
    backbone: Backbone = None,
    protocol: Protocol = None,
    data_root: DataRoot = None,
    cards: Cards = None,
    pixels: Pixels = None,
    image_size: ImageSize = None,
    normalize: Normalize = None,
    allow_overlap: AllowOverlap = False,
    trials: Trials = None,
    seeds: Seeds = None,
    store: Store = DEFAULT_STORE,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = None,
    address: Address = None,
    keep_large: KeepLarge = False,
    trial_timeout: TrialTimeout = 3600.0,
    log_json: LogJson = None,
    tensorboard: Tensorboard = None,
    allow_gaps: AllowGaps = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Tune, train and score every method on every task; then show the leaderboard. Run it again to
    go on where it stopped."""
    what = (
        suite,
        tasks,
        backbone,
        protocol,
        data_root,
        cards,
        pixels,
        image_size,
        normalize,
        allow_overlap,
        trials,
        flags.seeds(seeds),
    )
    from harness.engine.events import Traces

    on, traces = (
        (workers, gpus_per_trial, address, trial_timeout),
        Traces(keep_large, log_json, tensorboard),
    )
    _carry_out(lambda: (methods, _board), what, store, on, traces, dry_run, allow_gaps)


def ablate(
    method: Annotated[
        str,
        typer.Option(
            "--method", help="A method with toggles; 'ivpt(prompts=10)' fixes an argument."
        ),
    ] = "ivpt",
    suite: Suite = None,
    tasks: Tasks = None,
    backbone: Backbone = None,
    protocol: Protocol = None,
    data_root: DataRoot = None,
    cards: Cards = None,
    pixels: Pixels = None,
    image_size: ImageSize = None,
    normalize: Normalize = None,
    allow_overlap: AllowOverlap = False,
    trials: Trials = None,
    seeds: Seeds = None,
    store: Store = DEFAULT_STORE,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = None,
    address: Address = None,
    keep_large: KeepLarge = False,
    trial_timeout: TrialTimeout = 3600.0,
    log_json: LogJson = None,
    tensorboard: Tensorboard = None,
    allow_gaps: AllowGaps = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Switch a method's toggles, every valid combination, and show what each is worth. Shares its
    cells with `harness run`."""
    what = (
        suite,
        tasks,
        backbone,
        protocol,
        data_root,
        cards,
        pixels,
        image_size,
        normalize,
        allow_overlap,
        trials,
        flags.seeds(seeds),
    )
    from harness.engine.events import Traces

    on, traces = (
        (workers, gpus_per_trial, address, trial_timeout),
        Traces(keep_large, log_json, tensorboard),
    )

    def combinations() -> tuple:
        from harness.reporting.ablation import ablation, table

        grid = ablation(method)
        return grid.methods, lambda plan, results, scheduler, _: (
            table(results, plan, grid),
            _missing(results, scheduler),
        )

    _carry_out(combinations, what, store, on, traces, dry_run, allow_gaps)


def _carry_out(
    methods_of: Callable[[], tuple],
    what: tuple,
    store: str,
    on: tuple,
    traces: "Traces",
    dry_run: bool,
    allow_gaps: bool,
) -> None:
    """Previews a plan, or fills it and shows what came of it; then ends, with 3 where results are
    missing.

    `methods_of` gives the methods, and what makes of (plan, store, scheduler, view) that which is
    shown and the lines below it. `what`: the rest of a `Request`, in order.
    """
    from rich.console import Console

    from harness.engine.progress import ProgressView

    console, lines, gaps = Console(), [], 0
    with ProgressView(console) as view:
        view.stage("loading libraries")
        from harness.planning.dry_run import preview
        from harness.planning.plan import Request

        methods, board = methods_of()
        request = Request(methods, *what)
        view.pause_at_breakpoints()
        if dry_run:
            shown = preview(request, view.stage)
        else:
            plan, results, scheduler = _fill(request, store, on, traces, view)
            (shown, lines), gaps = board(plan, results, scheduler, view), scheduler.gaps
    console.print(shown)
    _end(lines, gaps, allow_gaps)


def _board(plan: Any, store: Any, scheduler: Any, view: Any) -> tuple:
    """The leaderboard of a filled plan, and what is said below it."""
    from harness.reporting.render import Report
    from harness.store import result_id

    board = Report(store, plan.tasks, None, plan.suite, [cell.key for cell in plan.cells]).render(
        "table"
    )
    ids = [result_id(cell.planned.key, seed) for cell in scheduler.cells for seed in cell.scores]
    lines = [
        *_tracebacks(store, scheduler),
        *_missing(store, scheduler),
        f"Stored in {store.name}.",
    ]
    if ids:
        view.stage("writing the page")
        lines += [_page(store), _next(store, ids[0])]
    return board, lines


def _tracebacks(store: Any, scheduler: Any) -> list[str]:
    """With --debug, those of the final runs that failed, each once."""
    if not options.debugging():
        return []
    keys = {cell.planned.key for cell in scheduler.cells if cell.failures}
    return list(
        dict.fromkeys(
            row.traceback for row in store.failures() if row.cell in keys and row.traceback
        )
    )


def _next(store: Any, id: str) -> str:
    """Two commands to go on with."""
    return (
        f"Next: `{commands.command('report', '--format', 'md', store=store)}`, or"
        f" `{commands.command('show', id, store=store)}`"
    )


def _missing(store: Any, scheduler: Any) -> list[str]:
    """A line where there are gaps."""
    if not scheduler.gaps:
        return []
    why = commands.command("results", "list", "--failed", store=store)
    results = some(scheduler.wanted, "result")
    are, them = ("is", "it") if scheduler.gaps == 1 else ("are", "them")
    return [
        f"{scheduler.gaps} of {results} {are} missing: `{why}` says why. The same command tries"
        f" again; --allow-gaps accepts {them}."
    ]


def _end(lines: list[str], gaps: int, allowed: bool) -> None:
    """The last lines, unbroken so that commands in them can be copied; then code 3 where a result
    is missing that was asked for."""
    print("\n".join(lines), end="\n" * bool(lines))
    if gaps and not allowed:
        raise typer.Exit(3)


def _page(store: Any) -> str:
    """Writes the page of all that the store has, and says where; a page that can't be written is no
    reason to lose the leaderboard."""
    from harness.reporting.formats.page import write
    from harness.reporting.render import Report

    try:
        write(store.page, str(Report(store).render("html")))
    except BadInput as error:
        return f"No page: {error}"
    return f"Everything in it as a page: {store.page}"


def _fill(request: Any, store_url: str, resources: tuple, traces: "Traces", view: Any) -> tuple:
    """Carries out a request: (plan, store, scheduler). `resources`: the fields of `Resources`, in
    order."""
    from harness.engine.run import Resources
    from harness.engine.run import run as carry_out
    from harness.engine.signals import Interrupted, Interrupts
    from harness.planning.notices import notes
    from harness.planning.plan import plan as make_plan
    from harness.store import Store as ResultStore

    on, store = Resources(*resources), ResultStore(store_url)
    try:
        with Interrupts(
            f"Interrupted. All that finished is saved in {store.name}. The same command goes on"
            " from there."
        ) as interrupts:
            view.stage("checking data and backbone")
            plan = make_plan(request)
            for line in notes(plan, store):
                view.tell(line)
            for warning in plan.warnings:
                view.tell(f"warning: {warning}")
            return plan, store, carry_out(plan, store, on, view, traces, interrupts)
    except Interrupted as signal:
        view.__exit__(None, None, None)
        _interrupted(store, signal.exit_code)


def _interrupted(store: Any, exit_code: int) -> NoReturn:
    """What is saved, how to go on, and out: at once, since Ray may take its time to end."""
    print(f"\nInterrupted. {_saved(store)} The same command goes on from there.", flush=True)
    os._exit(exit_code)


def _saved(store: Any) -> str:
    store.engine.patience = 2.0  # who ends a run doesn't wait for a database that is away
    try:
        results, trials = (
            len(store.runs(("id",))),
            sum(sum(states.values()) for states in store.trial_counts().values()),
        )
        store.close()
    except BadInput:
        return f"What was finished is saved in {store.name}."
    return f"{results} results and {trials} trials are saved in {store.name}."
