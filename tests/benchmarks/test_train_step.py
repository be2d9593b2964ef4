"""The closed form of docs/speed.md against torch's own counter of floating-point operations."""

from typing import cast

import pytest
import torch
import train_step
from timm.models.vision_transformer import VisionTransformer
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.backbones.vit import FrozenViT
from harness.training.heads import LinearHead, Model
from methods.vpt import VPTDeep

DIM, DEPTH, IMAGE, CLASSES = 24, 3, 16, 5


@pytest.mark.parametrize("p", [1, 7])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_closed_form_is_what_torch_counts(p: int, batch: int, dropout: float):
    vit = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=DIM, depth=DEPTH, num_heads=2, num_classes=0
    )
    model = Model(
        method := VPTDeep(FrozenViT(vit), prompts=p, dropout=dropout),
        LinearHead(method, CLASSES),
    ).train()
    paper, images, labels = (
        train_step.oracle(),
        torch.randn(batch, 3, 16, 16),
        torch.zeros(batch, dtype=torch.long),
    )

    def concatenated(x: torch.Tensor) -> torch.Tensor:
        prompts, head = list(cast("VPTDeep", model.method).prompts), cast("LinearHead", model.head)
        return head.linear(paper.pooled(vit, paper.vpt_deep(vit, x, prompts)))

    # a frozen convolution; a trained linear layer
    patches, head = 2 * (3 * 4 * 4) * DIM * IMAGE, 3 * 2 * DIM * CLASSES
    for forward, ours in ((model, True), (concatenated, False)):
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            train_step.step(forward, images, labels)
        expected = train_step.flops(p, batch, ours, dropout > 0, dim=DIM, depth=DEPTH, image=IMAGE)
        # Unfused attention, which the counter sees into, leaves out the gradient of the first
        # block's queries; the fused kernel makes it.
        left_out = 2 * (1 + IMAGE) * (1 + IMAGE + p) * DIM if ours else 0
        assert counter.get_total_flops() / batch == pytest.approx(
            expected - left_out + patches + head, rel=1e-9
        )


@pytest.mark.parametrize("p", [1, 7])
def test_scoring_costs_what_torch_counts(p: int):
    vit = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=DIM, depth=DEPTH, num_heads=2, num_classes=0
    )
    model = Model(method := VPTDeep(FrozenViT(vit), prompts=p), LinearHead(method, CLASSES)).eval()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.randn(4, 3, 16, 16))
    # patches, head, the prompts' keys and values
    around = 2 * (3 * 4 * 4) * DIM * IMAGE + 2 * DIM * CLASSES + DEPTH * 4 * DIM**2 * p / 4
    expected = train_step.forward_flops(p, dim=DIM, depth=DEPTH, image=IMAGE) + around
    assert counter.get_total_flops() / 4 == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("p", "without", "dropped"),
    [(1, 1.09, 1.09), (10, 1.14, 1.13), (50, 1.36, 1.31), (100, 1.64, 1.51), (200, 2.18, 1.88)],
)
def test_ratios_on_vit_b16_at_batch_64(p: int, without: float, dropped: float):
    for dropout, ratio in ((False, without), (True, dropped)):
        assert train_step.flops(p, 64, ours=False) / train_step.flops(
            p, 64, ours=True, dropout=dropout
        ) == pytest.approx(ratio, rel=0.005)


def test_both_forms_draw_the_same_masks_so_that_they_do_the_same_work():
    vit = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=DIM, depth=DEPTH, num_heads=2, num_classes=0
    )
    forms, images, found = train_step.forms_of(vit, 3, 0.5), torch.randn(2, 3, 16, 16), []
    for name in ("ours", "paper", "ours"):
        torch.manual_seed(len(found) // 2)
        found.append(forms[name](images))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[0], found[2])  # other masks, other numbers
