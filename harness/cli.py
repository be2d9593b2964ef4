"""The command line: flags in, other modules' work, text out. Heavy imports wait until a command needs them."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from harness import asked, cli_data, cli_results, cli_store, hints, output, own
from harness.asked import DEFAULT_STORE
from harness.errors import BadInput, unknown
from harness.hidden import hide_passwords
from harness.plain import some
from harness.watch.events import Traces

app = typer.Typer(
    name="harness",
    help="Tune, train, score and rank visual prompt tuning methods. `harness run` alone does something real.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(cli_data.app, name="data")
app.add_typer(cli_results.app, name="results")
app.add_typer(cli_store.app, name="store")

Store = Annotated[str, typer.Option("--store", help="Where results are kept: a file or any SQLAlchemy URL.")]
Methods = Annotated[
    str | None, typer.Option("--methods", help="Comma-separated; a variant is written 'ivpt(da=false,prompts=50)'; or FILE.py:CLASS.")
]
Tasks = Annotated[str | None, typer.Option("--tasks", help="Comma-separated names; see `harness list tasks`.")]
Suite = Annotated[str | None, typer.Option("--suite", help="mini, vtab, fgvc, all ...; see `harness list suites`. Default: mini.")]
Backbone = Annotated[str | None, typer.Option("--backbone", help="A timm name, NAME=FILE, or NAME@SIDE. Default: the suite's.")]
Method = Annotated[str | None, typer.Option("--method", help="FILE.py:CLASS, where it was made by a method of your own.")]
DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Folder that holds the tasks' data.", parser=asked.path)]
Cards = Annotated[Path | None, typer.Option("--cards", help="Folder with your own task cards (*.toml).", parser=asked.path)]


Pixels = Annotated[str | None, typer.Option("--pixels", help="tf, pil or vpt. Default: what suits the data's form.")]
ImageSize = Annotated[
    int | None, typer.Option("--image-size", min=1, help="Side of images in pixels; also NAME@N. Default: the backbone's name's, else 224.")
]
Normalize = Annotated[
    str | None, typer.Option("--normalize", help="imagenet, backbone (its own), inception or none. Default: the protocol's, imagenet.")
]
AllowOverlap = Annotated[
    bool, typer.Option("--allow-overlap", help="Go on although test images are in train or val too; the board says it.")
]
Protocol = Annotated[str | None, typer.Option("--protocol", help="mini, default, vpt, or a .toml file. Default: the suite's.")]
Trials = Annotated[int | None, typer.Option("--trials", min=1, help="Points of each search. Default: the protocol's.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Seeds of the final runs, as 0,1,2. Default: the protocol's.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Jobs at once. Default: one a core, or as many as fit the GPUs.")]
GpusPerTrial = Annotated[float | None, typer.Option("--gpus-per-trial", min=0.0, help="Share of a GPU a job takes, e.g. 0.25.")]
Address = Annotated[str | None, typer.Option("--address", envvar="RAY_ADDRESS", help="A running Ray cluster: 'auto' or HOST:PORT.")]
TrialTimeout = Annotated[
    float, typer.Option("--trial-timeout", min=0.0, help="Seconds without a batch after which a trial counts as hung; 0: never.")
]
KeepLarge = Annotated[bool, typer.Option("--keep-large", help="Keep checkpoints above 32 MB too, as of full fine-tuning.")]
LogJson = Annotated[
    Path | None, typer.Option("--log-json", help="A file that is told what happens: one JSON object a line.", parser=asked.path)
]
Tensorboard = Annotated[
    Path | None, typer.Option("--tensorboard", help="A folder for TensorBoard's curves, a run a trial.", parser=asked.path)
]
AllowGaps = Annotated[bool, typer.Option("--allow-gaps", help="Exit with 0 though results are missing, in place of 3.")]
Debug = Annotated[bool, typer.Option("--debug", help="Print the whole traceback of every error.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, and stop.")]


@app.command()
def run(
    methods: Annotated[
        str, typer.Option("--methods", help="Comma-separated; 'ivpt(da=false)' fixes an argument; or FILE.py:CLASS.")
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
    """Tune, train and score every method on every task; then show the leaderboard. Run it again to go on where it stopped."""
    flags = suite, tasks, backbone, protocol, data_root, cards, pixels, image_size, normalize, allow_overlap, trials, asked.seeds(seeds)
    on, traces = (workers, gpus_per_trial, address, trial_timeout), Traces(keep_large, log_json, tensorboard)
    _carry_out(lambda: (methods, _board), flags, store, on, traces, dry_run, allow_gaps)


@app.command()
def ablate(
    method: Annotated[str, typer.Option("--method", help="A method with toggles; 'ivpt(prompts=10)' fixes an argument.")] = "ivpt",
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
    """Switch a method's toggles, every valid combination, and show what each is worth. Shares its cells with `harness run`."""
    flags = suite, tasks, backbone, protocol, data_root, cards, pixels, image_size, normalize, allow_overlap, trials, asked.seeds(seeds)
    on, traces = (workers, gpus_per_trial, address, trial_timeout), Traces(keep_large, log_json, tensorboard)

    def combinations() -> tuple:
        from harness.ablation import ablation, table

        grid = ablation(method)
        return grid.methods, lambda plan, results, ledger, _: (table(results, plan, grid), _missing(results, ledger))

    _carry_out(combinations, flags, store, on, traces, dry_run, allow_gaps)


