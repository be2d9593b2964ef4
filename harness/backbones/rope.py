"""ViTs whose attention rotates queries and keys by their places: timm's `Eva`, which DINOv3,
EVA-02, the Perception Encoder and RoPE-ViT are; and EVA, which has no rotations.

Only the image has places. CLS, registers and prompts aren't rotated, and neither are keys that a
method gives: `tests/harness/backbones/test_families.py` holds that to timm's own blocks, with
prompts behind the image and a rotation by nothing there.
"""

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import Eva
from torch import Tensor

from harness.backbones.changes import is_plain
from harness.backbones.frozen import ONE_COLUMN, Pooling
from harness.backbones.vit import FrozenViT


class FrozenRope(FrozenViT):
    """A column of attention blocks that are given the image's rotations."""

    family = "rope-vit"
    model = Eva
    carried = ONE_COLUMN - {"projections"}

    def __init__(self, vit: Any, pooling: Pooling = "cls"):
        super().__init__(vit, pooling)
        if vit.rope is None:
            self.family = "eva"

    def _embedded(self, images: Tensor) -> Tensor:
        tokens, _ = self.vit._pos_embed(self.vit.patch_embed(images))
        return self.vit.norm_pre(tokens)

    def _pools_prefix(self) -> bool:
        return self.pooling == "map"

    def _placed(
        self, index: int, heads: Tensor, tokens: Tensor, rows: slice = slice(None)
    ) -> Tensor:
        table = self._rotations(index, tokens)
        if table is None:
            return heads
        half = getattr(self.vit.blocks[index].attn, "rotate_half", False)
        return apply_rot_embed_cat(heads, table[..., rows, :], half=half).type_as(heads)

    def _given(self, index: int, tokens: Tensor) -> dict[str, Tensor]:
        attn = self.vit.blocks[index].attn
        if getattr(attn, "q_bias", None) is not None and not is_plain(attn.qkv):
            raise self._unopened(index, "timm's block would pass over what wraps its qkv")
        table = self._rotations(index, tokens)
        return {} if table is None else {"rope": table[..., self.prefix :, :]}

    def _rotations(self, index: int, tokens: Tensor) -> Tensor | None:
        """Sines and cosines of block `index`, for each row of `tokens`: by its place in the image,
        by nothing before and behind it. (row, 2 * head_dim), or with the heads in front."""
        vit = self.vit
        if vit.rope is None:
            return None
        own = getattr(vit.rope, "feat_shape", None) is not None
        image: Tensor = vit.rope.get_embed() if own else vit.rope.get_embed(shape=list(self.grid))
        image = image[index] if vit.rope_mixed else image
        behind = tokens.shape[1] - self.prefix - self.image_tokens
        if behind < 0:
            raise ValueError(
                f"block {index} needs all rows of CLS, registers and image, in their order: it"
                f" rotates the image's by their places, and was given {tokens.shape[1]} rows"
            )
        sines, cosines = image.chunk(2, dim=-1)
        around = (0, 0, self.prefix, behind)
        return torch.cat([F.pad(sines, around), F.pad(cosines, around, value=1.0)], dim=-1)
