"""One model at a time, in this process: `fit`, `reproduce` and `load`."""

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.options import Place, path_of, request_of
from harness.api.progress import before_libraries, viewing
from harness.errors import BadInput, names_arguments
from harness.io import flags
from harness.io.flags import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.backbones import Backbone
    from harness.engine.reproduce import Reproduction
    from harness.inference.tuned_model import Tuned
    from harness.training.method import Method


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
    before_libraries()
    from harness.engine import single

    request = request_of(
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
    with viewing(progress, f"running {what}, again") as _, tempfile.TemporaryDirectory() as folder:
        from harness.engine.reproduce import reproduce as again
        from harness.inference import checkpoint_files

        keep = checkpoint_files.Keep(Path(folder), large=True) if export else None
        comparison = again(result, cell, path_of(data_root), path_of(cards), backbone, keep, method)
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
    before_libraries()
    from harness.inference import tuned_model

    return tuned_model.load(file, backbone, method, say)