def _carry_out(what: Callable[[], tuple], flags: tuple, store: str, on: tuple, traces: Traces, dry_run: bool, allow_gaps: bool) -> None:
    """Previews a plan, or fills it and shows what came of it; then ends, with 3 where results are missing.

    `what` gives the methods, and what makes of (plan, store, ledger, view) that which is shown and the lines below it. `flags`: the rest of
    a `Request`, in order.
    """
    from rich.console import Console

    from harness.orchestrate.view import View

    console, lines, gaps = Console(), [], 0
    with View(console) as view:
        view.stage("loading libraries")
        from harness.plan import Request
        from harness.preview import preview

        methods, board = what()
        request = Request(methods, *flags)
        view.pause_at_breakpoints()
        if dry_run:
            shown = preview(request, view)
        else:
            plan, results, ledger = _fill(request, store, on, traces, view)
            (shown, lines), gaps = board(plan, results, ledger, view), ledger.gaps
    console.print(shown)
    _end(lines, gaps, allow_gaps)


def _board(plan: Any, store: Any, ledger: Any, view: Any) -> tuple:
    """The leaderboard of a filled plan, and what is said below it."""
    from harness.report.render import Report
    from harness.store import result_id

    board = Report(store, plan.tasks, None, plan.suite, [cell.key for cell in plan.cells]).render("table")
    ids = [result_id(cell.planned.key, seed) for cell in ledger.cells for seed in cell.scores]
    lines = [*_tracebacks(store, ledger), *_missing(store, ledger), f"Stored in {store.name}."]
    if ids:
        view.stage("writing the page")
        lines += [_page(store), _next(store, ids[0])]
    return board, lines


def _tracebacks(store: Any, ledger: Any) -> list[str]:
    """With --debug, those of the final runs that failed, each once."""
    if not _debugging():
        return []
    keys = {cell.planned.key for cell in ledger.cells if cell.failures}
    return list(dict.fromkeys(row.traceback for row in store.failures() if row.cell in keys and row.traceback))


def _debugging() -> bool:
    """Errors may come before a command has read its flags."""
    return "--debug" in sys.argv[1:]


def _next(store: Any, id: str) -> str:
    """Two commands to go on with."""
    return f"Next: `{hints.command('report', '--format', 'md', store=store)}`, or `{hints.command('show', id, store=store)}`"


def _missing(store: Any, ledger: Any) -> list[str]:
    """A line where there are gaps."""
    if not ledger.gaps:
        return []
    why = hints.command("results", "list", "--failed", store=store)
    results = some(ledger.wanted, "result")
    are, them = ("is", "it") if ledger.gaps == 1 else ("are", "them")
    return [f"{ledger.gaps} of {results} {are} missing: `{why}` says why. The same command tries again; --allow-gaps accepts {them}."]


def _end(lines: list[str], gaps: int, allowed: bool) -> None:
    """The last lines, unbroken so that commands in them can be copied; then code 3 where a result is missing that was asked for."""
    print("\n".join(lines), end="\n" * bool(lines))
    if gaps and not allowed:
        raise typer.Exit(3)


def _page(store: Any) -> str:
    """Writes the page of all that the store has, and says where; a page that can't be written is no reason to lose the leaderboard."""
    from harness.report.page import write
    from harness.report.render import Report

    try:
        write(store.page, str(Report(store).render("html")))
    except BadInput as error:
        return f"No page: {error}"
    return f"Everything in it as a page: {store.page}"


