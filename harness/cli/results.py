"""`harness results`: import, export, list and remove results."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli import options
from harness.cli.command import Group, registering
from harness.cli.options import (
    MovedBackbone,
    MovedCards,
    MovedDataRoot,
    OwnMethod,
    SeedsOfResults,
    SettingOptions,
    Store,
    StoredMethods,
    SuiteOfResults,
    TaskNames,
    TextOrJson,
)
from harness.cli.show import show
from harness.errors import BadInput
from harness.io import commands, flags
from harness.io.flags import DEFAULT_STORE
from harness.text import some

app = typer.Typer(
    cls=Group,
    help="Import, export, list, show and remove results.",
    no_args_is_help=True,
    add_completion=False,
)
command = registering(app, "results")

Failed = Annotated[
    bool, typer.Option("--failed", help="Final runs that failed instead of results.")
]

SHOWN = 30
"""How many of the rows to be removed `rm` shows."""


@command("import")
def import_(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="A store's file, an exported .parquet, a folder of them, or an SQLAlchemy URL.",
        ),
    ],
    store: Store = DEFAULT_STORE,
    checkpoints: Annotated[
        bool,
        typer.Option(
            "--checkpoints", help="Copy checkpoints too, from NAME.checkpoints next to the source."
        ),
    ] = False,
) -> None:
    """Merge others' results into the store, by identity. Nothing is overwritten; exit code 1 if
    results contradict ours."""
    from harness.store import Store as ResultStore
    from harness.store.transfer.merge import merge
    from harness.store.transfer.sources import sources as named

    into, conflicts, broken = ResultStore(store), False, False
    for source in [source for text in sources for source in named(text, into)]:
        try:
            merged = merge(into, source.rows())
        except BadInput as error:
            broken = True
            print(f"harness: {error}", file=sys.stderr)
            continue
        print(f"{source.name}: {merged}")
        for line in (*merged.conflicts, *merged.searches):
            print(f"{source.name}: {line}")
        conflicts = conflicts or bool(merged.conflicts)
        if checkpoints:
            broken = not _checkpoints(source, into, merged.present) or broken
    if broken or conflicts:
        raise typer.Exit(2 if broken else 1)


def _checkpoints(source: Any, into: Any, results: list[Any]) -> bool:
    """Copies the results' checkpoints; reports those that can't be copied, and then returns
    False."""
    from harness.inference.checkpoint_files import adopt

    if source.checkpoints is None or not source.checkpoints.is_dir():
        print(
            f"{source.name}: no checkpoints: there is no folder"
            f" {source.checkpoints or 'for a database'}"
        )
        return True
    copied, good = 0, True
    for result in results:
        file = source.checkpoints / f"{result.id}.safetensors"
        try:
            copied += file.is_file() and adopt(file, into, result)
        except BadInput as error:
            good = False
            print(f"harness: {error}", file=sys.stderr)
    print(f"{source.name}: copied {some(copied, 'checkpoint')} to {into.checkpoints}")
    return good


@command("export")
@options.expanded
def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.parquet", help="The file to write.", parser=flags.path)
    ],
    *,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            "--checkpoints",
            help="A folder for the results' checkpoints; import looks for FILE.checkpoints.",
            parser=flags.path,
        ),
    ] = None,
    suite: SuiteOfResults = None,
    tasks: TaskNames = None,
    methods: StoredMethods = None,
    setting: SettingOptions,
    store: Store = DEFAULT_STORE,
) -> None:
    """Write cells, their searches, results and failures to one parquet file that `harness results
    import` reads."""
    from harness.store import Store as ResultStore
    from harness.store.transfer import exchange

    opened = ResultStore(store)
    rows = exchange.of_store(opened, options.wanted(suite, tasks, methods, setting).cells(opened))
    exchange.write(rows, file)
    counts = {
        "result": len(rows.results),
        "trial": len(rows.trials),
        "cell": len(rows.cells),
        "failure": len(rows.failures),
    }
    print(
        f"{file}: {', '.join(some(count, name) for name, count in counts.items())},"
        f" {file.stat().st_size:,} bytes"
    )
    if checkpoints is not None:
        from harness.inference.checkpoint_files import give

        copied = sum(give(opened, result, checkpoints) for result in rows.results)
        print(f"{checkpoints}: checkpoints of {copied:,} of {some(len(rows.results), 'result')}")


@command("hparams")
@options.expanded
def hparams(
    *,
    to: Annotated[Path, typer.Option("--to", help="The CSV file to write.", parser=flags.path)],
    suite: SuiteOfResults = None,
    tasks: TaskNames = None,
    methods: StoredMethods = None,
    setting: SettingOptions,
    store: Store = DEFAULT_STORE,
) -> None:
    """Write what the searches chose, by method and task, to a file that `harness run --hparams`
    takes."""
    from harness.reporting.tuned_table import tuned_table, write
    from harness.store import Store as ResultStore

    opened = ResultStore(store)
    wanted = options.wanted(suite, tasks, methods, setting).cells(opened)
    lines = tuned_table(opened, wanted)
    write(lines, to)
    print(f"{to}: {some(len(lines), 'setting')}")


@command("list")
@options.expanded
def list_(
    *,
    suite: SuiteOfResults = None,
    tasks: TaskNames = None,
    methods: StoredMethods = None,
    setting: SettingOptions,
    seeds: SeedsOfResults = None,
    failed: Failed = False,
    format: TextOrJson = "text",
    store: Store = DEFAULT_STORE,
) -> None:
    """List results, one line each."""
    options.check_format(format, ("text", "json"))
    import json

    from rich.console import Console

    from harness.reporting.result_list import records, table
    from harness.store import Store as ResultStore

    opened, wanted = (
        ResultStore(store),
        options.wanted(suite, tasks, methods, setting, seeds),
    )
    rows = records(opened, wanted.failures(opened) if failed else wanted.results(opened))
    if format == "json":
        print(json.dumps(rows, indent=2))
    elif rows:
        Console().print(table(opened, rows))
    else:
        print(
            f"{opened.name} holds no"
            f" {'failures' if failed else 'results'}{' of these' if wanted else ''}."
        )


command("show")(show)


@command("multi-scale")
def multi_scale(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID",
            help="Results' ids or prefixes. Default: all of segmentation.",
        ),
    ] = None,
    tasks: TaskNames = None,
    methods: StoredMethods = None,
    seeds: SeedsOfResults = None,
    data_root: MovedDataRoot = None,
    cards: MovedCards = None,
    backbone: MovedBackbone = None,
    method: OwnMethod = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Also score segmentation results at six scales and mirrored, from their checkpoints, without
    training. Skips those already done; one that can't be scored stops no other."""
    from harness.engine.multi_scale import at_several_scales
    from harness.reporting.result_list import Wanted, by_id
    from harness.store import Store as ResultStore
    from harness.tasks.kinds import has_scales

    opened = ResultStore(store)
    cells = opened.cells()
    wanted = Wanted(options.tasks(None, tasks), flags.methods(methods), flags.seeds(seeds))
    results = (
        by_id(opened, ids)
        if ids
        else [
            row for row in wanted.results(opened) if has_scales(cells[row.cell].labels.get("kind"))
        ]
    )
    if not results:
        all_of_them = commands.command("results", "list", store=opened)
        raise BadInput(f"{opened.name} holds no such result of segmentation: see `{all_of_them}`.")
    left = [row for row in results if "miou_ms" not in row.extras]
    failed = False
    for row in left:
        try:
            scores = at_several_scales(
                opened, row, cells[row.cell], data_root, cards, backbone, method
            )
        except BadInput as error:  # the others may have their checkpoints
            print(f"harness: {error}", file=sys.stderr, flush=True)
            failed = True
            continue
        what = (
            f"{cells[row.cell].labels['variant']} on {cells[row.cell].identity['task']['name']},"
            f" seed {row.seed}"
        )
        print(
            f"{row.id}: {what}: mIoU {row.score:.2f} at one scale, {scores['miou_ms']:.2f} at six"
            " and mirrored",
            flush=True,
        )
    if len(left) < len(results):
        print(f"{some(len(results) - len(left), 'result')} already had it.")
    if failed:
        raise typer.Exit(2)


