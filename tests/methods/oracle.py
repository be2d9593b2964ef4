"""VPT as its paper writes it: prompts concatenated to the tokens, through timm's own blocks, outputs dropped after each block."""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor


def vpt_deep(vit: VisionTransformer, images: Tensor, prompts: list[Tensor], keep_last: bool = False) -> Tensor:
    """Tokens after the last block: (batch, prefix + image, dim). `prompts[l]` is (prompt, dim) or (batch, prompt, dim).

    With `keep_last` the last block's outputs at the prompts stay, behind the prefix: (batch, prefix + prompt + image, dim).
    """
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
    prefix = vit.num_prefix_tokens
    for block, own in zip(vit.blocks, prompts, strict=True):
        own = own if own.ndim == 3 else own.expand(len(images), -1, -1)
        out = block(torch.cat([tokens[:, :prefix], own, tokens[:, prefix:]], dim=1))
        tokens = torch.cat([out[:, :prefix], out[:, prefix + own.shape[1] :]], dim=1)
    return out if keep_last else tokens


def vpt_shallow(vit: VisionTransformer, images: Tensor, prompts: Tensor, keep_last: bool = False) -> Tensor:
    """As above, with the prompts kept between CLS and image through all blocks."""
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
    prefix, count = vit.num_prefix_tokens, len(prompts)
    tokens = torch.cat([tokens[:, :prefix], prompts.expand(len(images), -1, -1), tokens[:, prefix:]], dim=1)
    for block in vit.blocks:
        tokens = block(tokens)
    return tokens if keep_last else torch.cat([tokens[:, :prefix], tokens[:, prefix + count :]], dim=1)


def pooled(vit: VisionTransformer, tokens: Tensor) -> Tensor:
    """timm's own way from tokens to features."""
    return vit.forward_head(vit.norm(tokens), pre_logits=True)