def _fill(request: Any, store_url: str, resources: tuple, traces: Traces, view: Any) -> tuple:
    """Carries out a request: (plan, store, ledger). `resources`: the fields of `Resources`, in order."""
    from harness.earlier import notes
    from harness.orchestrate.interrupts import Interrupted, Interrupts
    from harness.orchestrate.run import Resources
    from harness.orchestrate.run import run as carry_out
    from harness.plan import plan as make_plan
    from harness.store import Store as ResultStore

    on, store = Resources(*resources), ResultStore(store_url)
    try:
        with Interrupts(f"Interrupted. All that finished is saved in {store.name}. The same command goes on from there.") as interrupts:
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
        results, trials = len(store.runs(("id",))), sum(sum(states.values()) for states in store.trial_counts().values())
        store.close()
    except BadInput:
        return f"What was finished is saved in {store.name}."
    return f"{results} results and {trials} trials are saved in {store.name}."


@app.command()
def report(
    suite: Suite = None,
    tasks: Tasks = None,
    methods: Methods = None,
    store: Store = DEFAULT_STORE,
    baseline: Annotated[str | None, typer.Option("--baseline", help="A variant to hold the others against, e.g. vpt-deep.")] = None,
    group: Annotated[bool, typer.Option("--group", help="Means of the groups of tasks in place of the tasks.")] = False,
    sort: Annotated[str, typer.Option("--sort", help="Order of the methods: mean, rank or params.")] = "mean",
    complete_only: Annotated[bool, typer.Option("--complete-only", help="Only the tasks that every method has.")] = False,
    budgets: Annotated[bool, typer.Option("--budgets", help="Show trials, epochs and forward-image units.")] = False,
    published: Annotated[bool, typer.Option("--published", help="Show published numbers beside the measured ones.")] = False,
    figure: Annotated[
        str | None, typer.Option("--figure", help="tradeoff, ranks, differences, ablation, search or cost; for png, pdf and svg.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", help="table, md, csv, json, parquet, latex, html, png, pdf or svg. Default: what --output's name says."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file to write instead of the terminal.", parser=asked.path)
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page on this machine; it follows the store.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="For --serve; 0 takes a free one.")] = 8765,
) -> None:
    """Show the leaderboard of what is stored: in the terminal, for a paper, as a page, or for programs."""
    from harness.report.columns import Layout
    from harness.report.render import Report, form_of
    from harness.store import Store as ResultStore

    layout = Layout(groups=group, budgets=budgets, baseline=baseline)
    wanted = Report(
        ResultStore(store), asked.tasks(suite, tasks), asked.methods(methods), suite, None, layout, sort, complete_only, published, figure
    )
    if serve:
        return _serve(wanted, port)
    form = form_of(format, output)
    if output is not None:
        wanted.write(form, output)
    elif form == "table":
        from rich.console import Console

        Console().print(wanted.render("table"))
    else:
        print(wanted.render(form), end="")


def _serve(report: Any, port: int) -> None:
    """Until Ctrl-C."""
    from dataclasses import replace

    from harness.report.serve import Server

    report.render("html")  # what can't be shown is said now
    with Server(lambda state: replace(report).render("html", live=state), report.store.state, port) as server:
        print(f"{server.url} shows {report.store.name}, on this machine only. Ctrl-C ends it.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


@app.command()
def status(
    store: Store = DEFAULT_STORE,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")] = False,
    format: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Say where the work on a store stands: who is at it, what is done, what failed, how long it takes yet. From any terminal."""
    from rich.console import Console

    from harness.store import Store as ResultStore
    from harness.watch import screen

    (screen.watch if watch else screen.show)(ResultStore(store), format, Console())


@app.command()
def compare(
    one: Annotated[str, typer.Argument(help="A method, or a variant as 'ivpt(da=false)'.")],
    other: Annotated[str, typer.Argument(help="What to compare it with.")],
    suite: Annotated[str | None, typer.Option("--suite", help="Its tasks only. Default: each suite that both were run on.")] = None,
    tasks: Tasks = None,
    store: Store = DEFAULT_STORE,
    cards: Cards = None,
    format: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Say in words what may be claimed of two methods, and what not."""
    if format not in ("text", "json"):
        raise unknown("format", format, ("text", "json"))
    from harness.report.compare import compare as against
    from harness.store import Store as ResultStore

    found = against(ResultStore(store), one, other, tasks=asked.tasks(suite, tasks), suite_name=suite)
    print(found.json() if format == "json" else "\n".join(found.lines()))


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="methods, tasks, suites, protocols or backbones")],
    cards: Cards = None,
) -> None:
    """List what can be named on the command line."""
    from rich.console import Console

    from harness.listing import listing

    Console().print(listing(what, cards))


@app.command()
def show(id: Annotated[str, typer.Argument(help="A result's id, or the beginning of one.")], store: Store = DEFAULT_STORE) -> None:
    """Show everything known of a result."""
    from harness.report.detail import text
    from harness.store import Store as ResultStore

    print(text(ResultStore(store), id))


