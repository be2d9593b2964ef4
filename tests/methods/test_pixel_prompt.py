"""VP's border of pixels, against one that is filled pixel by pixel."""

import pytest
import torch
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from whole_runs import trained

from harness.backbones.vit import FrozenViT
from harness.planning import protocols
from harness.planning.variants import parse
from harness.training.classification import ClassificationRecipe
from harness.training.heads import LinearHead, Model
from harness.training.recipe import new_optimizer
from methods.pixel_prompt import PixelPrompt

__all__ = ["seg"]
IMAGES = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(vit: VisionTransformer, **arguments) -> PixelPrompt:
    torch.manual_seed(0)
    return PixelPrompt(FrozenViT(vit), **arguments).double()


def filled(method: PixelPrompt, side: int) -> Tensor:
    up, down, left, right = method.border
    width = up.shape[1]
    pixels = []
    for y in range(side):
        for x in range(side):
            if y < width:
                pixels.append(up[:, y, x])
            elif y >= side - width:
                pixels.append(down[:, y - side + width, x])
            elif x < width:
                pixels.append(left[:, y - width, x])
            elif x >= side - width:
                pixels.append(right[:, y - width, x - side + width])
            else:
                pixels.append(torch.zeros(3, dtype=torch.float64))
    return torch.stack(pixels, dim=1).unflatten(1, (side, side))


def test_the_parameter_count_on_vit_b16():
    with torch.device("meta"):
        method = PixelPrompt(FrozenViT(VisionTransformer(num_classes=0)))
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == 69_840
    assert [tuple(one.shape) for one in method.border] == [
        (3, 30, 224),
        (3, 30, 224),
        (3, 164, 30),
        (3, 164, 30),
    ]


def test_it_equals_the_slow_form_in_values_and_gradients(vit: VisionTransformer):
    torch.manual_seed(0)
    pooling = "cls" if vit.global_pool == "token" else "avg"
    method = PixelPrompt(FrozenViT(vit, pooling)).double()
    (tokens,) = method(IMAGES, method.vit.read())
    ours, theirs = method.pool(tokens), vit(IMAGES + filled(method, 16))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights, border = torch.randn_like(ours), list(method.border)
    for mine, slowly in zip(
        torch.autograd.grad((ours * weights).sum(), border),
        torch.autograd.grad((theirs * weights).sum(), border),
        strict=True,
    ):
        torch.testing.assert_close(mine, slowly, rtol=1e-9, atol=1e-9)
        assert mine.abs().max() > 0


def test_the_border_is_drawn_from_a_standard_normal_and_has_the_same_share_of_any_image(
    plain: VisionTransformer,
):
    assert make(plain).border[0].shape == (3, 2, 16)  # 30 of 224
    assert make(plain, border=50).border[2].shape == (3, 8, 4)
    with torch.device("cpu"):
        wide = FrozenViT(VisionTransformer(num_classes=0, embed_dim=24, depth=1, num_heads=2))
    torch.manual_seed(0)
    drawn = torch.cat([one.flatten() for one in PixelPrompt(wide).border])
    assert drawn.std().item() == pytest.approx(1, abs=0.02)
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("border", [0, -4, 112, 500])
def test_a_border_leaves_something_of_both(plain: VisionTransformer, border: int):
    with pytest.raises(ValueError, match=r"border=.* write another, such as pixel-prompt"):
        make(plain, border=border)


def test_the_border_has_no_weight_decay_and_the_head_has(plain: VisionTransformer):
    (variant,) = parse("pixel-prompt")
    protocol = protocols.load("vpt").for_cell(
        variant, "vtab", "vit_base_patch16_224.orig_in21k", "train+val"
    )
    recipe = ClassificationRecipe(
        optimizer=protocol.optimizer,
        base_lr=1.0,
        weight_decay=0.1,
        batch_size=64,
        epochs=1,
        warmup_epochs=0,
    )
    method = make(plain)
    model = Model(method, LinearHead(method, 3))
    decays = {
        id(tensor): group["weight_decay"]
        for group in new_optimizer(model, recipe).param_groups
        for tensor in group["params"]
    }
    assert [decays[id(one)] for one in method.border] == [0.0] * 4
    assert decays[id(model.get_parameter("head.linear.weight"))] == 0.1


def test_a_final_run_and_its_checkpoint(tiny):
    outcome, model, again = trained(tiny, "pixel-prompt", border=30)
    assert outcome.score is not None
    side = model.method.vit.image_size
    images = torch.randn(2, 3, side, side)
    assert torch.equal(model(images), again(images))
    torch.manual_seed(0)
    start = PixelPrompt(model.method.vit)
    assert not torch.equal(model.get_parameter("method.border.0"), start.border[0])


def test_segmentation_trains(seg):
    outcome, _, _ = trained(seg, "pixel-prompt", "halves", border=30)
    assert outcome.score is not None
