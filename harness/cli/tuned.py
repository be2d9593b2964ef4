"""`harness reproduce`, `harness export` and `harness predict`: repeats a row, and uses what it
tuned."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness import api
from harness.cli import options, shown
from harness.cli.options import (
    Cards,
    DataRoot,
    MovedBackbone,
    OwnMethod,
    ResultId,
    Store,
)
from harness.errors import BadInput
from harness.io import flags
from harness.io.flags import DEFAULT_STORE


def reproduce(
    id: ResultId,
    store: Store = DEFAULT_STORE,
    data_root: DataRoot = None,
    cards: Cards = None,
    backbone: MovedBackbone = None,
    method: OwnMethod = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="A file for the new run's checkpoint.", parser=flags.path),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            help="A JSON file for the comparison, which `harness submit` sends to a board.",
            parser=flags.path,
        ),
    ] = None,
) -> None:
    """Run one row again: say whether it is equal, or by how much it differs. Exit code 1 if it
    differs."""
    comparison = api.reproduce(
        id,
        store=store,
        data_root=data_root,
        cards=cards,
        backbone=backbone,
        method=method,
        export=export,
        record=record,
        progress=not shown.quiet,
    )
    print(comparison)
    if not comparison.within_tolerance:
        raise typer.Exit(1)


def export(
    id: ResultId,
    file: Annotated[
        Path, typer.Argument(help="Where to write it, e.g. tuned.safetensors.", parser=flags.path)
    ],
    store: Store = DEFAULT_STORE,
    merged: Annotated[
        bool,
        typer.Option(
            "--merged",
            help="Fold it into the backbone: a file that timm loads into its plain ViT.",
        ),
    ] = False,
    backbone: MovedBackbone = None,
    method: OwnMethod = None,
) -> None:
    """Copy what a final run tuned to a file that `harness predict` and harness.load() read; with
    --merged, write a plain timm ViT with it."""
    from harness.inference import checkpoint_files, tuned_model
    from harness.store import Store as ResultStore

    opened = ResultStore(store)
    result, cell = opened.result(id)
    source = checkpoint_files.find(opened, result)
    what = f"{cell.labels['variant']} on {cell.identity['task']['name']}, seed {result.seed}"
    if not merged:
        if backbone or method:
            raise BadInput("--backbone and --method are for --merged: a copy needs neither.")
        checkpoint_files.export(source, file)
        print(f"{file}: {what}, {file.stat().st_size:,} bytes")
        return
    tuned = tuned_model.load(source, backbone, method, _warn)
    loads = tuned.save_merged(file)
    size = f"{file.stat().st_size:,} bytes"
    print(
        f"{file}: {what}, merged, {size}. Its pixels: mean {tuned.statistics.mean},"
        f" std {tuned.statistics.std}.",
        loads,
        sep="\n",
    )


def predict(
    file: Annotated[
        Path,
        typer.Argument(help="A checkpoint written by `harness export ID FILE`.", parser=flags.path),
    ],
    images: Annotated[list[Path], typer.Argument(help="Image files.", parser=flags.path)],
    backbone: MovedBackbone = None,
    method: OwnMethod = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Classes to show.")] = 3,
    format: Annotated[
        str, typer.Option("--format", help="text, or json with all logits.")
    ] = "text",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="For segmentation: the folder for maps and overlays.",
            parser=flags.path,
        ),
    ] = None,
) -> None:
    """Classify images with a tuned model; with one for segmentation, their pixels."""
    options.check_format(format, ("text", "json"))
    import json

    from rich.console import Console

    from harness.inference import tuned_model
    from harness.inference.predictions import rows, shares, table
    from harness.planning import user_errors
    from harness.training.kinds import kind_of

    tuned = tuned_model.load(file, backbone, method, _warn)
    kind = tuned.origin.task_kind
    if (output is not None) != (kind.target == "mask"):
        remedy = "give --output FOLDER" if output is None else "leave --output out"
        raise BadInput(f"{file} is for {kind.name}: {remedy}.")
    if output is not None:
        from harness.inference.overlay import overlays

        seen = list(overlays(tuned, images, output))
        if format == "json":
            print(json.dumps(seen, indent=2))
        else:
            Console().print(
                shares(seen, top),
                f"Maps and overlays: {len(seen)} of each in {output}.",
                sep="\n",
                markup=False,
            )
        return
    try:
        logits = tuned.predict(images)
    except BadInput:
        raise
    except Exception as error:
        if not user_errors.place(error):
            raise
        # the user's code may fail in any way
        raise BadInput(f"{file}: its method fails: {user_errors.line(error)}.") from error
    probabilities = kind_of(kind.name).probabilities(logits)
    predictions = rows(logits, probabilities, images, tuned.origin.class_names, top)
    if format == "json":
        print(json.dumps(predictions, indent=2))
    else:
        Console().print(table(predictions))


def _warn(line: str) -> None:
    print(f"harness: {line}", file=sys.stderr)
