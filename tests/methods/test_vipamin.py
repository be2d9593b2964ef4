"""VIPAMIN: both parts of a prompt against loops, the way back from values, and what is spent."""

from typing import Any

import oracle
import pytest
import torch
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from whole_runs import agrees_after_loading, final_run, frozen, train_split

from harness.backbones.vit import FrozenViT
from methods.vipamin import VIPAMIN

__all__ = ["seg"]
IMAGES = torch.randn(6, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(6) % 3
DEEP = pytest.mark.parametrize("deep", [True, False])


def new(vit: VisionTransformer, **arguments: Any) -> VIPAMIN:
    torch.manual_seed(0)
    arguments = {"prompts": 5, **arguments}
    return VIPAMIN(frozen(vit), **arguments).double().eval()


def begun(vit: VisionTransformer, at_once: int = 256, **arguments: Any) -> VIPAMIN:
    method = new(vit, **arguments)
    with torch.no_grad():
        method.begin(train_split(IMAGES, LABELS, at_once), nn.Identity())
    return method


def streams(vit: VisionTransformer, prompts: Tensor) -> list[tuple[Any, Tensor, Tensor]]:
    """Of each block with prompts: the block, the tokens that enter it in a model with prompts, and
    in one without."""
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(IMAGES)))
    found, bare = [], tokens
    for block, own in zip(vit.blocks, prompts, strict=False):
        found.append((block, tokens, bare))
        joined = torch.cat([tokens, own.expand(len(IMAGES), -1, -1)], dim=1)
        tokens, bare = block(joined)[:, : tokens.shape[1]], block(bare)
    return found


def part(block: Any, tokens: Tensor, which: int) -> Tensor:
    """Keys (1) or values (2) of normed tokens, all heads side by side."""
    attn = block.attn
    bias = 0 if attn.qkv.bias is None else attn.qkv.bias.chunk(3)[which]
    return tokens @ attn.qkv.weight.chunk(3)[which].T + bias


def key(block: Any, row: Tensor) -> Tensor:
    """Of one row, averaged over heads."""
    heads = part(block, block.norm1(row), 1).unflatten(-1, (block.attn.num_heads, -1))
    return block.attn.k_norm(heads).mean(-2)


def matched(vit: VisionTransformer, drawn: Tensor, k: int) -> list[Tensor]:
    """Every m_n by its definition, prompt by prompt."""
    found = []
    for (block, tokens, _), own in zip(streams(vit, drawn), drawn, strict=True):
        image = tokens[:, vit.num_prefix_tokens :]
        keys, rows = [], []
        for place in range(image.shape[1]):
            keys.append(torch.stack([key(block, one[place]) for one in image]).mean(0))
            rows.append(image[:, place].mean(0))
        for prompt in own:
            mine = key(block, prompt)
            near = [torch.cosine_similarity(mine, other, dim=0).item() for other in keys]
            best = sorted(range(len(near)), key=lambda place: -near[place])[:k]
            found.append(torch.stack([rows[place] for place in best]).mean(0))
    return found


def attended(block: Any, tokens: Tensor) -> Tensor:
    """The batch's mean of what attention makes of values, by explicit softmax: (token, dim)."""
    attn, normed = block.attn, block.norm1(tokens)
    heads = [part(block, normed, w).unflatten(-1, (attn.num_heads, -1)) for w in range(3)]
    q, k, v = (one.transpose(1, 2) for one in heads)
    weights = (attn.q_norm(q) @ attn.k_norm(k).transpose(2, 3) * attn.scale).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2).mean(0)


def test_parameter_counts_on_vit_b16():
    with torch.device("meta"):
        vit = FrozenViT(VisionTransformer(num_classes=0))
        for arguments, expected in (({}, 76_800), ({"prompts": 20, "deep": True}, 184_320)):
            own = VIPAMIN(vit, **arguments).parameters()
            assert sum(p.numel() for p in own if p.requires_grad) == expected


@DEEP
@pytest.mark.parametrize("k", [1, 3, 99])
def test_matching_is_the_mean_of_the_embeddings_with_the_nearest_keys(
    vit: VisionTransformer, deep: bool, k: int
):
    drawn = new(vit, deep=deep).prompts.detach()
    prompts = begun(vit, deep=deep, k=k, lam=0.0).prompts.flatten(0, 1)
    for ours, theirs in zip(prompts, matched(vit, drawn, k), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@DEEP
def test_by_the_inverse_values_are_outside_the_span_of_attentions_outputs(
    vit: VisionTransformer, deep: bool
):
    """Which they aren't by the released product."""
    drawn = new(vit, deep=deep).prompts.detach()
    inside: dict[str, float] = {"inverse": 0.0, "released": 0.0}
    for back in inside:
        method = begun(vit, deep=deep, lam=1.0, back=back)
        for (block, _, bare), own in zip(streams(vit, drawn), method.prompts, strict=True):
            outputs = attended(block, bare)
            values = part(block, own, 2)
            overlap = values @ torch.linalg.qr(outputs.T).Q
            inside[back] = max(inside[back], overlap.abs().max().item())
            if len(outputs) < vit.embed_dim:
                assert values.norm(dim=1).min() > 0.01
            elif back == "inverse":  # nothing is outside
                assert values.norm(dim=1).max() < 1e-9
    assert inside["inverse"] < 1e-9
    assert inside["released"] > 0.01


def test_the_orthogonal_part_depends_on_neither_k_nor_the_batchs_parts(plain: VisionTransformer):
    prompts = begun(plain, lam=1.0, k=1).prompts
    assert torch.equal(begun(plain, lam=1.0, k=3).prompts, prompts)
    parts = begun(plain, at_once=4, deep=True).prompts
    torch.testing.assert_close(parts, begun(plain, deep=True).prompts, rtol=1e-9, atol=1e-9)


def test_lambda_mixes_both(plain: VisionTransformer):
    match, half, new = (begun(plain, lam=lam).prompts for lam in (0.0, 0.25, 1.0))
    torch.testing.assert_close(half, 0.75 * match + 0.25 * new, rtol=1e-9, atol=1e-9)


@DEEP
def test_the_forward_is_vpts_without_dropout(plain: VisionTransformer, deep: bool):
    oracle.check_vpt_form(plain, begun(plain, deep=deep).train(), IMAGES, deep)


@pytest.mark.parametrize(("arguments", "spent"), [("prompts=4", 30), ("prompts=4,deep=true", 60)])
def test_a_final_run_and_its_checkpoint(tiny, arguments: str, spent: int):
    run = final_run(tiny, f"vipamin({arguments},k=2,lam=0.5)")
    assert run.outcome.units == run.planned_units == spent + 2 * 2 * 30 + 15
    assert agrees_after_loading(run)


@pytest.mark.parametrize(
    "arguments",
    [{"k": 0}, {"lam": 1.5}],
)
@pytest.mark.usefixtures("unchecked")
def test_arguments_that_make_no_sense(plain: VisionTransformer, arguments: dict[str, Any]):
    with pytest.raises(ValueError, match=r"^vipamin's k is"):
        new(plain, **arguments)
    with pytest.raises(ValueError, match=r"^vipamin's back is one of inverse, released, not x"):
        new(plain, back="x")


def test_segmentation(seg):
    run = final_run(seg, "vipamin(prompts=4,deep=true,k=2,lam=0.5)", tasks="halves")
    assert run.outcome.score is not None
