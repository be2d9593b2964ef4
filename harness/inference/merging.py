"""A tuned model as one of timm's plain ViTs, where its method folds into the backbone's weights."""

from copy import deepcopy
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness import backbones
from harness.backbones.frozen import FrozenBackbone, is_convnet, side_of
from harness.backbones.names import ELSEWHERE
from harness.backbones.shapes import shapes_only
from harness.errors import BadInput
from harness.planning import user_errors
from harness.training.heads import LinearHead, Model

CLOSE = 1e-3
"""Of the largest value: by how much outputs may differ after folding, by rounding."""
EPS = 1e-6
"""Of VPT's norm behind MAE's mean."""


def merged(model: Model, name: str) -> tuple[VisionTransformer, dict[str, Any]]:
    """The ViT with the tuned weights, in eval mode on the CPU, and what `timm.create_model` takes
    to build it: with a head if the model's is linear, else without.

    `name`: the backbone's. Raises `BadInput` if the method can't be merged, or if the ViT's outputs
    would differ.
    """
    model = deepcopy(model).cpu().float().eval()
    frozen, linear = model.method.vit, isinstance(model.head, LinearHead)
    images = torch.randn(2, 3, frozen.image_size, frozen.image_size)
    with torch.no_grad():
        before = _outputs(model, images)
        try:
            model.method.merge()
        except ValueError as error:
            raise BadInput(f"{user_errors.line(error)}.") from error
    tensors = _tensors(frozen)
    if isinstance(model.head, LinearHead):
        place = getattr(frozen.vit, "pretrained_cfg", {}).get("classifier", "head")
        tensors[f"{place}.weight"] = model.head.linear.weight
        tensors[f"{place}.bias"] = model.head.linear.bias
    arguments = _arguments(name, frozen, model.head.classes if linear else 0)
    vit: Any = timm.create_model(**arguments).eval()
    expected = {key: value.shape for key, value in vit.state_dict().items()}
    if expected != {key: value.shape for key, value in tensors.items()}:
        odd = sorted(set(expected) ^ set(tensors)) or [
            key for key, shape in expected.items() if tensors[key].shape != shape
        ]
        raise BadInput(
            f"{model.method.name} can't be merged: {odd[0]} isn't what timm's"
            f" {arguments['model_name']} has."
        )
    vit.load_state_dict(tensors)
    with torch.no_grad():
        difference = (vit(images) - before).abs().max().item() / before.abs().max().item()
    if not difference < CLOSE:
        raise BadInput(
            f"{model.method.name} can't be merged: merge() changes the outputs by"
            f" {difference:.2g} of the largest."
        )
    return vit, arguments


def call(arguments: dict[str, Any], file: str = "") -> str:
    """The line that builds the ViT, from a file of its weights where one is given."""
    shown = [repr(arguments["model_name"])]
    shown += [f"{key}={value!r}" for key, value in arguments.items() if key != "model_name"]
    shown += [f"checkpoint_path={file!r}"] if file else []
    return f"timm.create_model({', '.join(shown)})"


def _outputs(model: Model, images: Tensor) -> Tensor:
    """Logits of a linear head; of another, the backbone's features."""
    if isinstance(model.head, LinearHead):
        return model(images)
    frozen = model.method.vit
    (tokens,) = model.method(images, frozen.read())
    return model.method.pool(tokens)


def _tensors(frozen: FrozenBackbone) -> dict[str, Tensor]:
    """Of a merged backbone, by timm's names. VPT's norm behind MAE's mean has no weights: it is
    timm's `fc_norm` with weights of one, in place of the checkpoint's norm."""
    tensors: dict[str, Tensor] = dict(frozen.vit.state_dict())
    if frozen.pooling != "vpt-mae":
        return tensors
    tensors = {key: value for key, value in tensors.items() if not key.startswith("norm.")}
    return tensors | {
        "fc_norm.weight": torch.ones(frozen.dim),
        "fc_norm.bias": torch.zeros(frozen.dim),
    }


def _arguments(name: str, frozen: FrozenBackbone, classes: int) -> dict[str, Any]:
    if name in (cards := backbones.shipped()):
        model, shape = cards[name].model, cards[name].architecture
    else:
        model, shape = name.partition(".")[0] if name in ELSEWHERE else name, dict[str, Any]()
    arguments: dict[str, Any] = {"model_name": model, **shape, "num_classes": classes}
    if frozen.pooling == "vpt-mae":
        arguments["global_pool"] = "avg"
    with shapes_only():
        plain: Any = timm.create_model(**arguments)
    if not is_convnet(plain) and side_of(plain) != frozen.image_size:
        arguments["img_size"] = frozen.image_size
        if stages := getattr(frozen.vit, "layers", None):
            arguments["window_size"] = [tuple(stage.blocks[0].window_size) for stage in stages]
    return arguments
