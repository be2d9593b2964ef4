"""The forward of a frozen timm Swin Transformer whose blocks take prompts, as Jia et al., ECCV
2022, arXiv 2203.12119, give them to Swin.

In every window of a block, shifted or not, prompts see the window's tokens and are seen by them,
with a relative position bias of zero and no mask. Prompts that a block is given are as wide as its
stage, and what it makes of them is dropped: so, as in `vit.py`, they enter as keys and values
alone, projected once and not in every window, without queries and MLP. Prompts that travel are rows
behind the image's. They ask in every window too, and attention adds to each the mean of what it
gives in all windows of the image. Where patches are merged, a prompt is merged as four neighbours
that are all like it.

The features are the mean of all rows that the last block gives, after the backbone's norm: the
image's, and those of the prompts that travelled or that the last block was given. Without prompts
that is timm's. All this is as in VPT's released code (KMnP/vpt, commit 4410440), and equal to it on
the same weights, logits and gradients; but for what that does where

    shallow  an image has several windows and a batch several images: window w of image i there is
             given the travelling prompts of image (i * windows + w) mod batch, so that features
             depend on what else is in the batch. Ours are those of a batch of one.
    deep     prompts have dropout: those of all blocks but the first there have one mask a batch.
             Ours have one an image, as in VPT's code for ViTs.

A block in which a method has changed a part is computed in timm's order with the prompts in every
window, and each part is called: slower and never ignored. Where a block or its attention was
replaced or hooked as a whole, timm's block is called, which takes no prompts: they are refused.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.mlp import Mlp
from timm.layers.patch_embed import PatchEmbed
from timm.models.swin_transformer import (
    PatchMerging,
    SwinTransformer,
    SwinTransformerBlock,
    SwinTransformerStage,
    WindowAttention,
    window_partition,
    window_reverse,
)
from timm.models.swin_transformer_v2 import PatchMerging as PatchMergingV2
from timm.models.swin_transformer_v2 import (
    SwinTransformerV2,
    SwinTransformerV2Block,
    SwinTransformerV2Stage,
)
from timm.models.swin_transformer_v2 import WindowAttention as WindowAttentionV2
from torch import Tensor, nn

from harness.backbones.changes import (
    described,
    forwards,
    is_as_loaded,
    is_plain,
    parts_act_on_each_token,
    refuse_replaced,
)
from harness.backbones.frozen import FrozenBackbone, KeysValues, Pooling, Read, Rows, behind
from harness.backbones.products import fed, linear, mapped
from harness.errors import BadInput

ORIGINAL = forwards(
    *(SwinTransformer, SwinTransformerStage, SwinTransformerBlock, WindowAttention, PatchMerging),
    *(SwinTransformerV2, SwinTransformerV2Stage, SwinTransformerV2Block, WindowAttentionV2),
    *(PatchMergingV2, Mlp, PatchEmbed, nn.Linear, nn.LayerNorm),
)
"""The classes that a Swin is made of, as they were when this module was imported: before any
method's file was."""
PAIRS: dict[type[nn.Module], type[nn.Module]] = {
    SwinTransformerBlock: WindowAttention,
    SwinTransformerV2Block: WindowAttentionV2,
}
"""Blocks and the attention that each has."""

LARGEST_LOGIT_SCALE = math.log(100)
"""V2's bound of what cosines are multiplied by."""


