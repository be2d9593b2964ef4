"""Every flag that more than one command has: its name, meaning and parser."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from harness.cli import complete, config
from harness.cli.config import ConfigOptions
from harness.io import flags
from harness.io.flags import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.reporting.result_list import Wanted

# What to run or show.

Store = Annotated[
    str, typer.Option("--store", help="Where results are stored: a file or any SQLAlchemy URL.")
]
StoreToFill = Annotated[
    str,
    typer.Option(
        "--store",
        help="Where results are stored: a file or any SQLAlchemy URL.",
        callback=config.of_store,
        is_eager=True,
    ),
]
MethodsToRun = Annotated[
    str,
    typer.Option(
        "--methods",
        help="Comma-separated; 'ivpt(da=false)' fixes an argument; or FILE.py:CLASS.",
        autocompletion=complete.methods,
    ),
]
MethodToAblate = Annotated[
    str,
    typer.Option(
        "--method",
        help="A method with toggles; 'ivpt(prompts=10)' fixes an argument.",
        autocompletion=complete.methods,
    ),
]
StoredMethods = Annotated[
    str | None,
    typer.Option(
        "--methods",
        help="Only these: 'ivpt' for all its variants, or 'ivpt(da=false)'. Default: all.",
        autocompletion=complete.methods,
    ),
]
StoredBackbone = Annotated[
    str | None,
    typer.Option("--backbone", help="Only rows of this backbone: NAME or NAME@SIDE."),
]
StoredProtocol = Annotated[
    str | None, typer.Option("--protocol", help="Only rows under this protocol.")
]
StoredKind = Annotated[
    str | None,
    typer.Option("--kind", help="Only rows of these tasks: classification or segmentation."),
]
OwnMethod = Annotated[
    str | None,
    typer.Option("--method", help="FILE.py:CLASS, if the result is from a method of your own."),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        "--tasks",
        help="Comma-separated names; see `harness list tasks`.",
        autocompletion=complete.tasks,
    ),
]
TaskNames = Annotated[
    str | None,
    typer.Option("--tasks", help="Comma-separated names.", autocompletion=complete.tasks),
]
Suite = Annotated[
    str | None,
    typer.Option(
        "--suite",
        help="mini, vtab, fgvc, all ...; see `harness list suites`. Default: mini.",
        autocompletion=complete.suite,
    ),
]
SuiteOfData = Annotated[
    str | None,
    typer.Option("--suite", help="mini, vtab, fgvc, all ...", autocompletion=complete.suite),
]
SuiteOfResults = Annotated[
    str | None,
    typer.Option(
        "--suite",
        help="Only the tasks of mini, vtab, fgvc, all ... Default: all that are stored.",
        autocompletion=complete.suite,
    ),
]
SuiteToCompare = Annotated[
    str | None,
    typer.Option(
        "--suite",
        help="Only its tasks. Default: every suite that both were run on.",
        autocompletion=complete.suite,
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option("--backbone", help="A timm name, NAME=FILE, or NAME@SIDE. Default: the suite's."),
]
MovedBackbone = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="NAME=FILE, if the weights have moved. Default: what the result was made with.",
    ),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="mini, default, vpt, petl, or a .toml file. Default: the suite's.",
        autocompletion=complete.protocol,
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder with the tasks' data.", parser=flags.path),
]
MovedDataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", help="Where the data are now. Default: where they were.", parser=flags.path
    ),
]
Cards = Annotated[
    Path | None,
    typer.Option("--cards", help="Folder with your own task cards (*.toml).", parser=flags.path),
]
MovedCards = Annotated[
    Path | None,
    typer.Option(
        "--cards",
        help="Where your own task cards are now. Default: where they were.",
        parser=flags.path,
    ),
]
Pixels = Annotated[
    str | None,
    typer.Option("--pixels", help="tf, pil or vpt. Default: depends on the data's format."),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        "--image-size",
        min=1,
        help="Image side in pixels; also NAME@N. Default: from the backbone's name, else 224.",
    ),
]
Normalize = Annotated[
    str | None,
    typer.Option(
        "--normalize",
        help="imagenet, backbone (its own), inception or none. Default: the protocol's, imagenet.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="fp32 or bf16. Default: the protocol's, else bf16 on a GPU that has it.",
    ),
]
AllowOverlap = Annotated[
    bool,
    typer.Option(
        "--allow-overlap",
        help="Run even if test images are also in train or val; the leaderboard mentions it.",
    ),
]
Trials = Annotated[
    int | None,
    typer.Option("--trials", min=1, help="Points per search. Default: the protocol's."),
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", help="Seeds of the final runs, e.g. 0,1,2. Default: the protocol's."),
]
Hparams = Annotated[
    str | None,
    typer.Option(
        "--hparams",
        help="osu, or a FILE.csv: settings by method and task, run without a search.",
    ),
]
StartFrom = Annotated[
    str | None,
    typer.Option(
        "--start-from", help="osu, a FILE.csv or a store: settings that searches try first."
    ),
]
SeedsOfResults = Annotated[
    str | None, typer.Option("--seeds", help="Only these, e.g. 0,1. Default: all.")
]

# Where and how.

Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Jobs at once. Default: one per core, or as many as fit on the GPUs.",
    ),
]
GpusPerTrial = Annotated[
    float | None,
    typer.Option("--gpus-per-trial", min=0.0, help="Share of a GPU per job, e.g. 0.25."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", envvar="RAY_ADDRESS", help="A running Ray cluster: 'auto' or HOST:PORT."
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile/--no-compile",
        help="On GPUs, compile what blocks do in training: a minute per process, then less time per"
        " step. Rounding differs, as it does between GPUs.",
    ),
]
KeepLarge = Annotated[
    bool,
    typer.Option(
        "--keep-large", help="Keep checkpoints above 32 MB too, such as full fine-tuning's."
    ),
]
TrialTimeout = Annotated[
    float,
    typer.Option(
        "--trial-timeout",
        min=0.0,
        help="Seconds without a batch after which a trial is considered hung; 0: never.",
    ),
]
MaxHours = Annotated[
    float | None,
    typer.Option(
        "--max-hours",
        min=0.0,
        help="Start nothing new after this long; what is under way is finished. Default: no limit.",
    ),
]
LogJson = Annotated[
    Path | None,
    typer.Option(
        "--log-json",
        help="A file for the run's events: one JSON object per line.",
        parser=flags.path,
    ),
]
Tensorboard = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard",
        help="A folder for TensorBoard curves, one run per trial.",
        parser=flags.path,
    ),
]

# How a command ends, and what it prints.

AllowGaps = Annotated[
    bool,
    typer.Option("--allow-gaps", help="Exit with 0 instead of 3 if results are missing."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, and stop.")]
Debug = Annotated[bool, typer.Option("--debug", help="Print the full traceback of every error.")]
TextOrJson = Annotated[str, typer.Option("--format", help="text or json.")]
ResultId = Annotated[str, typer.Argument(help="A result's id, or a unique prefix of it.")]


@dataclass(frozen=True)
class PlanOptions:
    """What to measure, besides methods: keyword arguments of `harness.plan` and `harness.run`."""

    suite: Suite = None
    tasks: Tasks = None
    backbone: Backbone = None
    protocol: Protocol = None
    data_root: DataRoot = None
    cards: Cards = None
    pixels: Pixels = None
    image_size: ImageSize = None
    normalize: Normalize = None
    precision: Precision = None
    allow_overlap: AllowOverlap = False
    trials: Trials = None
    seeds: Seeds = None
    hparams: Hparams = None
    start_from: StartFrom = None


@dataclass(frozen=True)
class RunOptions:
    """Where to measure it, and what else to write: further keyword arguments of `harness.run`."""

    store: StoreToFill = DEFAULT_STORE
    workers: Workers = None
    gpus_per_trial: GpusPerTrial = None
    address: Address = None
    compile: Compile = False
    keep_large: KeepLarge = False
    trial_timeout: TrialTimeout = 3600.0
    max_hours: MaxHours = None
    log_json: LogJson = None
    tensorboard: Tensorboard = None


@dataclass(frozen=True)
class EndOptions:
    """How the command ends, which doesn't concern `harness.run`."""

    allow_gaps: AllowGaps = False
    dry_run: DryRun = False
    debug: Debug = False


