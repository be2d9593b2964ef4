"""The checkpoints beside a store: where they are, and copies of them."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from harness.errors import BadInput
from harness.inference.checkpoint import Origin, contents, metadata_of, read, size_of
from harness.io import commands
from harness.io.atomic import placing
from harness.store import Result, Store, cell_key

LARGE = 32_000_000
"""Bytes above which a checkpoint is only kept on request: all weights of a ViT-B are 343 MB per
run.

SETR-PUP's main head and 100 prompts per block of a ViT-L are 27 MB.
"""


@dataclass(frozen=True)
class Keep:
    """Where final runs save their checkpoints."""

    folder: Path
    large: bool = False
    """Keep those above `LARGE` too."""


def save(keep: Keep, model: nn.Module, origin: Origin) -> dict[str, str]:
    """Writes `ID.safetensors` atomically. Returns a note for the result's provenance: where it is,
    or why there is none."""
    size = size_of(model)
    if size > LARGE and not keep.large:
        return {"no_checkpoint": f"{size / 1e6:.0f} MB, and --keep-large wasn't given"}
    tensors, metadata = contents(model), metadata_of(origin)
    return _placed(
        keep.folder / f"{origin.id}.safetensors", lambda file: save_file(tensors, file, metadata)
    )


def receive(keep: Keep, name: str, data: bytes) -> dict[str, str]:
    """Like `save`, for a file sent by a worker on another machine."""
    return _placed(keep.folder / name, lambda file: file.write_bytes(data))


def _placed(path: Path, write: Callable[[Path], Any]) -> dict[str, str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with placing(path) as part:
            write(part)
    except (OSError, SafetensorError) as error:  # a full disk: the score is valid anyway
        return {"no_checkpoint": f"{path} couldn't be written: {error}"}
    return {"checkpoint": str(path)}


def find(store: Store, result: Result) -> Path:
    """The checkpoint of a result. Raises `BadInput` if there is none."""
    recorded, name = result.provenance.get("checkpoint"), f"{result.id}.safetensors"
    for path in (store.checkpoints / name, *([Path(recorded)] if recorded else [])):
        # an imported row may name any file on this machine
        if path.name == name and path.is_file():
            return path
    reason = result.provenance.get("no_checkpoint") or (
        f"{recorded} is gone" if recorded else "it was run without one"
    )
    again = commands.again(store, result, "--export", name)
    raise BadInput(
        f"result {result.id} has no checkpoint ({reason}): `{again}` retrains and saves it."
    )


def export(source: Path, file: Path) -> None:
    """Copies a checkpoint. Raises `BadInput` if `file` exists and differs, or can't be written."""
    if file.exists() and (not file.is_file() or file.read_bytes() != source.read_bytes()):
        raise BadInput(f"{file} already exists, with other contents: name another file.")
    try:
        with placing(file) as part:
            shutil.copyfile(source, part)
    except OSError as error:
        raise BadInput(f"can't write {file} ({error.strerror}).") from error


def give(store: Store, result: Result, folder: Path) -> bool:
    """Copies a result's checkpoint to a folder; False if it has none. Raises `BadInput` if it can't
    be copied."""
    source = store.checkpoints / f"{result.id}.safetensors"
    if not source.is_file():
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"can't create the folder {folder} ({error.strerror}).") from error
    export(source, folder / source.name)
    return True


def adopt(source: Path, store: Store, result: Result) -> bool:
    """Copies another store's checkpoint of `result` to where `find` looks for it; False if it is
    already there.

    Only data are read, no model is built. Raises `BadInput` for a file that isn't the result's
    checkpoint, or if there is a different one.
    """
    target = store.checkpoints / f"{result.id}.safetensors"
    if target.exists() and target.read_bytes() == source.read_bytes():
        return False
    try:
        if target.exists():
            raise BadInput(f"{target} differs from {source}, and is kept.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with placing(target) as part:
            shutil.copyfile(source, part)
            origin, _ = read(part, source)
            stated = (
                origin.id,
                origin.cell,
                origin.seed,
                origin.logits_sha256,
                cell_key(origin.identity),
            )
            if stated != (result.id, result.cell, result.seed, result.logits_sha256, result.cell):
                raise BadInput(f"{source} isn't the checkpoint of result {result.id}: not copied.")
    except OSError as error:
        raise BadInput(f"can't copy {source} to {target} ({error.strerror}).") from error
    return True
