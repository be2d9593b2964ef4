"""BEiT and BEiT v2: attention with a bias for each pair of places, learned by how far apart they
are. Prompts, and keys that a method gives, have no place and so no bias:
`tests/harness/backbones/test_families.py`."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models.beit import Beit
from torch import Tensor

from harness.backbones.changes import is_plain
from harness.backbones.frozen import ONE_COLUMN
from harness.backbones.vit import FrozenViT


class FrozenBeit(FrozenViT):
    """A column of attention blocks with relative position biases, of their own or shared."""

    family = "beit"
    model = Beit
    carried = ONE_COLUMN - {"projections"}

    def _embedded(self, images: Tensor) -> Tensor:
        patches = self.vit.patch_embed(images)
        tokens = torch.cat([self.vit.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        if self.vit.pos_embed is not None:
            tokens = tokens + self.vit.pos_embed
        return self.vit.pos_drop(tokens)

    def _pools_prefix(self) -> bool:
        return False

    def _bias(self, index: int, rows: slice, q: Tensor, k: Tensor) -> Tensor | None:
        bias, attn = self._shared(), self.vit.blocks[index].attn
        if attn.relative_position_bias_table is not None:
            own = attn._get_rel_pos_bias()
            bias = own if bias is None else own + bias
        if bias is None:
            return None
        bias = bias[..., rows, :]
        without = k.shape[2] - bias.shape[3], q.shape[2] - bias.shape[2]
        if min(without) < 0:
            raise ValueError(
                f"block {index} needs all rows of CLS and image, in their order: its biases are of"
                f" pairs of places, and it was given {k.shape[2]} rows"
            )
        return F.pad(bias, (0, without[0], 0, without[1]))

    def _given(self, index: int, tokens: Tensor) -> dict[str, Tensor]:
        attn: Any = self.vit.blocks[index].attn
        if tokens.shape[1] != self.prefix + self.image_tokens:
            raise self._unopened(index, "timm's block has no biases for prompts")
        if getattr(attn, "q_bias", None) is not None and not is_plain(attn.qkv):
            raise self._unopened(index, "timm's block would pass over what wraps its qkv")
        shared = self._shared()
        return {} if shared is None else {"shared_rel_pos_bias": shared}

    def _shared(self) -> Tensor | None:
        """The bias that all blocks share, (1, head, row, key)."""
        shared = self.vit.rel_pos_bias
        return None if shared is None else shared()[None]
