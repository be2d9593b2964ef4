"""A method under test: on tiny backbones with random weights, and on made-up images."""

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from timm.models.convnext import ConvNeXt
from timm.models.resnet import Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones import families
from harness.backbones.frozen import FrozenBackbone, resize
from harness.engine.method_checks.listening import watched
from harness.io.commands import near
from harness.planning import declaration
from harness.planning.variant import Variant
from harness.training.classification import Classification, ClassificationRecipe
from harness.training.heads import LinearHead, Model
from harness.training.hooks import Hooks
from harness.training.loop import fit, train_split
from harness.training.method import Method
from harness.training.seeds import seeded

CLASSES, TRAIN, HELD_OUT, BATCH, PART = 3, 12, 7, 6, 4
SIDE = 32
VITS: dict[str, dict[str, Any]] = {
    "CLS": {},
    "mean-pooled": {"global_pool": "avg", "class_token": False},
    "registers": {"reg_tokens": 2, "no_embed_class": True, "init_values": 0.5},
}
"""By what their features are read from."""
CONVNETS = ("ConvNeXt", "ResNet")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Images:
    """A toy split: noise around a level a class."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        return self.images[index].to(device), self.labels[index].to(device)

    def still(self) -> "Images":
        return self


def made_up(images: int, seed: int) -> Images:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % CLASSES
    levels = torch.tensor([[-1.0, 0.0, 1.0], [1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])[labels]
    noise = 0.5 * torch.randn(images, 3, SIDE, SIDE, generator=rng)
    return Images(noise + levels[:, :, None, None], labels)


def tiny(name: str) -> FrozenBackbone:
    """A ViT of four blocks, with 16 image tokens of 48 values; or a ConvNet of five."""
    with seeded(0), torch.no_grad():
        net = _network(name).eval()
        resize(net, SIDE)
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return families.frozen(net)


def _network(name: str) -> nn.Module:
    block: Any = Bottleneck
    if name == "ConvNeXt":
        dims = (16, 16, 32, 48)
        return ConvNeXt(depths=(1, 1, 2, 1), dims=dims, num_classes=0, ls_init_value=0.5)
    if name == "ResNet":
        return ResNet(block, (1, 2, 1, 1), channels=(8, 8, 8, 16), num_classes=0)
    return VisionTransformer(
        img_size=SIDE,
        patch_size=8,
        embed_dim=48,
        depth=4,
        num_heads=3,
        mlp_ratio=2,
        num_classes=0,
        **VITS[name],
    )


class Subject:
    """A method under test, and what several checks read."""

    def __init__(self, variant: Variant, backbone: FrozenBackbone | None, seed: int):
        self.variant, self.backbone, self.seed = variant, backbone, seed
        self.method = variant.method
        needs: tuple[str, ...] = getattr(self.method, "needs", ())
        self.vits = {name: tiny(name) for name in (CONVNETS if "convolutions" in needs else VITS)}
        self.refused: dict[str, str] = {}
        """Backbones that the method can't be built on, with its reason."""
        self.names = set[str]()
        """Of its parameters, with any arguments that were tried."""
        self.train, self.held_out = made_up(TRAIN, 1), made_up(HELD_OUT, 2)
        self.kind = Classification()

    def place(self, *names: str) -> str:
        """Where the method's module has the first of these, or else its forward, its constructor or
        any function of the class: `mine.py:12, in forward`."""
        own = [base for base in self.method.__mro__ if base.__module__ == self.method.__module__]
        for name in (*names, "forward", "__init__", *vars(self.method)):
            for base in own:
                found: Any = vars(base).get(name)
                found = getattr(found, "fget", getattr(found, "__func__", found))
                code = getattr(inspect.unwrap(found) if callable(found) else None, "__code__", None)
                if code is not None:
                    return f"{near(code.co_filename)}:{code.co_firstlineno}, in {name}"
        return self.variant.origin

    @property
    def arguments(self) -> dict[str, Any]:
        known = declaration.own_arguments(self.method)
        return {name: value for name, value in self.variant.arguments.items() if name in known}

    def build(self, vit: FrozenBackbone, **more: Any) -> Method:
        return self.variant.build(vit, {**self.arguments, **more})

    @property
    def plain(self) -> FrozenBackbone:
        """The first tiny backbone that the method can be built on."""
        return next(vit for name, vit in self.vits.items() if name not in self.refused)

    @property
    def recipe(self) -> ClassificationRecipe:
        optimizer = self.method.optimizer.get("optimizer", "sgd")
        lr = 0.1 if optimizer == "sgd" else 0.002
        return ClassificationRecipe(
            optimizer=optimizer,
            base_lr=lr * 256 / BATCH,
            weight_decay=1e-4,
            batch_size=BATCH,
            epochs=2,
            warmup_epochs=0,
        )

    def model(self) -> Model:
        method = self.build(self.plain)
        return Model(method, LinearHead(method, CLASSES))

    def hooks(self, model: Model) -> Hooks:
        return Hooks(
            model,
            lambda: train_split(self.kind, model, self.train, self.recipe, self.seed, CPU),
        )

    @cached_property
    def before_steps(self) -> Model:
        """After `begin`: to be copied."""
        model = self.model()
        self.hooks(model).begin()
        return model

    def begun(self) -> Model:
        return copy.deepcopy(self.before_steps)

    def fitted(
        self, held_out: Images | None = None, files: list[str] | None = None
    ) -> tuple[Model, float]:
        """Two epochs by the engine; also the units that it spent. `files` gets those that `begin`
        and `advance` read."""
        built: list[Model] = []

        def build() -> Model:
            model = self.model()
            if files is not None:
                model.method.begin = watched(model.method.begin, files)
                model.method.advance = watched(model.method.advance, files)
            built.append(model)
            return model

        held_out = held_out or self.held_out
        *_, score = fit(self.kind, build, self.train, held_out, self.recipe, self.seed, CPU, ())
        return built[0].eval(), score.units

    @cached_property
    def trained(self) -> tuple[Model, float]:
        return self.fitted()

    def logits(self, model: Model, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return model.eval()(images)


CLOSE = 1e-3
"""Of the largest value: what may come of another order of sums in float32."""


def largest_difference(
    one: Mapping[str, Tensor], other: Mapping[str, Tensor]
) -> tuple[str, float] | None:
    """A tensor in which two sets of gradients differ by more than rounding, and by how much of the
    largest value."""
    least = CLOSE * max((float(tensor.abs().max()) for tensor in one.values()), default=0.0)
    for name, tensor in one.items():
        largest = max(float(tensor.abs().max()), least, 1e-30)
        by = float((tensor - other[name]).abs().max()) / largest if name in other else 1.0
        if by > CLOSE:
            return name.removeprefix("method."), by
    return None