@command("rm")
@options.expanded
def rm(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Results' ids or prefixes; else give filters."),
    ] = None,
    *,
    suite: SuiteOfResults = None,
    tasks: TaskNames = None,
    methods: StoredMethods = None,
    setting: SettingOptions,
    seeds: SeedsOfResults = None,
    failed: Failed = False,
    searches: Annotated[
        bool,
        typer.Option("--searches", help="Also searches of cells without a result left."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Remove results and their checkpoints. Shows what would be removed, and asks first."""
    from rich.console import Console

    from harness.reporting.result_list import by_id, records, removal, remove, table
    from harness.store import Store as ResultStore

    opened, wanted = (
        ResultStore(store),
        options.wanted(suite, tasks, methods, setting, seeds),
    )
    if bool(ids) == bool(wanted or failed):
        raise BadInput(
            "give either the results' ids, or --suite, --tasks, --methods, --backbone, --protocol,"
            " --kind, --seeds and --failed."
        )
    results = by_id(opened, ids) if ids else [] if failed else wanted.results(opened)
    failures = wanted.failures(opened) if failed else []
    touched = {row.cell for row in (*results, *failures)}
    searched = (
        (touched if ids or wanted.seeds is not None else wanted.cells(opened)) if searches else ()
    )
    planned = removal(opened, results, failures, searched)
    if not (results or failures or planned.trials or planned.other_failures):
        raise BadInput(
            f"{opened.name} has nothing like that: see"
            f" `{commands.command('results', 'list', store=opened)}`."
        )
    rows = records(opened, results or failures)
    Console().print(table(opened, rows[:SHOWN]))
    if len(rows) > SHOWN:
        print(f"... and {len(rows) - SHOWN:,} more")
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput(
                f"rm asks before it removes {planned}, but this isn't a terminal: give --yes."
            )
        if not typer.confirm(f"Remove {planned} from {opened.name}?"):
            print("Nothing was removed.")
            raise typer.Exit(1)
    removed = remove(opened, planned)
    print(f"Removed {', '.join(some(count, name) for name, count in removed.items() if count)}.")
