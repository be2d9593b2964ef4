"""VPT as its paper writes it: prompts concatenated to the tokens, through timm's own blocks,
outputs dropped after each block."""

from collections.abc import Callable
from typing import Any, cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor


def vpt_deep(
    vit: VisionTransformer, images: Tensor, prompts: list[Tensor], keep_last: bool = False
) -> Tensor:
    """Tokens after the last block: (batch, prefix + image, dim). `prompts[l]` is (prompt, dim) or
    (batch, prompt, dim).

    With `keep_last` the last block's outputs at the prompts stay, behind the prefix: (batch, prefix
    + prompt + image, dim).
    """
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
    prefix = vit.num_prefix_tokens
    for block, own in zip(vit.blocks, prompts, strict=True):
        own = own if own.ndim == 3 else own.expand(len(images), -1, -1)
        out = block(torch.cat([tokens[:, :prefix], own, tokens[:, prefix:]], dim=1))
        tokens = torch.cat([out[:, :prefix], out[:, prefix + own.shape[1] :]], dim=1)
    return out if keep_last else tokens


def ivpt(
    vit: VisionTransformer,
    images: Tensor,
    prompts: Tensor,
    drop: Callable[[Tensor], Tensor],
    link: Callable[[int, Tensor], Tensor] | None = None,
    vectors: Tensor | None = None,
    everywhere: bool = False,
) -> Tensor:
    """iVPT with prompts concatenated: tokens after the last block.

    `drop` draws a new mask at each call, (prompt, dim) -> (batch, prompt, dim): block by block
    first the block's own prompts', then the link's. `link(l, Q)` is A_l; None: no CDC. `vectors`
    (block - 1, k, dim) are added before all blocks but the first: to the k image tokens that CLS
    has attended to most, by explicit softmax over all rows, or `everywhere`, in their order.
    """
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
    prefix, attended = vit.num_prefix_tokens, torch.empty(0)
    for index, block in enumerate(vit.blocks):
        own = drop(prompts[index])
        if index > 0 and link is not None:
            own = own + link(index, drop(prompts[index - 1]))
        own = own if own.ndim == 3 else own.expand(len(images), -1, -1)
        if index > 0 and vectors is not None:
            tokens = tokens.clone()
            for image in range(len(images)):
                places = (
                    range(tokens.shape[1] - prefix)
                    if everywhere
                    else attended[image].topk(vectors.shape[1]).indices
                )
                for rank, place in enumerate(places):
                    tokens[image, prefix + int(place)] += vectors[index - 1, rank]
        joined = torch.cat([tokens[:, :prefix], own, tokens[:, prefix:]], dim=1)
        attn: Any = block.attn
        q, k, _ = (
            attn.qkv(cast("Any", block).norm1(joined))
            .unflatten(2, (3, attn.num_heads, -1))
            .permute(2, 0, 3, 1, 4)
        )
        weights = (attn.q_norm(q) @ attn.k_norm(k).transpose(2, 3) * attn.scale).softmax(-1)
        attended = weights.mean(1)[:, 0, prefix + own.shape[1] :].detach()
        out = block(joined)
        tokens = torch.cat([out[:, :prefix], out[:, prefix + own.shape[1] :]], dim=1)
    return tokens


def vpt_shallow(
    vit: VisionTransformer, images: Tensor, prompts: Tensor, keep_last: bool = False
) -> Tensor:
    """As above, with the prompts kept between CLS and image through all blocks."""
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
    prefix, count = vit.num_prefix_tokens, len(prompts)
    tokens = torch.cat(
        [tokens[:, :prefix], prompts.expand(len(images), -1, -1), tokens[:, prefix:]], dim=1
    )
    for block in vit.blocks:
        tokens = block(tokens)
    return (
        tokens if keep_last else torch.cat([tokens[:, :prefix], tokens[:, prefix + count :]], dim=1)
    )


def block(
    block: Any,
    tokens: Tensor,
    prompts: Tensor | None = None,
    keys: Tensor | None = None,
    values: Tensor | None = None,
    temperature: Tensor | float = 1.0,
    queries: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """One block by explicit softmax, image by image and head by head: its outputs at the tokens,
    and at rows that only ask.

    `prompts` (prompt, dim) are concatenated to the tokens, `keys` and `values` (head, n, head_dim)
    to what they are projected to.
    """
    attn, outs, asked = block.attn, [], []
    for image in tokens:
        count = len(image)
        rows = image if prompts is None else torch.cat([image, prompts])
        asking = rows if queries is None else torch.cat([rows, queries])
        mixed = torch.zeros_like(asking)
        for head in range(attn.num_heads):
            span = slice(head * attn.head_dim, (head + 1) * attn.head_dim)
            weight, bias = attn.qkv.weight.chunk(3), attn.qkv.bias.chunk(3)
            q = attn.q_norm(block.norm1(asking) @ weight[0][span].T + bias[0][span])
            k = attn.k_norm(block.norm1(rows) @ weight[1][span].T + bias[1][span])
            v = block.norm1(rows) @ weight[2][span].T + bias[2][span]
            if keys is not None and values is not None:
                k, v = torch.cat([k, keys[head]]), torch.cat([v, values[head]])
            logits = q @ k.T / (attn.head_dim**0.5 * temperature)
            mixed[:, span] = logits.softmax(1) @ v
        out = asking + block.ls1(attn.proj(mixed))
        out = out + block.ls2(block.mlp(block.norm2(out)))
        outs.append(out[:count])
        asked.append(out[len(rows) :])
    return torch.stack(outs), None if queries is None else torch.stack(asked)


def with_own_norm(vit: VisionTransformer, tokens: Tensor) -> Tensor:
    """MAE's features as some releases pool them: the mean of all rows but CLS, then the
    checkpoint's norm (eps 1e-6)."""
    mean: Any = tokens[:, 1:].mean(1)
    centred = mean - mean.mean(1, keepdim=True)
    scaled = centred / (mean.var(1, False, keepdim=True) + 1e-6).sqrt()
    norm: Any = vit.norm
    return scaled * norm.weight + norm.bias


def check_vpt_form(vit: VisionTransformer, method: Any, images: Tensor, deep: bool) -> None:
    """A method's tokens, and gradients of its prompts (block, prompt, dim), are those of VPT-Deep
    or VPT-Shallow without dropout on a backbone that pools by CLS."""
    prompts = method.prompts
    (ours,) = method(images, method.vit.read())
    tokens = vpt_deep(vit, images, list(prompts)) if deep else vpt_shallow(vit, images, prompts[0])
    weights = torch.randn_like(ours[:, 0])
    (mine,) = torch.autograd.grad((method.vit.pool(ours) * weights).sum(), prompts)
    (theirs,) = torch.autograd.grad((pooled(vit, tokens) * weights).sum(), prompts)
    torch.testing.assert_close(ours, tokens[:, :1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def pooled(vit: VisionTransformer, tokens: Tensor) -> Tensor:
    """timm's own way from tokens to features."""
    return vit.forward_head(vit.norm(tokens), pre_logits=True)
