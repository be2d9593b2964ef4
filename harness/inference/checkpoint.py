"""A checkpoint: what a final run tuned, as safetensors with its key and provenance."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from harness.backbones.changes import AS_LOADED
from harness.errors import BadInput
from harness.store import cell_key, result_id
from harness.tasks.cards import LARGEST_CROP
from harness.tasks.kinds import CLASSIFICATION, KINDS, SEGMENTATION, TaskKind
from harness.text import plain
from harness.training.method import method_of

if TYPE_CHECKING:
    from harness.planning.cell import PlannedCell

FORMAT = "vpt-harness checkpoint 1"
_METHOD = "method."
LEFT_OUT = "head.auxiliary."
"""Heads that are only used in training."""


@dataclass(frozen=True)
class Origin:
    """Everything needed to rebuild a tuned model, and its provenance: the metadata of its file."""

    id: str
    """The result's id in its store."""
    cell: str
    seed: int
    identity: Mapping[str, Any]
    """What the score depends on: method, task, backbone, protocol."""
    arguments: Mapping[str, Any]
    """The method's own, fixed and chosen."""
    params: Mapping[str, Any]
    """What the search chose."""
    classes: int
    class_names: tuple[str, ...]
    """In the order of the classes; empty if the task's card has none."""
    inputs: Mapping[str, Any]
    score: float
    """In percent, on test."""
    logits_sha256: str
    """Of the scored logits on test; in segmentation, of the maps."""
    provenance: Mapping[str, Any]
    crop: int | None = None
    """From the task's card, if its kind has one."""
    kind: str = ""
    """Of the task; empty in older files, where it follows from the crop."""

    @property
    def task_kind(self) -> TaskKind:
        """The kind of its task. Raises `KeyError` for an unknown one."""
        before = SEGMENTATION if self.crop is not None else CLASSIFICATION
        return KINDS[self.kind or before.name]


def tuned_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What training changes in `model`, by name: the trainable parameters, without repeats, and
    buffers that aren't the backbone's.

    Buffers of modules that a method has put into the backbone are the method's. If a method has
    stages, its own parameters that the last stage doesn't train are included. Without the heads
    that are only used in training.
    """
    modules = (
        (prefix, module)
        for prefix, module in model.named_modules()
        if AS_LOADED not in module.__dict__
    )
    buffers = {f"{prefix}.{name}" for prefix, module in modules for name in module._buffers}
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    method = method_of(model)
    staged = method is not None and method.stages > 1
    frozen = {
        id(parameter)
        for name, parameter in model.named_parameters()
        if not (staged and name.startswith("method.") and not name.startswith("method.vit."))
    } - trainable
    left_out = (LEFT_OUT, *(f"method.{name}" for name in (method.train_only if method else ())))
    tensors, seen = {}, set(frozen)
    for name, tensor in model.state_dict(keep_vars=True).items():
        backbones = (
            name.startswith("method.vit.") and id(tensor) not in trainable and name not in buffers
        )
        if id(tensor) in seen or backbones or name.startswith(left_out):
            continue
        seen.add(id(tensor))
        tensors[name] = tensor
    return tensors


def contents(model: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint of `model` holds, on the CPU."""
    return {name: one.detach().cpu().contiguous() for name, one in _packed(model).items()}


def size_of(model: nn.Module) -> int:
    """Bytes that the tensors of its checkpoint take, the metadata aside; nothing is copied."""
    return sum(tensor.nbytes for tensor in _packed(model).values())


def _packed(model: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint of `model` holds, where it is."""
    method, tensors = method_of(model), tuned_tensors(model)
    return dict(tensors) if method is None else _of_method(tensors, method.pack)


def unpacked(model: nn.Module, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of what a checkpoint holds. Raises `ValueError` where it is another model's."""
    method = method_of(model)
    return dict(kept) if method is None else _of_method(kept, method.unpack)


def _of_method(
    tensors: Mapping[str, Tensor], change: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """With the method's tensors changed, the head's as they are."""
    own = {name: tensor for name, tensor in tensors.items() if name.startswith(_METHOD)}
    changed = change({name.removeprefix(_METHOD): tensor for name, tensor in own.items()})
    return {
        **{name: tensor for name, tensor in tensors.items() if name not in own},
        **{_METHOD + name: tensor for name, tensor in changed.items()},
    }


def metadata_of(origin: Origin) -> dict[str, str]:
    return {"format": FORMAT, "origin": json.dumps(asdict(origin))}


def put(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Gives a model what a checkpoint holds. Raises `ValueError` where other tensors are tuned in
    it."""
    tensors = unpacked(model, tensors)
    check(model, tensors)
    with torch.no_grad():
        for name, tensor in tuned_tensors(model).items():
            tensor.copy_(tensors[name])


def check(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raises `ValueError` if its tuned tensors differ from these."""
    expected = tuned_tensors(model)
    if {name: tensor.shape for name, tensor in expected.items()} != {
        name: tensor.shape for name, tensor in tensors.items()
    }:
        raise ValueError("other tensors")


def origin_of(
    planned: "PlannedCell",
    seed: int,
    params: Mapping[str, Any],
    score: float,
    logits_sha256: str,
    provenance: Mapping[str, Any],
) -> Origin:
    """The origin of a finished final run's tensors."""
    return Origin(
        id=result_id(planned.key, seed),
        cell=planned.key,
        seed=seed,
        identity=planned.cell.identity,
        arguments=planned.method_arguments(params),
        params=params,
        classes=planned.card.classes,
        class_names=planned.card.class_names,
        inputs=dict(planned.inputs),
        score=score,
        logits_sha256=logits_sha256,
        provenance=dict(provenance),
        crop=planned.card.crop,
        kind=planned.card.kind,
    )


def read(file: Path, name: Path | None = None) -> tuple[Origin, dict[str, Tensor]]:
    """A file's contents; `name`: its name in messages."""
    name = name or file
    if not file.is_file():
        raise BadInput(f"there is no file {name}.")
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadInput(
            f"{name} is not a safetensors file, or is truncated ({plain(str(error))[:200]})."
        ) from error
    if metadata.get("format") != FORMAT:
        raise BadInput(
            f"{name} is not a checkpoint of this version ({FORMAT}): create one with"
            " `harness export ID FILE`."
        )
    try:
        origin = TypeAdapter(Origin).validate_json(metadata["origin"], strict=True)
        if cell_key(origin.identity) != origin.cell or not isinstance(
            origin.identity["task"]["name"], str
        ):
            raise ValueError("its key isn't the digest of its identity")
        if (origin.crop is not None) != origin.task_kind.cropped:
            raise ValueError(f"{origin.kind} with a crop of {origin.crop} pixels")
        if origin.crop is not None and not 0 < origin.crop <= LARGEST_CROP:
            raise ValueError(f"a crop of {origin.crop} pixels")
        return origin, tensors
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadInput(
            f"{name} has no record of its origin: create one with `harness export ID FILE`."
        ) from error
