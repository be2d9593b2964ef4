"""The Python API: what the command `harness` does, as functions.

Arguments have the names and defaults of the flags; where a flag takes comma-separated text, a list
works too. Every mistake of a caller is a `harness.BadInput` whose message names the problem and the
fix. Nothing here ends the process, and signal handlers are restored when a function returns.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from harness.errors import BadInput, names_arguments
from harness.io import flags
from harness.io.flags import DEFAULT_METHODS, DEFAULT_STORE

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Unpack

    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]  # it brings no types
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from harness.backbones import Backbone
    from harness.engine.events import Traces
    from harness.engine.progress import ProgressView
    from harness.engine.reproduce import Reproduction
    from harness.engine.resources import Resources
    from harness.inference.tuned_model import Tuned
    from harness.planning.dry_run import Preview
    from harness.planning.outline import Outline
    from harness.planning.plan import Request, RunPlan
    from harness.reporting.ablation import Ablation as Grid
    from harness.reporting.board import Leaderboard
    from harness.reporting.compare import Comparison
    from harness.store import Store
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


@dataclass(frozen=True, repr=False)
class Run:
    """The results of a run, new and old: `harness.run` returns one.

    Its frames are read from the store at every access.
    """

    store: "Store"
    wanted: int
    """Final runs in the plan."""
    gaps: int
    """Those that are missing: they failed, and `failures` says why, or `max_hours` were over. The
    same call does them."""
    ids: tuple[str, ...]
    """Ids of the stored final runs, in the order of the plan."""
    late: bool
    """Whether `max_hours` were over before all was done."""
    _outline: "Outline"
    _planned: "RunPlan | Request"
    """A request where nothing had to be planned: its results were all stored."""

    @cached_property
    def plan(self) -> "RunPlan":
        """The cells: method variants x tasks, each with its backbone, protocol and seeds."""
        from harness.planning.plan import Request, plan

        return plan(self._planned) if isinstance(self._planned, Request) else self._planned

    @property
    def results(self) -> "pd.DataFrame":
        """One row per final run: `id`, `variant`, `method`, `task`, `suite`, `backbone`,
        `protocol`, `metric`, `seed`, `score` (percent, on test), a column for each hyper-parameter,
        `trainable` (values, without the head), `train_only` (values that predictions don't need),
        `head_params`, `seconds`, `memory` (bytes), `units` (forward-image units), `created`; and
        the costs `flops`, `flops_scored`, `flops_overhead`, `seconds_image` and `checkpoint_bytes`
        of `docs/costs.md`, NaN where a run lacks them (operations are counted for a cell's first
        seed)."""
        from harness.reporting import wide

        return wide.results(self.store, self._cells)

    @property
    def trials(self) -> "pd.DataFrame":
        """One row per trial of the searches: like `results`, with `number`, `state` (`complete`,
        `pruned`, `failed`), `score` (percent, on val) and `reason`."""
        from harness.reporting import wide

        return wide.trials(self.store, self._cells)

    @property
    def curves(self) -> "pd.DataFrame":
        """What was measured while training, one row per value: what it is of, with `trial` (its
        number) or `seed`; `curve`, which is `val` or `test` (the score in percent), `loss`, `lr` or
        what the method logs; `epoch` (in segmentation, the iteration), counted from 1; `value`."""
        from harness.reporting import wide

        return wide.curves(self.store, self._cells)

    @property
    def failures(self) -> "pd.DataFrame":
        """One row per missing final run: what it is, `seed`, `reason` and `traceback`."""
        from harness.reporting import wide

        return wide.failures(self.store, self._cells)

    @names_arguments(BoardOptions)
    def leaderboard(self, **options: "Unpack[BoardOptions]") -> "Leaderboard":
        """The run's methods and tasks, ranked: text in a terminal, a table in a notebook.

        Args:
            **options: Those of `harness.report` that say what is shown: see `BoardOptions`.

        Raises:
            BadInput: Nothing of this run is stored, or a name is unknown; raised when it is shown.
        """
        return _leaderboard(
            self.store, self._outline.tasks, self._outline.suite, cells=self._cells, **options
        )

    def write_page(self, progress: bool = True) -> Path:
        """Writes a page with everything in the store, next to the store, like the command `harness
        run`: one file to open. Returns its path.

        Raises:
            BadInput: It can't be written.
        """
        with _view(progress, "writing the page"):
            from harness.reporting.formats.page.html import write

            write(self.store.page, report(self.store).text("html"))
        return self.store.page

    @property
    def _cells(self) -> list[str]:
        return self._outline.keys

    def __repr__(self) -> str:
        methods, tasks = self._outline.variants, self._outline.tasks
        missing = f", {self.gaps} missing" if self.gaps else ""
        return (
            f"<{type(self).__name__}: {', '.join(methods)} on {', '.join(tasks)}:"
            f" {self.wanted - self.gaps} of {self.wanted} results{missing}, in {self.store.name}>"
        )


@dataclass(frozen=True, repr=False)
class Ablation(Run):
    """A run over the valid settings of a method's toggles. `print(ablation)` and a terminal's
    prompt show what each toggle is worth, and so does a notebook."""

    grid: "Grid"
    """What is on in each variant."""

    def table(self) -> "RenderableType":
        """One row per setting: means, and the difference to all toggles off with its 95 % interval;
        for rich's `Console.print`."""
        from harness.reporting.ablation import table

        return table(self.store, self.plan, self.grid)

    def __str__(self) -> str:
        from harness.text import rendered

        return rendered(self.table()).rstrip()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from harness.text import preformatted

        return preformatted(self.table())

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        yield self.table()


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
    with _view(progress) as view:
        request = _request(
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
        resources = _resources(workers, gpus_per_trial, address, trial_timeout, compile, max_hours)
        from harness.engine.events import Traces

        traces = Traces(keep_large, _path(log_json), _path(tensorboard))
        config = {
            **_as_flags(request),
            "workers": workers,
            "gpus-per-trial": gpus_per_trial,
            "address": address,
            "compile": compile,
            "keep-large": keep_large,
            "trial-timeout": trial_timeout if trial_timeout != 3600.0 else None,
            "max-hours": max_hours,
            "log-json": _text(log_json),
            "tensorboard": _text(tensorboard),
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
    with _view(progress) as view:
        from harness.planning.dry_run import preview

        return preview(_request(methods, suite, tasks, **options), view.stage)


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
    with _view(options.get("progress", True)):
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


@names_arguments()
def report(
    store: "Place | Store" = DEFAULT_STORE,
    *,
    suite: str | None = None,
    tasks: Names | None = None,
    methods: Names | None = None,
    backbone: str | None = None,
    protocol: str | None = None,
    kind: str | None = None,
    baseline: str | None = None,
    group: bool = False,
    sort: str = "mean",
    complete_only: bool = False,
    budgets: bool = False,
    columns: Names | None = None,
    published: bool = False,
) -> "Leaderboard":
    """The leaderboard of stored results.

    Args:
        store: Where results are stored: a file, or any SQLAlchemy URL.
        suite: The tasks of one suite. None: all, with one table per suite.
        tasks: Tasks, in the order to show them.
        methods: Names (`ivpt`: all its variants) or variants. None: all.
        backbone: Only rows of this backbone, `NAME` or `NAME@SIDE`. None: a table for each.
        protocol: Only rows under this protocol. None: a table for each.
        kind: `classification` or `segmentation`. None: both.
        baseline: A variant to compare the others with, e.g. `vpt-deep`.
        group: Show means of groups of tasks instead of tasks.
        sort: Order of the methods: `mean`, `rank` or `params`.
        complete_only: Only tasks on which every method has a score.
        budgets: Show trials, epochs and forward-image units.
        columns: What to show beside scores and means, such as `["params", "flops"]`; `costs`
            stands for all costs. None: `params`.
        published: Show published numbers next to measured ones.

    Returns:
        The leaderboard: text in a terminal, a table in a notebook; `to_html`, `to_latex` and
        others write it, `results` is a pandas frame.

    Raises:
        BadInput: An unknown suite; when the leaderboard is shown, also nothing stored, or an
            unknown method or order.

    Examples:
        >>> harness.report("results/harness.db", suite="mini").to_html("board.html")
    """
    from harness.planning import arguments
    from harness.reporting.filters import Setting
    from harness.store import Store
    from harness.tasks.cards import named_tasks

    return _leaderboard(
        store if isinstance(store, Store) else Store(store),
        named_tasks(suite, arguments.joined("tasks", tasks)),
        suite,
        methods=flags.methods(arguments.joined("methods", methods)),
        setting=Setting(backbone, protocol, kind),
        baseline=baseline,
        group=group,
        sort=sort,
        complete_only=complete_only,
        budgets=budgets,
        columns=columns,
        published=published,
    )


@names_arguments()
def compare(
    one: str,
    other: str,
    *,
    suite: str | None = None,
    tasks: Names | None = None,
    backbone: str | None = None,
    protocol: str | None = None,
    kind: str | None = None,
    store: Place = DEFAULT_STORE,
) -> "Comparison":
    """Says in words what may and may not be claimed about two methods.

    Args:
        one: A method with one variant in the store, or a variant.
        other: What to compare it with.
        suite: Only its tasks. None: every suite that both were run on.
        tasks: Only these tasks.
        backbone: Only rows of this backbone, `NAME` or `NAME@SIDE`.
        protocol: Only rows under this protocol.
        kind: `classification` or `segmentation`.
        store: Where results are stored.

    Returns:
        The comparison: `print` shows its sentences, `json()` has its numbers.

    Raises:
        BadInput: Nothing stored, an unknown name, the same variant twice, or never run with the
            same backbone and protocol.

    Examples:
        >>> print(harness.compare("ivpt", "vpt-deep", suite="mini"))
    """
    from harness.planning import arguments
    from harness.reporting.compare import compare as compared
    from harness.reporting.filters import Setting
    from harness.store import Store
    from harness.tasks.cards import named_tasks

    names = named_tasks(suite, arguments.joined("tasks", tasks))
    setting = Setting(backbone, protocol, kind)
    return compared(Store(store), one, other, tasks=names, suite_name=suite, setting=setting)


@names_arguments()
def fit(
    method: "str | type[Method]",
    task: str,
    *,
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    final: bool = False,
    backbone: str | None = None,
    protocol: Place | None = None,
    data_root: Place | None = None,
    cards: Place | None = None,
    pixels: str | None = None,
    image_size: int | None = None,
    normalize: str | None = None,
    precision: str | None = None,
    allow_overlap: bool = False,
    progress: bool = True,
) -> "Tuned":
    """One training run in this process, without Ray or a store: breakpoints work, and errors in the
    method's own code propagate unchanged.

    It trains on train and scores on val, like a trial of a search; so it never reads the test
    images, however often it is called while a method is being developed. With `final` it is a
    final run: the same seed and hyper-parameters give the same logits as `run`.

    Args:
        method: A name, a variant with arguments of the method and of the protocol fixed, such as
            `"vpt-deep(prompts=10, base_lr=0.5)"`, `"FILE.py:CLASS"`; or any class, even one
            in a notebook. What isn't fixed keeps the method's default; what the protocol would
            search (`base_lr`, `weight_decay`) gets the middle of its range.
        task: One task.
        params: Arguments to fix, besides those in the text.
        seed: Everything random depends on it.
        final: Train on what a final run trains on, and score on test.
        backbone: As in `run`, like the other arguments up to `allow_overlap`.
        protocol: Sets epochs, batch size and optimiser. None: that of the task's suite.
        data_root: Folder with the task's data.
        cards: Folder with your own task cards.
        pixels: As in `run`.
        image_size: As in `run`.
        normalize: As in `run`.
        precision: As in `run`.
        allow_overlap: As in `run`.
        progress: Whether to print scores during training.

    Returns:
        The tuned model on the CPU, in eval mode: `model(images)` returns logits, `model.predict`
        takes files, `model.save` saves it for `harness.load`. `model.origin` has its score and
        hyper-parameters, `model.curve` the score by epoch.

    Raises:
        BadInput: A name, an argument, data or weights can't be used.

    Examples:
        >>> model = harness.fit("vpt-deep(prompts=10, base_lr=0.5)", task="digits")
        >>> model.origin.score
    """
    _before_libraries()
    from harness.engine import single

    request = _request(
        "",
        None,
        task,
        backbone=backbone,
        protocol=protocol,
        data_root=data_root,
        cards=cards,
        pixels=pixels,
        image_size=image_size,
        normalize=normalize,
        precision=precision,
        allow_overlap=allow_overlap,
        seeds=seed,
    )
    on = "test" if final else "val"

    def show(epoch: int, epochs: int, score: float) -> None:
        if progress:
            print(f"{epoch} of {epochs}: {score:.2f} % on {on}", flush=True)

    return single.fit(method, params or {}, request, seed, final, show)


@names_arguments()
def reproduce(
    id: str,
    *,
    store: Place = DEFAULT_STORE,
    data_root: Place | None = None,
    cards: Place | None = None,
    backbone: str | None = None,
    method: str | None = None,
    export: Place | None = None,
    record: Place | None = None,
    progress: bool = True,
) -> "Reproduction":
    """Runs one stored result again, in this process.

    Args:
        id: A result's id, or a unique prefix of it.
        store: Where results are stored.
        data_root: Where the data are now. None: where they were.
        cards: Where your own task cards are now. None: where they were.
        backbone: `NAME=FILE`, if the weights have moved.
        method: `FILE.py:CLASS`, if the result is from a method of your own.
        export: A file for the new run's checkpoint.
        record: A JSON file for the comparison, to be sent to a board.
        progress: Whether to show progress.

    Returns:
        The stored result and the new one: `equal`, `within_tolerance`, `differences`; `print`
        shows them.

    Raises:
        BadInput: No such result; or data, weights, card or method have changed.

    Examples:
        >>> assert harness.reproduce(run.results["id"][0]).equal
    """
    from harness.store import Store
    from harness.store.transfer import reproduced

    result, cell = Store(store).result(id)
    if record and not flags.path(record).absolute().parent.is_dir():
        raise BadInput(f"--record {record}: there is no folder {Path(record).parent}.")
    what = f"{cell.labels['variant']} on {cell.identity['task']['name']}, seed {result.seed}"
    with _view(progress, f"running {what}, again") as _, tempfile.TemporaryDirectory() as folder:
        from harness.engine.reproduce import reproduce as again
        from harness.inference import checkpoint_files

        keep = checkpoint_files.Keep(Path(folder), large=True) if export else None
        comparison = again(result, cell, _path(data_root), _path(cards), backbone, keep, method)
        if export:
            checkpoint_file = Path(folder) / f"{result.id}.safetensors"
            checkpoint_files.export(checkpoint_file, flags.path(export))
    if record:
        reproduced.write(comparison.record(), flags.path(record))
    return comparison


@names_arguments()
def load(
    file: Place,
    backbone: "str | Backbone | None" = None,
    method: str | None = None,
    say: Callable[[str], object] = warnings.warn,
) -> "Tuned":
    """A tuned model from a file written by `harness export` or `model.save`.

    Args:
        file: The file.
        backbone: A name, `NAME=FILE`, or an already loaded one. None: the one named in the file.
        method: `FILE.py:CLASS`, required if it was tuned by a method in a file: a checkpoint never
            runs code by itself.
        say: Called with a line if that method's file has changed since.

    Returns:
        The model on the CPU, in eval mode.

    Raises:
        BadInput: File, method or backbone differs from what it was tuned with.

    Examples:
        >>> harness.load("tuned.safetensors").predict(["a.jpg"]).argmax(1)
    """
    _before_libraries()
    from harness.inference import tuned_model

    return tuned_model.load(file, backbone, method, say)


def _request(
    methods: "Methods", suite: str | None, tasks: Names | None, **options: "Unpack[PlanOptions]"
) -> "Request":
    """Checks what a parser of flags would have checked. Raises `BadInput`."""
    from harness.planning import arguments
    from harness.planning.plan import Request

    arguments.check_not_importing()
    for name in ("trials", "image_size"):
        arguments.check_least(name, options.get(name), 1, integer=True)
    return Request(
        methods=arguments.methods(methods),
        suite=suite,
        tasks=arguments.joined("tasks", tasks),
        backbone=options.get("backbone"),
        protocol=_text(options.get("protocol")),
        data_root=_path(options.get("data_root")),
        cards=_path(options.get("cards")),
        pixels=options.get("pixels"),
        image_size=options.get("image_size"),
        normalize=options.get("normalize"),
        precision=options.get("precision"),
        allow_overlap=options.get("allow_overlap", False),
        trials=options.get("trials"),
        seeds=flags.seeds(arguments.joined("seeds", options.get("seeds"))),
        hparams=_text(options.get("hparams")),
        start_from=_text(options.get("start_from")),
    )


def _as_flags(request: "Request") -> dict[str, Any]:
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


def _text(value: Place | None) -> str | None:
    return None if value is None else str(value)


def _resources(
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
            from harness.engine.run import run as fill
            from harness.engine.run import starting_ahead
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


def _leaderboard(
    store: "Store",
    tasks: Sequence[str] | None,
    suite: str | None,
    *,
    methods: Sequence[str] | None = None,
    cells: Sequence[str] | None = None,
    baseline: str | None = None,
    group: bool = False,
    budgets: bool = False,
    columns: Names | None = None,
    **shown: Any,
) -> "Leaderboard":
    """`shown`: the rest of `BoardOptions`, which are fields of a `Report` by the same names."""
    from harness.planning import arguments
    from harness.reporting.board import Leaderboard
    from harness.reporting.columns import Layout
    from harness.reporting.costs import BUDGETS, USUAL
    from harness.reporting.report import Report

    text = arguments.joined("columns", columns)
    chosen = USUAL if text is None else [name.strip() for name in text.split(",") if name.strip()]
    return Leaderboard(
        Report(
            store,
            tasks=tasks,
            methods=methods,
            suite=suite,
            cells=cells,
            layout=Layout(group, (*chosen, *(BUDGETS if budgets else ())), baseline),
            **shown,
        )
    )


@contextmanager
def _view(
    progress: bool, stage: str = "loading libraries"
) -> "Generator[ProgressView, None, None]":
    """Shows the progress of a call. Inside, `breakpoint()` has the terminal to itself."""
    from rich.console import Console

    from harness.engine.progress import ProgressView

    _before_libraries()
    with ProgressView(Console(quiet=not progress)) as view:
        view.stage(stage)
        view.pause_at_breakpoints()
        yield view


def _before_libraries() -> None:
    """Checks and settings before torch, Ray and methods are imported. Raises `BadInput`."""
    from harness.engine.notebook import ask_for_no_widgets
    from harness.planning import builtin

    builtin.check()
    ask_for_no_widgets()


def _path(value: Place | None) -> Path | None:
    return None if value is None else flags.path(value)
