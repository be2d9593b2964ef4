"""Checkpoints: what a final run tuned, as safetensors with its key and provenance; and loading them
into a module that predicts."""

import json
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from harness import backbones
from harness.backbones.changes import AS_LOADED
from harness.backbones.shapes import shapes_only
from harness.data import normalization
from harness.data.batch import squares
from harness.data.decode import reason
from harness.data.images import rgb
from harness.data.preprocess import kept
from harness.errors import BadInput
from harness.inference import merging
from harness.io import commands
from harness.io.atomic import placing
from harness.planning import user_errors
from harness.planning.variants import Variant, recorded
from harness.store import Result, Store, cell_key, result_id
from harness.tasks.cards import DRAWN, LARGEST_CROP
from harness.tasks.kinds import CLASSIFICATION, KINDS, SEGMENTATION, TaskKind
from harness.text import plain
from harness.training.forward import EVAL_BATCH, Diverged, computing_in, precision, precision_of
from harness.training.heads import Model, sized
from harness.training.kinds import kind_of
from harness.training.method import method_of
from harness.training.seeds import TUNING_SEED, seeded
from harness.training.sliding import Sliding

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

    from harness.backbones.frozen import FrozenBackbone
    from harness.planning.plan import PlannedCell

FORMAT = "vpt-harness checkpoint 1"
LARGE = 32_000_000
"""Bytes above which a checkpoint is only kept on request: all weights of a ViT-B are 343 MB per
run.

SETR-PUP's main head and 100 prompts per block of a ViT-L are 27 MB.
"""
_METHOD = "method."
LEFT_OUT = "head.auxiliary."
"""Heads that are only used in training."""


@dataclass(frozen=True)
class Keep:
    """Where final runs save their checkpoints."""

    folder: Path
    large: bool = False
    """Keep those above `LARGE` too."""


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


class Tuned(nn.Module):
    """A tuned model, in eval mode: normalised images (batch, 3, size, size) -> logits (batch,
    class), as scored.

    For segmentation the logits are (batch, class, size, size), of one window; `classes_of_pixels`
    takes an image of any size.
    """

    curve: Mapping[int, float] = MappingProxyType({})
    """For a model just trained by `harness.fit`: its score, in percent, by epoch (in segmentation,
    by iteration)."""

    def __init__(self, model: nn.Module, origin: Origin, size: int):
        super().__init__()
        self.model = model
        self.origin = origin
        self.size = size
        self.statistics = normalization.of(origin.identity)

    def save(self, file: str | Path) -> Path:
        """Writes what was tuned to a file that `harness.load` reads; without the backbone.
        Raises `BadInput` if it can't be written."""
        file = Path(file)
        try:
            save_file(contents(self.model), file, _metadata(self.origin))
        except (OSError, SafetensorError) as error:
            raise BadInput(f"can't write {file} ({error}).") from error
        return file

    def forward(
        self, images: Float[Tensor, "batch 3 size size"]
    ) -> Float[Tensor, "batch class ..."]:
        return self.model(images)

    def merged(self) -> "VisionTransformer":
        """One of timm's plain ViTs that gives the same logits, with what was tuned folded into its
        weights, for the same pixels; where the head isn't linear, one that gives the features.

        Raises `BadInput` for a method that can't be folded, with the reason.
        """
        return merging.merged(self._own(), self.origin.identity["backbone"]["name"])[0]

    def save_merged(self, file: str | Path) -> str:
        """Writes the weights of `merged` to a new `.safetensors` file. Returns the line of Python
        that loads it into timm's ViT.

        Raises `BadInput` as `merged`, if there is such a file, or if it can't be written.
        """
        file = Path(file)
        if file.suffix != ".safetensors":
            raise BadInput(f"{file} must end in .safetensors, by which timm knows what it reads.")
        if file.exists():
            raise BadInput(f"{file} already exists: name another file.")
        vit, arguments = merging.merged(self._own(), self.origin.identity["backbone"]["name"])
        said = {
            "format": "pt",
            "timm": merging.call(arguments),
            "mean": json.dumps(self.statistics.mean),
            "std": json.dumps(self.statistics.std),
            "classes": json.dumps(self.origin.class_names),
            "origin": json.dumps(asdict(self.origin)),
        }
        try:
            with placing(file) as part:
                save_file(vit.state_dict(), part, said)
        except (OSError, SafetensorError) as error:
            raise BadInput(f"can't write {file} ({error}).") from error
        return merging.call(arguments, str(file))

    def _computing(self, device: torch.device) -> AbstractContextManager[None]:
        """In the arithmetic that it was trained in, on a GPU; on the CPU in float32."""
        trained = precision_of(self.origin.identity, self.origin.provenance)
        return computing_in(trained if device.type == "cuda" else "fp32")

    def _own(self) -> Model:
        model = self.model
        assert isinstance(model, Model)
        return model

    def pixels(self, image: Image.Image) -> Float[Tensor, "3 size size"]:
        """An image of any shape as the model's input: with its task's pixels, normalised."""
        pixels = self.origin.identity["task"]["pixels"]
        return squares(
            pixels,
            [kept(pixels, image, self.size)],
            self.size,
            torch.device("cpu"),
            statistics=self.statistics,
        )[0]

    def classes_of_pixels(self, image: Image.Image) -> UInt8[np.ndarray, "height width"]:
        """For segmentation: the class of each pixel of an RGB image, by sliding windows, as test
        images were scored."""
        crop = self.origin.crop
        if self.origin.task_kind.target != "mask" or crop is None:
            raise BadInput(
                f"this checkpoint is for {self.origin.task_kind.name}: it predicts per image,"
                " not per pixel."
            )
        device = next(self.model.parameters()).device
        sliding = Sliding(
            self.model,
            np.asarray(image),
            crop,
            self.size,
            self.origin.classes,
            device,
            statistics=self.statistics,
        )
        try:
            with self._computing(device):
                return sliding.classes_of_pixels()
        except Diverged as error:
            raise BadInput(f"checkpoint of result {self.origin.id}: {error}.") from error

    @torch.inference_mode()
    def predict(self, files: Sequence[str | Path]) -> Float[Tensor, "image class"]:
        """Logits of image files, in order, in float32 on the CPU. Raises `BadInput` for a file that
        isn't an image, or for segmentation."""
        if self.origin.task_kind.target == "mask":
            raise BadInput(
                f"this checkpoint is for {self.origin.task_kind.name}: it predicts a class per"
                " pixel (`classes_of_pixels`), not per image."
            )
        device = next(self.model.parameters()).device
        logits = []
        for start in range(0, len(files), EVAL_BATCH):
            images = torch.stack(
                [self.pixels(opened(file)) for file in files[start : start + EVAL_BATCH]]
            )
            with self._computing(device), precision(device):
                logits.append(self(images.to(device)).float().cpu())
        return torch.cat(logits)


