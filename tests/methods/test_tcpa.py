"""TCPA against loops over images, rows and heads with an explicit softmax and mask, and the facts
of its sheet."""

import pytest
import torch
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from whole_runs import trained

from harness.backbones.frozen import Pooling
from harness.backbones.vit import FrozenViT
from harness.errors import BadInput
from methods.tcpa import TCPA

__all__ = ["seg"]
IMAGES = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 2, 1])


def make(vit: VisionTransformer, pooling: Pooling | None = None, **arguments) -> TCPA:
    """In training, without dropout."""
    torch.manual_seed(0)
    pooling = pooling or ("cls" if vit.global_pool == "token" else "avg")
    settings = {"pool": 5, "kept": 2, "dropout": 0.0, **arguments}
    return TCPA(FrozenViT(vit, pooling), **settings).double().train()  # type: ignore[arg-type]


def tokens_of(method: TCPA) -> Tensor:
    (tokens,) = method(IMAGES, method.vit.read())
    return tokens


def transformed(prompts: Tensor) -> Tensor:
    """The real part of the 2-d Fourier transform, by cosines and sines."""
    rows, dim = prompts.shape
    (n, d) = (torch.arange(size, dtype=torch.float64) for size in (rows, dim))
    down, across = (2 * torch.pi * torch.outer(one, one) / len(one) for one in (n, d))
    return down.cos() @ prompts @ across.cos() - down.sin() @ prompts @ across.sin()


def slow(method: TCPA) -> tuple[Tensor, Tensor]:
    """All rows after the last block, and the sum of the distances."""
    vit, pool, first = method.vit.vit, method.pool_size, method.vit.prefix
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(IMAGES)))
    total = torch.zeros((), dtype=torch.float64)
    for index, block in enumerate(vit.blocks):
        attn, prompts = block.attn, transformed(method.prompts[index])
        near = torch.cosine_similarity(
            tokens[:, :, None], method.keys[index][None, None], dim=3, eps=1e-12
        )
        away: dict[bool, list[Tensor]] = {True: [], False: []}
        outs = []
        for image, nearness in zip(tokens, near, strict=True):
            both = block.norm1(torch.cat([image, prompts]))
            width = attn.qkv.weight.shape[0] // 3
            bias = torch.zeros(3 * width).double() if attn.qkv.bias is None else attn.qkv.bias
            q, k, v = (both @ attn.qkv.weight.T + bias).split(width, dim=1)
            mixed = torch.zeros(len(image), width, dtype=torch.float64)
            for row in range(len(image)):
                start = 0 if row < first else pool
                best = nearness[row, start : start + pool].sort(descending=True).indices
                keep = [start + int(place) for place in best[: method.kept]]
                away[row < first] += [1 - nearness[row, place] for place in keep]
                mask = torch.zeros(len(both), dtype=torch.float64)
                mask[: len(image)] = 1
                mask[[len(image) + place for place in keep]] = 1
                for head in range(attn.num_heads):
                    span = slice(head * attn.head_dim, (head + 1) * attn.head_dim)
                    asked, keys = attn.q_norm(q[row, span]), attn.k_norm(k[:, span])
                    weights = (keys @ asked / attn.head_dim**0.5).softmax(0) * mask
                    mixed[row, span] = weights @ v[:, span]
            out = image + block.ls1(attn.proj(attn.norm(mixed)))
            outs.append(out + block.ls2(block.mlp(block.norm2(out))))
        total = total + torch.stack(away[True]).mean() + torch.stack(away[False]).mean()
        tokens = torch.stack(outs)
    return tokens, total


def test_parameter_counts_on_vit_b16():
    with torch.device("meta"):
        method = TCPA(FrozenViT(VisionTransformer(num_classes=0)))
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == 663_552
    assert method.prompts.numel() == 331_776


