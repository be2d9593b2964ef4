"""The forward of a frozen timm ConvNeXt or ResNet: timm's own, block by block.

A ConvNet has no tokens that prompts could join and no attention that they could change: methods of
that kind are refused by name. What runs is what changes pixels, weights or maps: as VPT's second
table of backbones has it for ConvNeXt-B and ResNet-50 (Jia et al., ECCV 2022, arXiv 2203.12119).

Batch norms keep the mean and variance that they came with, whatever is tuned: they are computed in
eval mode, as all that a backbone came with is. So what is predicted for an image never depends on
its batch, and `full` and `ln-tuning` train a batch norm's weight and bias alone.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from timm.models.convnext import ConvNeXt, ConvNeXtBlock
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from harness.backbones.carried import Uncarried
from harness.backbones.frozen import (
    FrozenBackbone,
    KeysValues,
    Pooling,
    Rows,
    patch_of,
    side_of,
)
from harness.errors import BadInput


class FrozenCNN(FrozenBackbone):
    """A timm ConvNet in eval mode without gradients for its weights, open between its residual
    blocks.

    Its rows are the places of a map, line by line; `widths` says by block how many channels they
    have. `grid`, `image_tokens` and `dim` are those of the last map, `patch_size` is its stride,
    and `depth` the number of residual blocks. Rows never have the last norm: that is in `pool`.
    """

    model: type[nn.Module]
    kinds: tuple[type[nn.Module], ...]
    """Of its blocks."""
    branches = ("drop_path",)

    def __init__(self, vit: Any, pooling: Pooling = "avg"):
        if foreign := self._foreign_part(vit):
            raise BadInput(f"a backbone with {foreign} is not covered.")
        super().__init__(vit, pooling)
        self.carries = frozenset({"operations", "convolutions"})
        stages: list[dict[str, Any]] = vit.feature_info[-4:]
        self._places = [
            (stage, number)
            for stage, (_, blocks) in enumerate(self._stages(vit))
            for number in range(len(blocks))
        ]
        self.widths = tuple(stages[stage]["num_chs"] for stage, _ in self._places)
        self.dim, self.prefix = self.widths[-1], 0
        self.patch_size, self.image_size = (patch_of(vit), patch_of(vit)), side_of(vit)
        places = self.image_size // self.patch_size[0]
        self.grid, self.image_tokens = (places, places), places**2

    @property
    def blocks(self) -> list[Any]:
        return [block for _, blocks in self._stages(self.vit) for block in blocks]

    def embed(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch place dim"]:
        """The places of the stem's map."""
        self.check()
        self.embedded += len(images)
        return _rows(self._stem(images))

    def block(
        self,
        index: int,
        tokens: Float[Tensor, "batch place dim"],
        prompts: Tensor | None = None,
        rows: slice = slice(None),
        kv: KeysValues | None = None,
        temperature: Float[Tensor, ""] | None = None,
    ) -> Float[Tensor, "batch row width"]:
        """The output of residual block `index`, behind its stage's downsampling where it is the
        first of a stage that has one. Raises `Uncarried` for prompts, keys and values, and a
        temperature."""
        if prompts is not None or kv is not None or temperature is not None:
            raise Uncarried(
                f"{self.name} is a ConvNet: it takes no prompts, keys and values, or temperature"
            )
        stage, number = self._places[index]
        before, blocks = self._stages(self.vit)[stage]
        x = _map(tokens)
        if number == 0 and before is not None:
            x = before(x)
        return _rows(blocks[number](x))[:, rows]

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch dim"]:
        """As timm: of the mean of the map, with the last norm, where there is one."""
        return self.vit.forward_head(_map(tokens), pre_logits=True)

    def check(self) -> None:
        super().check()
        self._check_containers("a block, a downsampling or a part of one")

    def _span(self, rows: Rows) -> slice:
        if rows == "cls":
            raise ValueError("a ConvNet has no CLS token to read")
        return slice(None)

    @classmethod
    def _foreign_part(cls, vit: Any) -> str | None:
        """The first part of a timm model that this forward doesn't know, for a message."""
        if vit.__class__ is not cls.model:
            return vit.__class__.__name__
        blocks = [block for _, blocks in cls._stages(vit) for block in blocks]
        if other := next((block for block in blocks if type(block) not in cls.kinds), None):
            return type(other).__name__
        if vit.head_hidden_size != vit.num_features:
            return "features from an MLP behind its pooling"
        pooled: Any = getattr(vit, "global_pool", None) or vit.head.global_pool
        return None if pooled.pool_type == "avg" else f"pooling by '{pooled.pool_type}'"

    def _stem(self, images: Tensor) -> Tensor:
        """The map that the first block is given."""
        raise NotImplementedError

    @staticmethod
    def _stages(vit: Any) -> list[tuple[nn.Module | None, Any]]:
        """What each of the four stages does before its first block, or None; and its blocks."""
        raise NotImplementedError


class FrozenConvNeXt(FrozenCNN):
    family, model, kinds = "convnext", ConvNeXt, (ConvNeXtBlock,)

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch dim"]:
        return self.vit.forward_head(self.vit.norm_pre(_map(tokens)), pre_logits=True)

    def _stem(self, images: Tensor) -> Tensor:
        return self.vit.stem(images)

    @staticmethod
    def _stages(vit: Any) -> list[tuple[nn.Module | None, Any]]:
        return [(stage.downsample, stage.blocks) for stage in vit.stages]

    def _uncalled(self) -> dict[str, nn.Module]:
        uncalled: dict[str, nn.Module] = {"vit": self.vit, "vit.stages": self.vit.stages}
        for number, stage in enumerate(self.vit.stages):
            place = f"vit.stages.{number}"
            uncalled |= {place: stage, f"{place}.blocks": stage.blocks}
        return uncalled


class FrozenResNet(FrozenCNN):
    family, model, kinds = "resnet", ResNet, (BasicBlock, Bottleneck)

    def _stem(self, images: Tensor) -> Tensor:
        vit = self.vit
        return vit.maxpool(vit.act1(vit.bn1(vit.conv1(images))))

    @staticmethod
    def _stages(vit: Any) -> list[tuple[nn.Module | None, Any]]:
        return [(None, blocks) for blocks in (vit.layer1, vit.layer2, vit.layer3, vit.layer4)]

    def _uncalled(self) -> dict[str, nn.Module]:
        layers: dict[str, nn.Module] = {
            f"vit.layer{number}": blocks
            for number, (_, blocks) in enumerate(self._stages(self.vit), 1)
        }
        return {"vit": self.vit, **layers}


def _rows(x: Float[Tensor, "batch dim height width"]) -> Float[Tensor, "batch place dim"]:
    return x.flatten(2).transpose(1, 2)


def _map(rows: Float[Tensor, "batch place dim"]) -> Float[Tensor, "batch dim height width"]:
    side = math.isqrt(rows.shape[1])
    return torch.unflatten(rows.transpose(1, 2), 2, (side, side))