@app.command()
def reproduce(
    id: Annotated[str, typer.Argument(help="A result's id, or the beginning of one.")],
    store: Store = DEFAULT_STORE,
    data_root: DataRoot = None,
    cards: Cards = None,
    backbone: Backbone = None,
    method: Method = None,
    export: Annotated[Path | None, typer.Option("--export", help="A file for the new run's checkpoint.", parser=asked.path)] = None,
) -> None:
    """Run one row again: say whether it is equal, or by how much it differs. Exit code 1 where it differs."""
    import tempfile

    from rich.console import Console

    from harness.orchestrate.view import View
    from harness.store import Store as ResultStore

    result, cell = ResultStore(store).result(id)
    with View(Console(stderr=True)) as view:
        view.stage(f"running {cell.labels['variant']} on {cell.identity['task']['name']}, seed {result.seed}, again")
        from harness import checkpoint
        from harness.reproduce import reproduce as again

        with tempfile.TemporaryDirectory() as folder:
            keep = checkpoint.Keep(Path(folder), large=True) if export else None
            comparison = again(result, cell, data_root, cards, backbone, keep, method)
            if export:
                checkpoint.export(Path(folder) / f"{result.id}.safetensors", export)
    for difference in comparison.differences:
        print(f"differs from the stored run: {difference}")
    if comparison.equal:
        print(f"equal: {result.score:.2f}, logits sha256 {result.logits_sha256[:16]}")
        return
    print(f"not equal: stored {result.score:.2f}, now {comparison.score:.2f} ({comparison.score - result.score:+.2f} points), other logits")
    if not comparison.within_tolerance:
        raise typer.Exit(1)


@app.command()
def export(
    id: Annotated[str, typer.Argument(help="A result's id, or the beginning of one.")],
    file: Annotated[Path, typer.Argument(help="Where to put it, e.g. tuned.safetensors.", parser=asked.path)],
    store: Store = DEFAULT_STORE,
) -> None:
    """Copy what a final run tuned to a file that `harness predict` and harness.load() read."""
    from harness import checkpoint
    from harness.store import Store as ResultStore

    opened = ResultStore(store)
    result, cell = opened.result(id)
    checkpoint.export(checkpoint.find(opened, result), file)
    print(f"{file}: {cell.labels['variant']} on {cell.identity['task']['name']}, seed {result.seed}, {file.stat().st_size:,} bytes")


@app.command()
def predict(
    file: Annotated[Path, typer.Argument(help="A checkpoint, as `harness export ID FILE` makes it.", parser=asked.path)],
    images: Annotated[list[Path], typer.Argument(help="Image files.", parser=asked.path)],
    backbone: Backbone = None,
    method: Method = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Classes to show.")] = 3,
    format: Annotated[str, typer.Option("--format", help="table, or json with all logits.")] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Of segmentation: the folder for maps and overlays.", parser=asked.path)
    ] = None,
) -> None:
    """Classify images with a tuned model; with one of segmentation, their pixels."""
    if format not in ("table", "json"):
        raise unknown("format", format, ("table", "json"))
    import json

    from rich.console import Console

    from harness import blame, checkpoint
    from harness.report.predictions import rows, shares, table

    tuned = checkpoint.load(file, backbone, method, lambda line: print(f"harness: {line}", file=sys.stderr))
    if (output is None) != (tuned.origin.crop is None):
        raise BadInput(f"{file} is of {'classification: leave --output out' if output else 'segmentation: give --output FOLDER'}.")
    if output is not None:
        from harness.overlay import overlays

        seen = list(overlays(tuned, images, output))
        if format == "json":
            print(json.dumps(seen, indent=2))
        else:
            Console().print(shares(seen, top), f"Maps and overlays: {len(seen)} of each in {output}.", sep="\n", markup=False)
        return
    try:
        logits = tuned.predict(images)
    except BadInput:
        raise
    except Exception as error:
        if not blame.place(error):
            raise
        raise BadInput(f"{file}: its method fails: {blame.line(error)}.") from error  # the user's code may fail in any way
    found = rows(logits, images, tuned.origin.class_names, top)
    if format == "json":
        print(json.dumps(found, indent=2))
    else:
        Console().print(table(found))


def main() -> None:
    """The entry point: a `BadInput` becomes one line a fault and exit code 2."""
    hide_passwords()
    output.prepare()
    try:
        own.check()
        try:
            app()
        except SystemExit:
            sys.stdout.flush()  # what can't be written is said, and no success
            raise
    except BadInput as error:
        if _debugging():
            traceback.print_exception(error)
        for line in str(error).splitlines():
            print(f"harness: {line}", file=sys.stderr)
        sys.exit(2)
    except output.Unwritten as unwritten:
        output.end(unwritten)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
