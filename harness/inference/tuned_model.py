"""A tuned model that predicts, and loading one from its checkpoint."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from harness import backbones
from harness.backbones.shapes import shapes_only
from harness.data import normalization
from harness.data.batch import squares
from harness.data.decode import reason
from harness.data.images import rgb
from harness.data.preprocess import kept
from harness.errors import BadInput
from harness.inference import merging
from harness.inference.checkpoint import Origin, check, contents, metadata_of, put, read, unpacked
from harness.io.atomic import placing
from harness.planning import user_errors
from harness.planning.registry import is_ours
from harness.planning.variant import Variant
from harness.planning.variants import recorded
from harness.tasks.cards import DRAWN
from harness.text import plain
from harness.training.forward import EVAL_BATCH, Diverged, computing_in, precision, precision_of
from harness.training.heads import Model, sized
from harness.training.kinds import kind_of
from harness.training.seeds import TUNING_SEED, seeded
from harness.training.sliding import Sliding

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

    from harness.backbones.frozen import FrozenBackbone


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
            save_file(contents(self.model), file, metadata_of(self.origin))
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
    origin, tensors = read(Path(file))
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
        if is_ours(variant.method):
            with shapes_only():
                empty = _model(variant, sized(deepcopy(base.vit).to("meta"), origin.crop), origin)
            check(empty, unpacked(empty, tensors))
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


def _model(variant: Variant, vit: "FrozenBackbone", origin: Origin) -> Model:
    built = variant.build(vit, origin.arguments, normalization.of(origin.identity))
    head = kind_of(origin.task_kind.name).new_head(built, origin.classes, "kaiming_normal")
    return Model(built, head)


def opened(file: str | Path) -> Image.Image:
    """An image file in RGB. Raises `BadInput` for a file that isn't an image."""
    try:
        return rgb(Path(file))
    except Exception as error:  # Pillow raises many kinds for an invalid file
        raise BadInput(
            f"{file} is missing, or can't be decoded as an image ({reason(error)})."
        ) from error
