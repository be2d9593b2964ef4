"""SPT: where prompts come from, against timm's own blocks; and the forward, against prompts
concatenated."""

from pathlib import Path

import oracle
import pytest
import torch
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from whole_runs import agrees_after_loading, final_run, frozen, train_split

from harness.backbones.vit import FrozenViT
from methods.self_prompt import SelfPrompt

__all__ = ["seg"]
IMAGES = torch.randn(6, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(6) % 3


def begun(
    vit: VisionTransformer, at_once: int = 256, seed: int = 0, **arguments: int
) -> SelfPrompt:
    method = SelfPrompt(frozen(vit), prompts=5, **arguments).double()
    with torch.no_grad():
        method.eval().begin(train_split(IMAGES, LABELS, at_once, seed), nn.Identity())
    return method


def sources(vit: VisionTransformer) -> list[Tensor]:
    """Of each block, the tokens that its prompts may be: (image * patch, dim)."""
    patches = vit.patch_embed(IMAGES)
    tokens, found = vit.norm_pre(vit._pos_embed(patches)), [patches.flatten(0, 1)]
    for block in vit.blocks[:-1]:
        tokens = block(tokens)
        found.append(tokens[:, vit.num_prefix_tokens :].flatten(0, 1))
    return found


def distances_of(rows: Tensor, tokens: Tensor) -> Tensor:
    """Of every row to every token."""
    return (rows[:, None] - tokens).norm(dim=2)


def test_parameter_counts_on_vit_b16():
    with torch.device("meta"):
        vit = FrozenViT(VisionTransformer(num_classes=0))
        for arguments, expected in (({}, 184_320), ({"prompts": 100, "deep": False}, 76_800)):
            own = SelfPrompt(vit, **arguments).parameters()
            assert sum(p.numel() for p in own if p.requires_grad) == expected


@pytest.mark.parametrize("deep", [True, False])
def test_each_prompt_is_a_token_of_a_training_image_and_no_two_are_the_same(
    vit: VisionTransformer, deep: bool
):
    prompts = begun(vit, deep=deep).prompts
    assert len(prompts) == (3 if deep else 1)
    for own, tokens in zip(prompts, sources(vit), strict=False):
        distances, places = distances_of(own, tokens).min(dim=1)
        assert distances.max() < 1e-9
        assert len(set(places.tolist())) == 5
        assert len({place // 16 for place in places.tolist()}) > 1  # of more than one image


def test_the_first_blocks_prompts_have_no_position(plain: VisionTransformer):
    own = begun(plain, deep=False).prompts[0]
    assert distances_of(own, plain._pos_embed(plain.patch_embed(IMAGES)).flatten(0, 1)).min() > 0.01


def test_they_follow_from_the_seed_and_not_from_how_many_images_fit(plain: VisionTransformer):
    prompts = begun(plain).prompts
    torch.testing.assert_close(begun(plain, at_once=4).prompts, prompts, rtol=1e-12, atol=1e-12)
    assert not torch.isclose(begun(plain, seed=1).prompts, prompts).all(dim=-1).any()


def test_blocks_draw_their_own_places(plain: VisionTransformer):
    drawn = [
        distances_of(own, tokens).argmin(dim=1).tolist()
        for own, tokens in zip(begun(plain).prompts, sources(plain), strict=True)
    ]
    assert len({tuple(places) for places in drawn}) == 3


@pytest.mark.parametrize("deep", [True, False])
def test_the_forward_is_vpts_without_dropout(plain: VisionTransformer, deep: bool):
    oracle.check_vpt_form(plain, begun(plain, deep=deep).train(), IMAGES, deep)


@pytest.mark.parametrize("deep", [True, False])
def test_mae_is_pooled_as_released_the_norm_behind_the_mean(plain: VisionTransformer, deep: bool):
    torch.manual_seed(0)
    method = SelfPrompt(FrozenViT(plain, "vpt-mae"), prompts=4, deep=deep, sampled=False).double()
    own = list(method.prompts)
    rows = (
        oracle.vpt_deep(plain, IMAGES, own, keep_last=True)
        if deep
        else oracle.vpt_shallow(plain, IMAGES, own[0], keep_last=True)
    )
    (tokens,) = method(IMAGES, method.vit.read())
    features = method.pool(tokens)
    expected = oracle.with_own_norm(plain, rows)
    torch.testing.assert_close(features, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("arguments", ["prompts=4", "prompts=4,deep=false"])
def test_a_final_run_and_its_checkpoint(tiny, arguments: str, monkeypatch: pytest.MonkeyPatch):
    begin, calls = SelfPrompt.begin, []

    def once(*given: object) -> None:
        calls.append(given)
        begin(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(SelfPrompt, "begin", once)
    run = final_run(tiny, f"self-prompt({arguments})")
    assert len(calls) == 1
    assert run.outcome.units == run.planned_units == 30 + 2 * 2 * 30 + 15
    assert agrees_after_loading(run)


def test_without_sampling_nothing_is_spent_and_prompts_are_vpts(tiny):
    run = final_run(tiny, "self-prompt(prompts=4,sampled=false)")
    assert run.outcome.units == run.planned_units == 2 * 2 * 30 + 15


def test_segmentation(seg, tmp_path: Path):
    run = final_run(seg, "self-prompt(prompts=4)", tasks="halves")
    assert run.outcome.score is not None
