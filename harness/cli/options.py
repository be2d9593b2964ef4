"""What flags mean, where more than one command takes them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.io import flags

Store = Annotated[
    str, typer.Option("--store", help="Where results are kept: a file or any SQLAlchemy URL.")
]
Methods = Annotated[
    str | None,
    typer.Option(
        "--methods",
        help="Comma-separated; a variant is written 'ivpt(da=false,prompts=50)'; or FILE.py:CLASS.",
    ),
]
Tasks = Annotated[
    str | None, typer.Option("--tasks", help="Comma-separated names; see `harness list tasks`.")
]
Suite = Annotated[
    str | None,
    typer.Option(
        "--suite", help="mini, vtab, fgvc, all ...; see `harness list suites`. Default: mini."
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option("--backbone", help="A timm name, NAME=FILE, or NAME@SIDE. Default: the suite's."),
]
Method = Annotated[
    str | None,
    typer.Option("--method", help="FILE.py:CLASS, where it was made by a method of your own."),
]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder that holds the tasks' data.", parser=flags.path),
]
Cards = Annotated[
    Path | None,
    typer.Option("--cards", help="Folder with your own task cards (*.toml).", parser=flags.path),
]


Pixels = Annotated[
    str | None,
    typer.Option("--pixels", help="tf, pil or vpt. Default: what suits the data's form."),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        "--image-size",
        min=1,
        help="Side of images in pixels; also NAME@N. Default: the backbone's name's, else 224.",
    ),
]
Normalize = Annotated[
    str | None,
    typer.Option(
        "--normalize",
        help="imagenet, backbone (its own), inception or none. Default: the protocol's, imagenet.",
    ),
]
AllowOverlap = Annotated[
    bool,
    typer.Option(
        "--allow-overlap",
        help="Go on although test images are in train or val too; the board says it.",
    ),
]
Protocol = Annotated[
    str | None,
    typer.Option("--protocol", help="mini, default, vpt, or a .toml file. Default: the suite's."),
]
Trials = Annotated[
    int | None,
    typer.Option("--trials", min=1, help="Points of each search. Default: the protocol's."),
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", help="Seeds of the final runs, as 0,1,2. Default: the protocol's."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Jobs at once. Default: one a core, or as many as fit the GPUs."
    ),
]
GpusPerTrial = Annotated[
    float | None,
    typer.Option("--gpus-per-trial", min=0.0, help="Share of a GPU a job takes, e.g. 0.25."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", envvar="RAY_ADDRESS", help="A running Ray cluster: 'auto' or HOST:PORT."
    ),
]
TrialTimeout = Annotated[
    float,
    typer.Option(
        "--trial-timeout",
        min=0.0,
        help="Seconds without a batch after which a trial counts as hung; 0: never.",
    ),
]
KeepLarge = Annotated[
    bool,
    typer.Option("--keep-large", help="Keep checkpoints above 32 MB too, as of full fine-tuning."),
]
LogJson = Annotated[
    Path | None,
    typer.Option(
        "--log-json",
        help="A file that is told what happens: one JSON object a line.",
        parser=flags.path,
    ),
]
Tensorboard = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard", help="A folder for TensorBoard's curves, a run a trial.", parser=flags.path
    ),
]
AllowGaps = Annotated[
    bool,
    typer.Option("--allow-gaps", help="Exit with 0 though results are missing, in place of 3."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Print the whole traceback of every error.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, and stop.")]


def tasks(suite: str | None, names: str | None) -> list[str] | None:
    """The tasks that `--suite` and `--tasks` ask for. Raises `BadInput`."""
    from harness.tasks.cards import named_tasks

    return named_tasks(suite, names)


def debugging() -> bool:
    """Whether `--debug` is given. Errors may come before a command has read its flags."""
    return "--debug" in sys.argv[1:]