@dataclass(frozen=True)
class TaskOptions:
    """Tasks, for `harness data`."""

    suite: SuiteOfData = None
    tasks: TaskNames = None


@dataclass(frozen=True)
class SettingOptions:
    """How stored rows were measured: keyword arguments of `harness.report` and others."""

    backbone: StoredBackbone = None
    protocol: StoredProtocol = None
    kind: StoredKind = None


GROUPS = (PlanOptions, RunOptions, EndOptions, TaskOptions, ConfigOptions, SettingOptions)


def expanded(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with each parameter of a type in `GROUPS` expanded into the fields of that type,
    one flag each: Typer reads the signature."""
    parameters, groups = [], {}
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if kind not in GROUPS:
            parameters.append(parameter.replace(annotation=kind))
            continue
        types = get_type_hints(kind, include_extras=True)
        groups[name] = kind, [field.name for field in fields(kind)]
        for field in fields(kind):
            assert field.default is not MISSING
            parameters.append(
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=field.default,
                    annotation=types[field.name],
                )
            )

    @wraps(command)
    def call(**values: Any) -> Any:
        built = {
            name: kind(**{field: values.pop(field) for field in names})
            for name, (kind, names) in groups.items()
        }
        return command(**values, **built)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def check_format(format: str, known: tuple[str, ...]) -> None:
    """Raises `BadInput` for a format that a command doesn't have."""
    from harness.errors import unknown

    if format not in known:
        raise unknown("format", format, known)


def tasks(suite: str | None, names: str | None) -> list[str] | None:
    """The tasks that `--suite` and `--tasks` name. Raises `BadInput`."""
    from harness.tasks.cards import named_tasks

    return named_tasks(suite, names)


def wanted(
    suite: str | None,
    names: str | None,
    methods: str | None,
    setting: SettingOptions,
    seeds: str | None = None,
) -> "Wanted":
    """The stored rows that a command's flags choose. Raises `BadInput`."""
    from harness.reporting.filters import Setting
    from harness.reporting.result_list import Wanted

    return Wanted(
        tasks(suite, names),
        flags.methods(methods),
        flags.seeds(seeds),
        Setting(**asdict(setting)),
    )


def debugging() -> bool:
    """Whether `--debug` was given. Errors may occur before a command has parsed its flags."""
    return "--debug" in sys.argv[1:]
