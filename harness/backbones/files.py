"""A file of weights, whatever wrote it, as tensors by name. Nothing in it is run; whatever else it
holds is named in a line."""

import argparse
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.errors import BadInput
from harness.io.limits import Room, check_zip
from harness.text import first_few, plain

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = (
    "state_dict_ema",
    "model_ema",
    "teacher",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "target_encoder",
    "encoder",
    "backbone",
    "base_encoder",
    "weights",
    "params",
    "student",
)
"""Names under which people put a state dict into a file, those of the better weights first."""
DEEPEST = 6
"""Of such names in one another."""


def tensors_of(file: Path, name: str) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Tensors by name, as they are in the file; and what else is beside them at its top. Raises
    `BadInput` for backbone `name`."""

    def unreadable(what: str) -> BadInput:
        return BadInput(f"backbone {name}: {file} {what}.")

    if file.is_dir():
        inside = sorted(
            path.name
            for path in file.iterdir()
            if path.suffix in (".safetensors", ".bin", ".pth", ".pt", ".npz", ".tar")
        )
        raise unreadable(f"is a folder: give the file in it{f', as {inside[0]}' if inside else ''}")
    if not file.is_file():
        raise BadInput(f"backbone {name}: no file {file}.")
    try:
        with file.open("rb") as opened:
            start = opened.read(256)
        safetensors = _is_safetensors(file, start)
        if not safetensors and (strange := _strange(start)):
            raise unreadable(strange)
        read = _safetensors if safetensors else _reader(file)
        state, room = read(file), Room(file)
        tensors, beside = unwrapped(state)
        for value in tensors.values():  # a few bytes may be said to be repeated any number of times
            room.take(value.numel() * value.element_size())
        return tensors, beside
    except BadInput:
        raise
    except Exception as error:
        # torch, numpy, zipfile and safetensors raise many kinds for a file that isn't what it
        # should be
        raise unreadable(_reason(error)) from error


def _strange(start: bytes) -> str:
    """What a file is by how it begins, where that is surely no weights."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        return "is empty"
    if text.startswith(b"<"):
        return (
            "is a web page, not weights: what was downloaded is the server's answer that it can't"
            " be had, or a log-in"
        )
    if text.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself: get it with `git lfs pull`"
    if text.startswith((b"{", b"[")):
        return "is JSON, not weights: give the file with the tensors"
    return ""


def _is_safetensors(file: Path, start: bytes) -> bool:
    """Whether it begins with the length of a JSON header, any of whose bytes may look like text,
    and the header."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") < file.stat().st_size


def _reader(file: Path) -> Any:
    """By the content; by the name where that says nothing."""
    if zipfile.is_zipfile(file):
        check_zip(file)
        with zipfile.ZipFile(file) as archive:
            members = archive.namelist()
        if any(member.endswith("constants.pkl") for member in members):
            raise ValueError(
                "is a TorchScript archive, which is code: save the `state_dict()` of what it was"
                " made from"
            )
        return _npz if members and all(member.endswith(".npy") for member in members) else _torch
    return _safetensors if file.suffix == ".safetensors" else _torch


def _safetensors(file: Path) -> Any:
    # safetensors says PathLike of nothing
    from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

    return load_file(file)


def _npz(file: Path) -> Any:
    import numpy as np
    import torch

    with np.load(file, allow_pickle=False) as opened:
        arrays = {key: opened[key] for key in opened.files}
    return {
        key: torch.as_tensor(np.ascontiguousarray(array))
        for key, array in arrays.items()
        if array.dtype.kind in "fiub"
    }


def _torch(file: Path) -> Any:
    import torch

    # a training script's arguments: an object with attributes, no more
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(file, map_location="cpu", weights_only=True)


def unwrapped(state: Any) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """The state dict in what a file holds, through dicts in dicts; and the plain values at the
    file's top. Raises `ValueError`."""
    import torch

    if not isinstance(state, Mapping):
        raise ValueError(f"holds {_kind(state)}, not tensors by name: save a `state_dict()`")
    held = cast("Mapping[Any, Any]", state)
    top = {str(key): value for key, value in held.items() if isinstance(value, str | int | float)}
    for _ in range(DEEPEST):
        inner = next(
            (held[key] for key in WRAPPERS if isinstance(held.get(key), Mapping) and held[key]),
            None,
        )
        if inner is None:
            break
        held = inner
    tensors = {str(key): value for key, value in held.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ValueError(f"holds no tensors by name, but {listed(held) or 'nothing'}")
    return tensors, top


def _kind(value: Any) -> str:
    import torch

    return "one tensor" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


def listed(names: Any, most: int = 5) -> str:
    """The first of many names, for a message."""
    return first_few([plain(str(name))[:60] for name in names], most)


def _reason(error: Exception) -> str:
    """What went wrong in a few words, without advice to read it in a way that runs code."""
    text = re.sub(r"\s+", " ", re.sub(r"\x1b\[\d*m", "", str(error))).strip()
    if called := re.search(r"GLOBAL ([\w.]+)", text):
        kind = called.group(1).rpartition(".")[2]
        return (
            f"holds Python objects ({plain(kind)[:60]}), not tensors alone; reading them would run"
            " code: save a `state_dict()`"
        )
    if "allow_pickle" in text:
        return "holds Python objects, not arrays alone; reading them would run code"
    if isinstance(error, ValueError) and text.startswith(("holds ", "is ")):
        return text.rstrip(".")
    if (
        "weights_only" in text
        or "Weights only" in text
        or type(error).__name__ == "UnpicklingError"
    ):
        return (
            "is no file of weights: neither torch.save, nor safetensors, nor NumPy wrote it, or it"
            " is damaged"
        )
    if isinstance(error, json.JSONDecodeError | EOFError | zipfile.BadZipFile):
        return "is cut short or damaged"
    return f"doesn't hold its weights, or is damaged ({plain(text)[:160].rstrip('.')})"
