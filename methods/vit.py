"""The shared forward of a frozen timm Vision Transformer whose blocks take prompts.

A prompt whose output is dropped after its block acts on the image only through its key and its value. So such prompts enter a block as
extra keys and values: no query, no attention output and no MLP row is computed for them, and where they are the same for all images
their norm and projection are computed once a batch. The last block computes only the rows that the head reads. The result is that of
concatenating the prompts to the tokens and dropping their outputs; `tests/methods/test_vit.py` holds both side by side.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.attention import Attention
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from harness.errors import BadInput

Pooling = Literal["cls", "avg", "avg+prompts"]
"""How features come from tokens: CLS; the mean of the image tokens; or of these and of the prompts' outputs, as VPT does with MAE."""

COVERED = "ViT-B/L/H and smaller with weights of AugReg, the original ViT, SAM, MAE, DINO, DINOv2 (registers too), CLIP or DeiT"


@dataclass(frozen=True)
class Read:
    """What a head reads: the outputs of `blocks` (0-based, ascending), at some rows."""

    blocks: tuple[int, ...]
    rows: Literal["cls", "image", "image+prompts"]
    """The CLS row, all image rows, or these and the last block's outputs at the prompts."""


class FrozenViT(nn.Module):
    """A timm ViT in eval mode without gradients for its weights, open between its blocks.

    Tokens are ordered [CLS, registers, image, travelling prompts]. VPT writes prompts between CLS and image; attention doesn't see the
    order, since position embeddings are added before, and so every row keeps its place whether prompts are there or not.
    """

    def __init__(self, vit: VisionTransformer, pooling: Pooling = "cls"):
        super().__init__()
        foreign = _foreign(vit)
        if foreign:
            raise BadInput(f"a backbone with {foreign} is not covered. Covered are timm's plain Vision Transformers: {COVERED}.")
        self.vit = vit.requires_grad_(False).eval()
        self.pooling: Pooling = pooling
        self.depth = len(vit.blocks)
        self.dim = vit.embed_dim
        self.prefix = vit.num_prefix_tokens
        patches: PatchEmbed = vit.patch_embed  # type: ignore[assignment]
        self.image_tokens = patches.num_patches
        self.grid: tuple[int, int] = patches.grid_size  # type: ignore[assignment]
        """Image tokens down and across."""
        self.patch_size: tuple[int, int] = patches.patch_size  # type: ignore[assignment]
        self.image_size = patches.img_size[0]  # type: ignore[index]
        """Side of the square images it takes, in pixels."""
        if pooling == "cls" and vit.cls_token is None:
            raise BadInput(f"a backbone without a CLS token that pools by '{vit.global_pool}' is not covered, only by 'avg'.")

    def train(self, mode: bool = True) -> "FrozenViT":
        """Stays in eval mode: a frozen backbone's dropout and stochastic depth are off while prompts train."""
        return super().train(False)

    def at(self, side: int) -> "FrozenViT":
        """The same weights for square images of another side, rounded down to whole patches; the position embedding is resized.

        The weights are shared, not copied.
        """
        side -= side % self.patch_size[0]
        if side < 1:
            raise BadInput(f"a backbone with patches of {self.patch_size[0]} pixels can't take images that are smaller.")
        if side == self.image_size:
            return self
        other = copy.deepcopy(self.vit, {id(parameter): parameter for parameter in self.vit.parameters()})
        other.set_input_size((side, side))
        return FrozenViT(other, self.pooling)

    def read(self) -> Read:
        """What pooling needs of the last block."""
        rows: dict[Pooling, Literal["cls", "image", "image+prompts"]] = {"cls": "cls", "avg": "image", "avg+prompts": "image+prompts"}
        return Read((self.depth - 1,), rows[self.pooling])

    def embed(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch token dim"]:
        """Patches with their positions, behind CLS and register tokens: what the first block takes."""
        vit = self.vit
        return vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))

    def block(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        prompts: Float[Tensor, "prompt dim"] | Float[Tensor, "batch prompt dim"] | None = None,
        rows: slice = slice(None),
    ) -> Float[Tensor, "batch row dim"]:
        """The output of block `index` at `rows` of `tokens`; `prompts` are seen by all of them and give no output."""
        return self._block(index, tokens, prompts, rows, saliency=False)[0]

    def block_and_saliency(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        prompts: Float[Tensor, "prompt dim"] | Float[Tensor, "batch prompt dim"] | None = None,
        rows: slice = slice(None),
    ) -> tuple[Float[Tensor, "batch row dim"], Float[Tensor, "batch image"]]:
        """As `block`, and how much CLS attends to each image token: the mean over heads of its softmax over all keys, prompts included.

        No gradient flows through the second value.
        """
        out, saliency = self._block(index, tokens, prompts, rows, saliency=True)
        assert saliency is not None
        return out, saliency

    def run(
        self,
        tokens: Float[Tensor, "batch token dim"],
        read: Read,
        prompts: Sequence[Float[Tensor, "prompt dim"] | Float[Tensor, "batch prompt dim"]] | None = None,
    ) -> list[Float[Tensor, "batch row dim"]]:
        """All blocks that a head needs, one after the other, with `prompts[l]` at block l: the tokens that the head asks for."""
        asked = []
        for index in range(read.blocks[-1] + 1):
            tokens, own = self.placed(index, tokens, prompts[index] if prompts is not None else None, read)
            tokens = self.block(index, tokens, own, self.rows(index, read))
            asked += self.asked(index, tokens, read)
        return asked

    def placed(
        self, index: int, tokens: Float[Tensor, "batch token dim"], prompts: Tensor | None, read: Read
    ) -> tuple[Float[Tensor, "batch token dim"], Tensor | None]:
        """Tokens and prompts as block `index` takes them: prompts join the tokens where the head reads what the block makes of them."""
        if prompts is None or read.rows != "image+prompts" or index < read.blocks[-1]:
            return tokens, prompts
        return torch.cat([tokens, prompts.expand(len(tokens), -1, -1)], dim=1), None

    def rows(self, index: int, read: Read) -> slice:
        """The rows that block `index` must compute: all of them, but in the last block that the head reads only the head's."""
        return self._span(read.rows) if index == read.blocks[-1] else slice(None)

    def asked(self, index: int, tokens: Float[Tensor, "batch token dim"], read: Read) -> list[Float[Tensor, "batch row dim"]]:
        """What the head reads of block `index`, given its output: a list of one tensor, or of none."""
        if index not in read.blocks:
            return []
        return [tokens if index == read.blocks[-1] else tokens[:, self._span(read.rows)]]

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch dim"]:
        """The backbone's features from what `read` asked for: final norm, then CLS, or the mean of the rows."""
        normed = self.vit.norm(tokens)
        return self.vit.fc_norm(normed[:, 0] if self.pooling == "cls" else normed.mean(1))

    def _span(self, rows: Literal["cls", "image", "image+prompts"]) -> slice:
        if rows == "cls":
            return slice(0, 1)
        return slice(self.prefix, self.prefix + self.image_tokens if rows == "image" else None)

    def _block(self, index: int, tokens: Tensor, prompts: Tensor | None, rows: slice, saliency: bool) -> tuple[Tensor, Tensor | None]:
        block = self.vit.blocks[index]
        assert isinstance(block, Block)
        attn = block.attn
        assert isinstance(attn, Attention)
        normed = block.norm1(tokens)
        if prompts is None and rows == slice(None):
            q, k, v = self._project(attn, normed, 0)
        else:  # queries apart: keys and values are copied behind the prompts' below, and their first storage can then be freed
            (q,) = self._project(attn, normed[:, rows], 0, 1)
            k, v = self._project(attn, normed, 1)
        q, k = attn.q_norm(q), attn.k_norm(k)
        if prompts is not None:
            prompts = prompts if prompts.ndim == 3 else prompts[None]
            prompt_k, prompt_v = self._project(attn, block.norm1(prompts), 1)
            k = torch.cat([k, attn.k_norm(prompt_k).expand(len(k), -1, -1, -1)], dim=2)
            v = torch.cat([v, prompt_v.expand(len(v), -1, -1, -1)], dim=2)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=attn.scale)
        out = tokens[:, rows] + block.ls1(attn.proj(attn.norm(mixed.transpose(1, 2).flatten(2))))
        out = out + block.ls2(block.mlp(block.norm2(out)))
        if not saliency:
            return out, None
        with torch.no_grad():
            weights = (attn.scale * q[:, :, :1] @ k.transpose(2, 3)).softmax(-1).mean(1)
        return out, weights[:, 0, self._span("image")]

    @staticmethod
    def _project(attn: Attention, normed: Tensor, start: int, stop: int = 3) -> list[Tensor]:
        """Of (queries, keys, values), those from `start` to `stop`, each (batch, head, token, head_dim)."""
        span = slice(start * attn.attn_dim, stop * attn.attn_dim)
        bias = None if attn.qkv.bias is None else attn.qkv.bias[span]
        joint = F.linear(normed, attn.qkv.weight[span], bias)
        return list(joint.unflatten(2, (stop - start, attn.num_heads, attn.head_dim)).permute(2, 0, 3, 1, 4).unbind(0))


def _foreign(vit: nn.Module) -> str | None:
    """The first part of a backbone that this forward doesn't know, by its class; None where it knows all."""
    if not isinstance(vit, VisionTransformer):
        return type(vit).__name__
    for block in vit.blocks:
        if type(block) is not Block:
            return type(block).__name__
        if type(block.attn) is not Attention:
            return type(block.attn).__name__
        if block.attn.gate is not None:
            return "gated attention"
    return None
