"""Swin Transformers with prompts by loops, from the papers: Liu et al., ICCV 2021, arXiv
2103.14030, and CVPR 2022, arXiv 2111.09883; Jia et al., ECCV 2022, arXiv 2203.12119.

Image by image, window by window and head by head, with an explicit softmax. Of timm only modules
that act on each token are called, and what it does with grids that aren't a multiple of windows is
done as there: the shifted grid is filled up with zeros, behind the norm, which are seen; and the
mask is that of the filled grid.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor

Swin = SwinTransformer | SwinTransformerV2


def features(
    vit: Swin,
    images: Tensor,
    shallow: Tensor | None = None,
    deep: Sequence[Tensor] | None = None,
    kv: Sequence[tuple[Tensor, Tensor]] | None = None,
) -> Tensor:
    """The mean of all rows of the last block behind the last norm: (batch, dim).

    `shallow` (prompt, dim) travel; `deep` are new at each block, (prompt, width) or (batch, prompt,
    width), and outputs at them are dropped but in the last block. `kv`: by block keys and values,
    (head, n, head_dim), that every window has too.
    """
    model: Any = vit
    found: list[Tensor] = []
    for number, image in enumerate(images):
        grid = model.patch_embed(image[None])[0]
        rows = shallow if shallow is not None else grid.new_zeros(0, grid.shape[2])
        index = 0
        for stage in model.layers:
            if stage is not model.layers[0]:
                grid, rows = merged(stage.downsample, grid, rows)
            for block in stage.blocks:
                if deep is not None:
                    rows = deep[index] if deep[index].ndim == 2 else deep[index][number]
                grid, rows = after(block, grid, rows, kv[index] if kv is not None else None)
                index += 1
        found.append(model.norm(torch.cat([grid.flatten(0, 1), rows])).mean(0))
    return torch.stack(found)


def merged(merging: Any, grid: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Four neighbours become one; a prompt is its own four neighbours."""
    grid = F.pad(grid, (0, 0, 0, grid.shape[1] % 2, 0, grid.shape[0] % 2))
    whole = [
        torch.cat([grid[y, x], grid[y + 1, x], grid[y, x + 1], grid[y + 1, x + 1]])
        for y in range(0, grid.shape[0], 2)
        for x in range(0, grid.shape[1], 2)
    ]
    joined = torch.stack([*whole, *(row.repeat(4) for row in rows)])
    if merging.norm.weight.shape[0] == joined.shape[1]:
        joined = merging.norm(joined) @ merging.reduction.weight.T
    else:  # the second version's
        joined = merging.norm(joined @ merging.reduction.weight.T)
    image, prompts = joined.tensor_split([len(whole)])
    return image.unflatten(0, (grid.shape[0] // 2, grid.shape[1] // 2)), prompts


def after(
    block: Any, grid: Tensor, rows: Tensor, kv: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """What a block makes of an image's grid and of prompts."""
    second = hasattr(block.attn, "logit_scale")
    high, wide = block.window_size
    down, across, dim = grid.shape
    before = (lambda one: one) if second else block.norm1
    seen, normed = before(grid), before(rows)
    filled = grid.new_zeros(-(-down // high) * high, -(-across // wide) * wide, dim)
    for y in range(down):
        for x in range(across):
            filled[y, x] = seen[
                (y + block.shift_size[0]) % down, (x + block.shift_size[1]) % across
            ]
    out, outs = torch.zeros_like(filled), []
    for top in range(0, filled.shape[0], high):
        for left in range(0, filled.shape[1], wide):
            places = [(top + y, left + x) for y in range(high) for x in range(wide)]
            tokens = torch.stack([filled[place] for place in places])
            mixed = attended(block, torch.cat([tokens, normed]), places, filled.shape, kv)
            for place, token in zip(places, mixed, strict=False):
                out[place] = token
            outs.append(mixed[len(places) :])
    back = torch.zeros_like(grid)
    for y in range(down):
        for x in range(across):
            back[(y + block.shift_size[0]) % down, (x + block.shift_size[1]) % across] = out[y, x]
    found = []
    for one, added in ((grid, back), (rows, torch.stack(outs).mean(0))):
        if second:
            one = one + block.norm1(added)
            one = one + block.norm2(block.mlp(one))
        else:
            one = one + added
            one = one + block.mlp(block.norm2(one))
        found.append(one)
    return found[0], found[1]


def attended(
    block: Any,
    rows: Tensor,
    places: list[tuple[int, int]],
    size: Sequence[int],
    kv: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Attention of a window's rows: its tokens at `places` of a grid of `size`, then prompts."""
    attn = block.attn
    second = hasattr(attn, "logit_scale")
    if second:
        bias = torch.cat([attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias])
        table = 16 * torch.sigmoid(attn.cpb_mlp(attn.relative_coords_table).flatten(0, 2))
    else:
        bias, table = attn.qkv.bias, attn.relative_position_bias_table
    q, k, v = (rows @ attn.qkv.weight.T + bias).chunk(3, dim=1)
    heads = []
    for head in range(attn.num_heads):
        span = slice(head * q.shape[1] // attn.num_heads, (head + 1) * q.shape[1] // attn.num_heads)
        one, other, values = q[:, span], k[:, span], v[:, span]
        if kv is not None:
            other, values = torch.cat([other, kv[0][head]]), torch.cat([values, kv[1][head]])
        if second:
            one = one / one.norm(dim=1, keepdim=True).clamp(min=1e-12)  # rows filled up are 0
            other = other / other.norm(dim=1, keepdim=True).clamp(min=1e-12)
            logits = (
                one
                @ other.T
                * attn.logit_scale[head].clamp(max=torch.log(torch.tensor(100.0))).exp()
            )
        else:
            logits = one @ other.T / one.shape[1] ** 0.5
        added = torch.zeros_like(logits)
        for i, (y, x) in enumerate(places):
            for j, (v_, u) in enumerate(places):
                high, wide = block.window_size
                added[i, j] = table[(y - v_ + high - 1) * (2 * wide - 1) + x - u + wide - 1, head]
                # what the shift has brought here from the other edge isn't a neighbour
                edges = size[0] - block.shift_size[0], size[1] - block.shift_size[1]
                if (y >= edges[0]) != (v_ >= edges[0]) or (x >= edges[1]) != (u >= edges[1]):
                    added[i, j] = -torch.inf
        heads.append((logits + added).softmax(1) @ values)
    return attn.proj(torch.cat(heads, dim=1))
