"""Operations of a training step, against sums on paper."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from harness.backbones.vit import FrozenViT
from harness.training.flops import scored_flops, step_flops
from harness.training.heads import LinearHead, Model
from harness.training.kinds import kind_of
from methods.linear import Linear
from methods.vpt import VPTDeep

DIM, DEPTH, TOKENS, PATCH, CLASSES = 24, 3, 17, 4, 5
CPU = torch.device("cpu")
KIND = kind_of("classification")


@pytest.fixture
def vit() -> FrozenViT:
    return FrozenViT(
        VisionTransformer(
            img_size=16, patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=2, num_classes=0
        )
    )


def block(rows: int, keys: int) -> int:
    """A product of (a, b) with (b, c) is 2abc."""
    attention = 2 * 2 * rows * keys * DIM
    mlp = 2 * 2 * rows * DIM * 4 * DIM
    return 2 * (2 * rows * DIM * DIM) + 2 * keys * DIM * 2 * DIM + attention + mlp


def test_a_linear_probe_is_a_forward_and_two_products_of_the_head(vit: FrozenViT):
    embedding = 2 * 16 * 3 * PATCH * PATCH * DIM
    blocks = (DEPTH - 1) * block(TOKENS, TOKENS) + block(1, TOKENS)
    method = Linear(vit)
    counted = step_flops(KIND, Model(method, LinearHead(method, CLASSES)), 16, 8, CPU)
    assert counted == embedding + blocks + 2 * (2 * DIM * CLASSES)


def test_what_prompts_share_is_divided_among_the_images(vit: FrozenViT):
    method = VPTDeep(vit, prompts=6, dropout=0.0)
    model = Model(method, LinearHead(method, CLASSES))
    alone, of_many = (step_flops(KIND, model, 16, size, CPU) for size in (1, 64))
    # keys and values of 6 prompts a block, once a batch: forward, and back to the prompts
    shared = DEPTH * 2 * (2 * 6 * DIM * 2 * DIM)
    assert alone - of_many == pytest.approx(shared * 63 / 64, abs=1)


def test_scoring_is_a_forward_pass_whose_prompts_are_shared_by_the_batch(vit: FrozenViT):
    embedding = 2 * 16 * 3 * PATCH * PATCH * DIM
    blocks = (DEPTH - 1) * block(TOKENS, TOKENS) + block(1, TOKENS)
    linear = Linear(vit)
    plain = scored_flops(Model(linear, LinearHead(linear, CLASSES)), 16, 256, CPU)
    assert plain == embedding + blocks + 2 * DIM * CLASSES
    method = VPTDeep(vit, prompts=6)
    model = Model(method, LinearHead(method, CLASSES)).train()
    attended = ((DEPTH - 1) * TOKENS + 1) * 2 * 2 * 6 * DIM
    shared = DEPTH * 2 * 6 * DIM * 2 * DIM
    for images in (1, 256):
        counted = scored_flops(model, 16, images, CPU)
        assert counted - plain == pytest.approx(attended + shared / images, abs=1)
    assert model.training
    assert all(parameter.requires_grad for parameter in (method.prompts, *model.head.parameters()))


def test_the_model_and_the_random_numbers_are_as_they_were(vit: FrozenViT):
    class Normed(VPTDeep):
        def __init__(self, vit: FrozenViT):
            super().__init__(vit, prompts=2)
            self.norm = nn.BatchNorm1d(DIM)

        def forward(self, images, read):  # type: ignore[no-untyped-def]
            return [
                self.norm(t.transpose(1, 2)).transpose(1, 2) for t in super().forward(images, read)
            ]

    method = Normed(vit)
    model = Model(method, LinearHead(method, CLASSES)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    assert step_flops(KIND, model, 16, 8, CPU) > 0
    assert torch.equal(drawn, torch.get_rng_state())
    assert not model.training
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