def folder_of(store: Store) -> Path:
    """For a SQLite file `NAME.db`, `NAME.checkpoints` next to it; for another database,
    `results/harness.checkpoints` in the folder where the run was started."""
    return store.checkpoints


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


def save(keep: Keep, model: nn.Module, origin: Origin) -> dict[str, str]:
    """Writes `ID.safetensors` atomically. Returns a note for the result's provenance: where it is,
    or why there is none."""
    size = size_of(model)
    if size > LARGE and not keep.large:
        return {"no_checkpoint": f"{size / 1e6:.0f} MB, and --keep-large wasn't given"}
    tensors, metadata = contents(model), _metadata(origin)
    return _placed(
        keep.folder / f"{origin.id}.safetensors", lambda file: save_file(tensors, file, metadata)
    )


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


def _metadata(origin: Origin) -> dict[str, str]:
    return {"format": FORMAT, "origin": json.dumps(asdict(origin))}


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
    for path in (folder_of(store) / name, *([Path(recorded)] if recorded else [])):
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
    source = folder_of(store) / f"{result.id}.safetensors"
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
    target = folder_of(store) / f"{result.id}.safetensors"
    if target.exists() and target.read_bytes() == source.read_bytes():
        return False
    try:
        if target.exists():
            raise BadInput(f"{target} differs from {source}, and is kept.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with placing(target) as part:
            shutil.copyfile(source, part)
            origin, _ = _read(part, source)
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


def load(
    file: str | Path,
    backbone: str | backbones.Backbone | None = None,
    method: str | None = None,
    say: Callable[[str], object] = warnings.warn,
) -> Tuned:
    """A tuned model from its checkpoint, on the CPU. Raises `BadInput` if file, method or backbone
    differs from what it was tuned with.

    `backbone`: its name, NAME=FILE, or an already loaded one; by default the one named in the
    checkpoint. `method`: FILE.py:CLASS, required if it was tuned by a method in a file: a
    checkpoint never runs code by itself. `say` is called if that file has changed since.
    """
    origin, tensors = _read(Path(file))
    identity = origin.identity
    spec = backbone or origin.inputs.get("backbone") or identity["backbone"]["name"]
    base = (
        backbones.load(str(backbones.sided(spec, identity, origin.crop)))
        if isinstance(spec, str)
        else spec
    )
    side = identity["backbone"].get("side", base.size)
    if not origin.task_kind.cropped and side != base.size:
        raise BadInput(
            f"{file} was tuned on images of {side} pixels, but {base.name} was loaded for"
            f" {base.size}: load {base.name}@{side}."
        )
    if (base.sha256, base.pooling) != (
        identity["backbone"]["sha256"],
        identity["backbone"]["pooling"],
    ):
        raise BadInput(
            f"{file} was tuned on weights other than those of {base.name}: give"
            f" {identity['backbone']['name']}=FILE."
        )
    variant = recorded(origin.inputs.get("method") or identity["method"]["name"], method)
    if variant.method.version != identity["method"]["version"]:
        raise BadInput(
            f"{file} was tuned by {variant.name} version {identity['method']['version']}; this is"
            f" version {variant.method.version}."
        )
    needs, needed = variant.identity.get("packages"), identity["method"].get("packages")
    if needs != needed:
        raise BadInput(
            f"{file} was tuned with {_versions(needed)}; installed is {_versions(needs)}."
        )
    now, then = variant.identity.get("source"), identity["method"].get("source")
    if now and then and now != then:
        say(
            f"{file} was tuned by a different version of {variant.name}'s file (sha256"
            f" {then[:8]}, now {now[:8]}): its predictions may differ."
        )
    return rebuilt(str(file), variant, base, origin, tensors)


def _versions(packages: object) -> str:
    """Of an identity's packages, of which a file may say anything."""
    if not isinstance(packages, Mapping):
        return "none of its packages"
    return plain(", ".join(f"{name} {release}" for name, release in packages.items()))[:200]


def rebuilt(
    name: str,
    variant: Variant,
    base: backbones.Backbone,
    origin: Origin,
    tensors: Mapping[str, Tensor],
) -> Tuned:
    """The model with the tuned `tensors`, on the CPU. `name`: theirs in messages. Raises `BadInput`
    if they don't match the method."""
    identity = origin.identity
    unfit = BadInput(
        f"{name} doesn't match {variant.name}: its tensors differ from those that the method tunes."
    )
    try:
        # first without memory: the arguments may specify any size
        if variant.method.__module__.startswith("methods."):
            with shapes_only():
                empty = _model(variant, sized(deepcopy(base.vit).to("meta"), origin.crop), origin)
            _check(empty, unpacked(empty, tensors))
        vit = sized(base.vit, origin.crop)
        constant = variant.method.constant_features and identity["task"]["pixels"] not in DRAWN
        with seeded(TUNING_SEED if constant else origin.seed):
            # so that random parts that aren't trained, such as a fixed projection, are the same
            model = _model(variant, vit, origin)
        put(model, tensors)
    except (Exception, SystemExit) as error:
        if user_errors.place(error):  # the user's code may fail in any way
            raise BadInput(
                f"{variant.label} can't be built on {base.name}: {user_errors.line(error)}."
            ) from error
        if isinstance(error, TypeError | ValueError | RuntimeError | OverflowError):
            raise unfit from error
        raise
    return Tuned(model, origin, vit.image_size).eval()


def put(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Gives a model what a checkpoint holds. Raises `ValueError` where other tensors are tuned in
    it."""
    tensors = unpacked(model, tensors)
    _check(model, tensors)
    with torch.no_grad():
        for name, tensor in tuned_tensors(model).items():
            tensor.copy_(tensors[name])


def _model(variant: Variant, vit: "FrozenBackbone", origin: Origin) -> Model:
    built = variant.build(vit, origin.arguments, normalization.of(origin.identity))
    head = kind_of(origin.task_kind.name).new_head(built, origin.classes, "kaiming_normal")
    return Model(built, head)


def _check(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
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


def _read(file: Path, name: Path | None = None) -> tuple[Origin, dict[str, Tensor]]:
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


def opened(file: str | Path) -> Image.Image:
    """An image file in RGB. Raises `BadInput` for a file that isn't an image."""
    try:
        return rgb(Path(file))
    except Exception as error:  # Pillow raises many kinds for an invalid file
        raise BadInput(
            f"{file} is missing, or can't be decoded as an image ({reason(error)})."
        ) from error