def test_it_equals_the_slow_form_in_values_and_gradients(vit: VisionTransformer):
    if vit.cls_token is None:
        pytest.skip("it keeps prompts for CLS")
    method = make(vit, weight=0.5)
    ours, extra = tokens_of(method), method.penalty(LABELS, nn.Identity())
    tokens, distance = slow(method)
    first = vit.num_prefix_tokens
    theirs = tokens[:, :1] if method.vit.pooling == "cls" else tokens[:, first:]
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(extra, 0.5 * distance, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(ours)
    for mine, slowly in zip(
        torch.autograd.grad((ours * weights).sum() + extra, [method.prompts, method.keys]),
        torch.autograd.grad(
            (theirs * weights).sum() + 0.5 * distance, [method.prompts, method.keys]
        ),
        strict=True,
    ):
        torch.testing.assert_close(mine, slowly, rtol=1e-9, atol=1e-9)
        assert (mine.abs().amax(2) > 0).any(1).all()  # in each block


def test_keys_learn_from_the_distance_alone(plain: VisionTransformer):
    method = make(plain)
    made = tokens_of(method).square().sum()
    (keys,) = torch.autograd.grad(made, [method.keys], allow_unused=True)
    assert keys is None
    extra = method.penalty(LABELS, nn.Identity())
    assert extra is not None
    assert method.logged()["distance"].item() == pytest.approx(extra.item() / 0.01)
    assert method.penalty(LABELS, nn.Identity()) is None  # once a batch


def test_each_row_keeps_prompts_of_its_own_pool(plain: VisionTransformer):
    method = make(plain)
    tokens = method.vit.embed(IMAGES)
    for at_random in (False, True):
        method.at_random = at_random
        kept, _ = method.chosen(0, tokens)
        assert (kept[:, :1, :5].sum(2) == 2).all()
        assert not kept[:, :1, 5:].any()
        assert (kept[:, 1:, 5:].sum(2) == 2).all()
        assert not kept[:, 1:, :5].any()


def test_the_first_tenth_of_the_epochs_chooses_at_random_and_scoring_never_does(
    plain: VisionTransformer,
):
    method = make(plain)
    drawn = []
    for number in range(100):
        method.epoch(number, 100)
        drawn.append(method.at_random)
    assert drawn == [True] * 10 + [False] * 90
    method.epoch(0, 100)
    assert not torch.allclose(tokens_of(method), tokens_of(method))
    scored = tokens_of(method.eval())
    assert torch.equal(scored, tokens_of(method))
    method.epoch(99, 100)
    assert torch.equal(scored, tokens_of(method.train()))


def test_dropout_is_before_the_transform_and_differs_by_image(plain: VisionTransformer):
    method = make(plain, dropout=0.5)
    same = IMAGES[:1].expand(3, -1, -1, -1)
    (tokens,) = method(same, method.vit.read())
    assert not torch.allclose(tokens[0], tokens[1])
    (tokens,) = method.eval()(same, method.vit.read())
    torch.testing.assert_close(tokens[0], tokens[1])


def test_pools_keys_and_prompts_start_uniform(plain: VisionTransformer):
    method = make(plain, pool=50)
    for one in (method.prompts, method.keys):
        assert one.abs().max() <= 1
        assert one.std().item() == pytest.approx(1 / 3**0.5, abs=0.01)


def test_what_makes_no_sense_is_refused(plain: VisionTransformer, seg):
    for kept in (0, 6):
        with pytest.raises(ValueError, match="of a pool of 5: write kept from 1 to 5"):
            make(plain, kept=kept)
    with pytest.raises(BadInput, match="tcpa can't do segmentation"):
        trained(seg, "tcpa", "halves")


def test_the_protocol_s_drop_path_is_on_attention_and_mlp(plain: VisionTransformer):
    """Where it drops every image, a block gives its tokens back."""
    method = make(plain)
    for block in method.vit.vit.blocks:
        block.drop_path1, block.drop_path2 = nn.Dropout(1.0), nn.Dropout(1.0)
    torch.testing.assert_close(tokens_of(method), method.vit.embed(IMAGES)[:, :1])


def test_a_final_run_and_its_checkpoint(tiny):
    outcome, model, again = trained(tiny, "tcpa(pool=4,kept=2)", weight_decay=0.1)
    assert outcome.score is not None
    assert outcome.curves is not None
    assert len(outcome.curves["distance"]) == 2
    side = model.method.vit.image_size
    images = torch.randn(2, 3, side, side)
    assert torch.equal(model(images), again(images))
