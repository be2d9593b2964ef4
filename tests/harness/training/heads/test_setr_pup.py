"""SETR-PUP: what it reads, its shapes and size counted by hand, the order of its last two steps,
and whom gradients reach."""

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

from harness import backbones
from harness.backbones.vit import FrozenViT
from harness.training.heads import Model, SetrPup
from harness.training.heads.setr_pup import Upsampling, blocks_of, channels_of
from methods.ivpt import IVPT
from methods.linear import Linear
from methods.vpt import VPT, VPTDeep


@pytest.fixture(scope="module")
def large() -> FrozenViT:
    """ViT-L/16 for 512 pixels, without memory for its weights."""
    with torch.device("meta"):
        return FrozenViT(
            VisionTransformer(patch_size=16, embed_dim=1024, depth=24, num_heads=16, num_classes=0)
        ).at(512)


def tiny(size: int = 24, **more) -> FrozenViT:
    torch.manual_seed(0)
    return FrozenViT(
        VisionTransformer(
            **{
                **dict(
                    img_size=16, patch_size=4, embed_dim=24, depth=4, num_heads=2, num_classes=0
                ),
                **more,
            }
        )
    ).at(size)


def test_a_large_vit_at_512_has_the_shapes_and_the_parameters_of_the_paper_and_mmsegmentation(
    large: FrozenViT,
):
    assert (large.grid, large.image_tokens, large.image_size) == ((32, 32), 1024, 512)
    head = SetrPup(large, 150).to("meta")
    assert head.train().read.blocks == (9, 14, 19, 23)
    # convolutions without bias, batch norm's two values a channel
    first, later = 9 * 1024 * 256 + 2 * 256, 9 * 256 * 256 + 2 * 256
    norm, classify = 2 * 1024, 256 * 150 + 150
    main = norm + first + 3 * later + classify
    auxiliary = norm + first + later + classify
    assert sum(p.numel() for p in head.main.parameters()) == main == 4_171_414
    assert sum(p.numel() for p in head.parameters()) == main + 3 * auxiliary == 13_143_640
    tokens = torch.empty(2, 1024, 1024, device="meta")
    assert [scores.shape for scores in head([tokens] * 4)] == [(2, 150, 512, 512)] * 4
    assert head.eval().read.blocks == (23,)
    assert head([tokens]).shape == (2, 150, 512, 512)


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [
        (24, (9, 14, 19, 23)),
        (12, (4, 7, 9, 11)),
        (32, (12, 19, 26, 31)),
        (4, (1, 2, 3)),
        (2, (0, 1)),
        (1, (0,)),
    ],
)
def test_blocks_are_scaled_to_the_depth_and_none_is_read_twice(depth: int, blocks: tuple[int, ...]):
    assert blocks_of(depth) == blocks


def test_the_width_is_256_unless_the_vit_is_narrower():
    assert [channels_of(dim) for dim in (1280, 1024, 768, 384, 192, 96)] == [
        256,
        256,
        256,
        256,
        64,
        32,
    ]


@pytest.mark.parametrize(("steps", "factor"), [(4, 2), (2, 4)])
def test_classifying_before_the_last_upsampling_is_classifying_after_it(steps: int, factor: int):
    vit = tiny().vit.double()
    head = Upsampling(FrozenViT(vit), 5, steps, factor).double()
    bias = head.classify.bias
    assert bias is not None
    torch.nn.init.normal_(bias)
    tokens = torch.randn(2, 36, 24, dtype=torch.float64)
    x = (
        F.layer_norm(tokens, (24,), head.norm.weight, head.norm.bias, 1e-6)
        .transpose(1, 2)
        .reshape(2, 24, 6, 6)
    )
    for step in head.steps:
        x = F.interpolate(step(x), scale_factor=factor, mode="bilinear", align_corners=False)
    expected = head.classify(x)
    assert expected.shape == (2, 5, 96, 96)
    torch.testing.assert_close(head(tokens), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", [VPT, VPTDeep, IVPT, Linear])
@pytest.mark.parametrize(
    "more",
    [{}, {"reg_tokens": 3, "no_embed_class": True}, {"global_pool": "avg"}],
    ids=["cls", "registers", "average"],
)
def test_the_head_gets_image_tokens_alone_and_gradients_reach_method_and_head_alone(
    method, more: dict
):
    vit = tiny(**more)
    frozen = [parameter.clone() for parameter in vit.parameters()]
    arguments = {} if method is Linear else {"prompts": 3}
    model = Model(method(vit, **arguments), SetrPup(vit, 5)).train()
    images = torch.randn(2, 3, 24, 24)
    tokens = model.method(images, model.head.read)
    assert [rows.shape for rows in tokens] == [(2, 36, 24)] * 3
    scores = model(images)
    assert [one.shape for one in scores] == [(2, 5, 24, 24)] * 3
    torch.stack([one.square().mean() for one in scores]).sum().backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == {
        name for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    assert not any(name.startswith("method.vit") for name in reached)
    assert any(name.startswith("method") for name in reached) == (method is not Linear)
    for parameter, before in zip(vit.parameters(), frozen, strict=True):
        assert torch.equal(parameter, before)
        assert parameter.grad is None


def test_the_tokens_are_those_of_the_whole_forward():
    vit = tiny(reg_tokens=2)
    images, tokens, outputs = torch.randn(2, 3, 24, 24), None, []
    tokens = vit.embed(images)
    for block in vit.vit.blocks:
        tokens = block(tokens)
        outputs.append(tokens[:, 3:])
    model = Model(Linear(vit), SetrPup(vit, 5)).train()
    for found, block in zip(model.method(images, model.head.read), (1, 2, 3), strict=True):
        torch.testing.assert_close(found, outputs[block], rtol=1e-4, atol=1e-5)


def test_a_vit_at_another_size_shares_its_weights_and_resizes_positions():
    vit = backbones.load("mini_vit").vit
    at_30, at_60 = vit.at(30), vit.at(64)
    assert (at_30.image_size, at_60.image_size, at_60.grid) == (30, 60, (12, 12))
    assert vit.image_size == 32
    assert at_30.at(34) is at_30
    assert at_60.vit.blocks[0].attn.qkv.weight is vit.vit.blocks[0].attn.qkv.weight  # type: ignore[union-attr]
    positions, of_30, of_60 = (one.vit.pos_embed for one in (vit, at_30, at_60))
    assert positions is not None
    assert of_30 is not None
    assert of_60 is not None
    assert torch.equal(of_30, positions)
    assert of_60.shape == (1, 1 + 144, 96)
    assert not any(parameter.requires_grad for parameter in at_60.parameters())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(at_30.embed(images[:, :, :30, :30]), vit.embed(images))