class FrozenSwin(FrozenBackbone):
    """A timm Swin Transformer, or Swin Transformer V2, in eval mode without gradients for its
    weights, open between its blocks.

    Tokens are ordered [image, travelling prompts]; there is no CLS. `widths` and `grids` say by
    block how wide its rows are, and how many are the image's down and across: a block that is the
    first of its stage takes the rows of the stage before, and merges them. `grid`, `image_tokens`
    and `dim` are those of the last stage, `depth` is the number of blocks, and `vit` timm's own
    model, with its `layers`. Rows never have the last norm: that is in `pool`.

    At another side, as in timm, windows keep their share of the image, rounded down; of a grid that
    isn't a multiple of its windows, the last ones are filled up with zeros, which are seen.

    V2's attention is of cosines, and its norms stand behind attention and MLP. Prompts are given as
    in the first version, and the mean over windows is taken before the norm; nobody has published
    prompts for it. Keys and values of a method's own can't join cosines as they are.
    """

    family = "swin"
    model = (SwinTransformer, SwinTransformerV2)

    grids: tuple[tuple[int, int], ...]
    """Image tokens down and across that each block gives."""

    def __init__(self, vit: Any, pooling: Pooling = "avg+prompts"):
        foreign = _foreign_part(vit)
        if foreign:
            raise BadInput(
                f"a backbone with {foreign} is not covered. Covered are timm's Swin Transformer and"
                " Swin Transformer V2."
            )
        if pooling != "avg+prompts" or vit.global_pool != "avg":
            raise BadInput(
                f"a Swin Transformer that pools by '{vit.global_pool}' is not covered, only by"
                " 'avg'."
            )
        super().__init__(vit, pooling)
        self.carries = frozenset({"prompts", "linear maps", "operations"})
        if isinstance(vit, SwinTransformer):
            self.carries |= {"kv"}
        stages: list[Any] = [stage for stage in self.vit.layers for _ in stage.blocks]
        self.widths = tuple(block.dim for block in self.blocks)
        self.grids = tuple(stage.output_resolution for stage in stages)
        self.dim, self.grid, self.prefix = self.widths[-1], self.grids[-1], 0
        self.image_tokens = math.prod(self.grid)
        patches: Any = vit.patch_embed
        self.patch_size, self.image_size = patches.patch_size, patches.img_size[0]
        for module in vit.modules():
            if isinstance(module, WindowAttentionV2):
                # else timm reads the weight of its qkv, and doesn't call it
                module.qkv_bias_separate = True

    @property
    def blocks(self) -> list[Any]:
        return [block for stage in self.vit.layers for block in stage.blocks]

    def embed(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch token dim"]:
        self.check()
        self.embedded += len(images)
        return self.vit.patch_embed(images).flatten(1, 2)

    def block(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        prompts: Float[Tensor, "prompt width"] | Float[Tensor, "batch prompt width"] | None = None,
        rows: slice = slice(None),
        kv: KeysValues | None = None,
        temperature: Float[Tensor, ""] | None = None,
    ) -> Float[Tensor, "batch row width"]:
        """The output of block `index` at `rows` of `tokens`, which are merged before it where it is
        the first of its stage. `prompts` are seen in all windows and give no output.

        `kv`: keys and values that join those of every window as they are, without norm and
        projection.
        """
        if temperature is not None or (kv is not None and "kv" not in self.carries):
            raise ValueError(
                "a Swin Transformer takes no temperature, and of V2 none of keys and values either"
            )
        block: Any = self.blocks[index]
        tokens = self._merged(index, tokens)
        image = math.prod(self.grids[index])
        if rows == slice(0, image) and tokens.shape[1] > image:
            # what travels ends here: it is seen, and nothing is made of it
            tokens, ending = tokens[:, :image], tokens[:, image:]
            prompts = behind(ending, prompts)
        if _is_open(block, travelling=tokens.shape[1] > image):
            return self._open(index, tokens, prompts, kv)[:, rows]
        if kv is not None:
            raise ValueError(f"block {index} was changed: keys and values can't be given it")
        return self._closed(index, tokens, prompts)[:, rows]

    def place(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        prompts: Tensor | None,
        read: Read,
    ) -> tuple[Float[Tensor, "batch row width"], Tensor | None]:
        """Tokens and prompts as block `index` takes them: merged where a stage begins; and prompts
        join the tokens where the head reads what the block makes of them."""
        return super().place(index, self._merged(index, tokens), prompts, read)

    def rows(self, index: int, read: Read) -> slice:
        return self._image(index, read.rows) if index == read.blocks[-1] else slice(None)

    def select(
        self, index: int, tokens: Float[Tensor, "batch token dim"], read: Read
    ) -> list[Float[Tensor, "batch row dim"]]:
        if index not in read.blocks:
            return []
        return [tokens if index == read.blocks[-1] else tokens[:, self._image(index, read.rows)]]

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch dim"]:
        return self.vit.norm(tokens).mean(1)

    def check(self) -> None:
        super().check()
        self._check_containers("a block, a stage's downsample or a part of one")
        self._check_norms("norm")

    def _uncalled(self) -> dict[str, nn.Module]:
        uncalled: dict[str, nn.Module] = {"vit": self.vit, "vit.layers": self.vit.layers}
        for number, stage in enumerate(self.vit.layers):
            uncalled |= {
                f"vit.layers.{number}": stage,
                f"vit.layers.{number}.blocks": stage.blocks,
            }
        return uncalled

    def _image(self, index: int, rows: Rows) -> slice:
        if rows == "cls":
            raise ValueError("a Swin Transformer has no CLS token to read")
        return slice(0, math.prod(self.grids[index]) if rows == "image" else None)

    def _merged(self, index: int, tokens: Tensor) -> Tensor:
        """The tokens in block `index`'s width. Each travelling prompt is merged as four neighbours
        that are all like it."""
        if tokens.shape[2] == self.widths[index]:
            return tokens
        before = self.widths[max(index - 1, 0)]
        if tokens.shape[2] != before:
            raise ValueError(
                f"block {index} takes rows of {before} or {self.widths[index]} channels, not of"
                f" {tokens.shape[2]}"
            )
        merge = self.vit.layers[len(set(self.widths[:index]))].downsample
        grid = self.grids[index - 1]
        image, rows = tokens.tensor_split([math.prod(grid)], dim=1)
        parts = [merge(torch.unflatten(image, 1, grid)).flatten(1, 2)]
        if rows.shape[1]:
            fours = rows.repeat_interleave(2, dim=1)[:, None].expand(-1, 2, -1, -1)
            parts.append(merge(fours).flatten(1, 2))
        return torch.cat(parts, dim=1)

    def _open(
        self, index: int, tokens: Tensor, prompts: Tensor | None, kv: KeysValues | None
    ) -> Tensor:
        """A block of which every part acts on each token by itself: each row is projected once, and
        prompts are keys and values alone."""
        block: Any = self.blocks[index]
        attn: Any = block.attn
        image = math.prod(self.grids[index])
        before = _unchanged if _is_second(block) else block.norm1
        normed, rows = before(tokens).tensor_split([image], dim=1)
        windows = _windows(block, torch.unflatten(normed, 1, self.grids[index]))
        batch, count, area = windows.shape[:3]
        queries, keys, values = (
            [torch.unflatten(part, 0, (batch, count))]
            for part in _project(attn, windows.flatten(0, 1), 0)
        )

        def seen(part: Tensor) -> Tensor:
            """(batch or 1, head, row, head_dim) in every window."""
            part = part if part.ndim == 4 else part[None]
            return part.to(keys[0].dtype)[:, None].expand(batch, count, -1, -1, -1)

        if rows.shape[1]:
            of_rows = _project(attn, rows, 0)
            for parts, part in zip((queries, keys, values), of_rows, strict=True):
                parts.append(seen(part))
        if prompts is not None:
            of_prompts = _project(attn, before(prompts if prompts.ndim == 3 else prompts[None]), 1)
            for parts, part in zip((keys, values), of_prompts, strict=True):
                parts.append(seen(part))
        if kv is not None:
            keys.append(seen(kv[0]))
            values.append(seen(kv[1]))
        # windows beside heads: the mask of a shifted window is then the same for all images
        q, k, v = (torch.cat(parts, dim=3).flatten(1, 2) for parts in (queries, keys, values))
        mask = _bias(block, q.shape[2] - area, k.shape[2] - area)
        mixed = F.scaled_dot_product_attention(
            q,
            k,
            v,
            mask.expand(count, -1, -1, -1).flatten(0, 1)[None].to(q.dtype),
            dropout_p=attn.attn_drop.p if attn.attn_drop.training else 0.0,
            scale=_scale(attn),
        )
        mixed = torch.unflatten(mixed, 1, (count, -1)).transpose(2, 3).flatten(3)
        inside, others = mixed.tensor_split([area], dim=2)
        together = torch.cat([_unwindowed(block, inside, self.grids[index]), others.mean(1)], dim=1)
        return _fed(block, tokens, attn.proj_drop(mapped(attn.proj, together)))

    def _closed(self, index: int, tokens: Tensor, prompts: Tensor | None) -> Tensor:
        """A changed block. Without prompts, timm's. With prompts, in timm's order with these in
        every window, their outputs dropped."""
        block: Any = self.blocks[index]
        grid, image = self.grids[index], math.prod(self.grids[index])
        if prompts is None and tokens.shape[1] == image:
            out = block(torch.unflatten(tokens, 1, grid))
            if not (isinstance(out, Tensor) and out.shape == (len(tokens), *grid, tokens.shape[2])):
                got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
                raise ValueError(
                    f"block {index} was changed: it takes"
                    f" {(len(tokens), *grid, tokens.shape[2])} and must give that back, not {got}"
                )
            return out.flatten(1, 2)
        if not is_as_loaded(block) or not is_as_loaded(block.attn):
            name, part = ("attn", block.attn) if is_as_loaded(block) else ("block", block)
            raise ValueError(
                f"block {index} was changed (its {name} is {described(part)}): prompts can't be"
                " given it. Change or hook norm1, attn.qkv, attn.proj, mlp or norm2 instead"
            )
        joined = behind(tokens, prompts)
        attn: Any = block.attn
        normed, rows = (joined if _is_second(block) else block.norm1(joined)).tensor_split(
            [image], dim=1
        )
        windows = _windows(block, torch.unflatten(normed, 1, grid))
        batch, count, area = windows.shape[:3]
        windows = torch.cat([windows, rows[:, None].expand(-1, count, -1, -1)], dim=2).flatten(0, 1)
        q, k, v = _heads(attn, _biased(attn, attn.qkv(windows)), 0)
        others = windows.shape[1] - area
        logits = torch.unflatten(q @ k.transpose(2, 3) * _scale(attn), 0, (batch, count))
        logits = logits + _bias(block, others, others)
        mixed = attn.attn_drop(attn.softmax(logits.flatten(0, 1))) @ v
        out = attn.proj_drop(attn.proj(mixed.transpose(1, 2).flatten(2)))
        inside, others = torch.unflatten(out, 0, (batch, count)).tensor_split([area], dim=2)
        together = torch.cat([_unwindowed(block, inside, grid), others.mean(1)], dim=1)
        return _fed(block, joined, together)[:, : tokens.shape[1]]


def _fed(block: Any, rows: Tensor, attended: Tensor) -> Tensor:
    """Rows, what attention adds to them, and what the MLP adds to that."""
    if _is_second(block):
        rows = rows + block.drop_path1(block.norm1(attended))
        return rows + block.drop_path2(block.norm2(fed(block.mlp, rows)))
    rows = rows + block.drop_path1(attended)
    return rows + block.drop_path2(fed(block.mlp, block.norm2(rows)))


def _windows(block: Any, image: Tensor) -> Tensor:
    """(batch, height, width, dim) -> (batch, window, token, dim), shifted and filled up as timm
    does."""
    high, wide = block.window_size
    if any(block.shift_size):
        image = image.roll((-block.shift_size[0], -block.shift_size[1]), (1, 2))
    image = F.pad(image, (0, 0, 0, -image.shape[2] % wide, 0, -image.shape[1] % high))
    windows = window_partition(image, block.window_size).flatten(1, 2)
    return torch.unflatten(windows, 0, (len(image), -1))


def _unwindowed(block: Any, windows: Tensor, grid: tuple[int, int]) -> Tensor:
    """(batch, window, token, dim) -> (batch, token, dim): the inverse."""
    high, wide = block.window_size
    filled = -(-grid[0] // high) * high, -(-grid[1] // wide) * wide
    squares = torch.unflatten(windows.flatten(0, 1), 1, (high, wide))
    image: Tensor = window_reverse(squares, (high, wide), *filled)[:, : grid[0], : grid[1]]
    if any(block.shift_size):
        image = image.roll(tuple(block.shift_size), (1, 2))
    return image.flatten(1, 2)


def _bias(block: Any, queries: int, keys: int) -> Tensor:
    """What is added to the logits, (window or 1, head, token + queries, token + keys): relative
    positions, and in shifted windows the mask; zero for `queries` and `keys` that have no place."""
    attn: Any = block.attn
    if _is_second(attn):
        high, wide = attn.window_size
        table = attn.cpb_mlp(attn.relative_coords_table).view(-1, attn.num_heads)
        bias = table[attn.relative_position_index.flatten()].view(high * wide, high * wide, -1)
        bias = 16 * bias.permute(2, 0, 1)[None].sigmoid()
    else:
        bias = attn._get_rel_pos_bias()
    if block.attn_mask is not None:
        bias = bias + block.attn_mask[:, None]
    return F.pad(bias, (0, keys, 0, queries))


def _project(attn: Any, normed: Tensor, start: int) -> list[Tensor]:
    """Of (queries, keys, values), those from `start` on, each (batch, head, row, head_dim)."""
    if is_plain(attn.qkv):
        span = slice(start * attn.qkv.out_features // 3, None)
        bias = _biases(attn) if _is_second(attn) else attn.qkv.bias
        joint = linear(normed, attn.qkv.weight[span], None if bias is None else bias[span])
    else:  # a module around it: what it does isn't in its weight
        joint = _biased(attn, attn.qkv(normed))
        joint = joint[..., start * joint.shape[2] // 3 :]
    return _heads(attn, joint, start)


def _heads(attn: Any, joint: Tensor, start: int) -> list[Tensor]:
    """Apart, and in V2 as cosines need them."""
    heads = torch.unflatten(joint, 2, (3 - start, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    parts = dict(zip("qkv"[start:], heads.unbind(0), strict=True))
    if _is_second(attn):
        parts["k"] = F.normalize(parts["k"], dim=-1)
        if "q" in parts:
            scale = attn.logit_scale.clamp(max=LARGEST_LOGIT_SCALE).exp()
            parts["q"] = F.normalize(parts["q"], dim=-1) * scale
    return list(parts.values())


def _biases(attn: Any) -> Tensor | None:
    """V2's, of queries, keys and values."""
    return None if attn.q_bias is None else torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])


def _biased(attn: Any, joint: Tensor) -> Tensor:
    """In V2, the bias stands beside the map."""
    bias = _biases(attn) if _is_second(attn) else None
    return joint if bias is None else joint + bias


def _scale(attn: Any) -> float:
    """What products of queries and keys are multiplied by; V2's is in the queries."""
    return 1.0 if _is_second(attn) else attn.scale


def _is_second(part: Any) -> bool:
    """Whether a block or its attention is of Swin Transformer V2."""
    return isinstance(part, SwinTransformerV2Block | WindowAttentionV2)


def _unchanged(rows: Tensor) -> Tensor:
    return rows


def _is_open(block: nn.Module, travelling: bool) -> bool:
    """Whether a block may be computed in parts: it is timm's, and every part of it acts on each
    token by itself. With `travelling` rows, whose outputs are averaged before the output
    projection, that must be linear too."""
    attn: Any = getattr(block, "attn", None)
    if (
        type(attn) is not PAIRS.get(type(block))
        or not (is_as_loaded(block) and is_as_loaded(attn))
        or type(attn.attn_drop) is not nn.Dropout
        or not is_as_loaded(attn.softmax)
        or (travelling and not (is_plain(attn.proj) and is_as_loaded(attn.proj_drop)))
    ):
        return False
    return parts_act_on_each_token(block, attn)


def _foreign_part(vit: nn.Module) -> str | None:
    """The first part of a backbone that this forward doesn't know, by its class; None where it
    knows all."""
    refuse_replaced(ORIGINAL)
    if not isinstance(vit, FrozenSwin.model):
        return type(vit).__name__
    for block in vit.modules():
        if not isinstance(block, SwinTransformerBlock | SwinTransformerV2Block):
            continue
        attn: nn.Module = block.attn
        if type(attn) is not PAIRS.get(type(block)):
            return type(attn if type(block) in PAIRS else block).__name__
        if block.dynamic_mask:
            return "images of any size"
    return None
