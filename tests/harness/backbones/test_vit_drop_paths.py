"""Stochastic depth of a frozen backbone: timm's, with the same draws."""

import copy
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones.changes import is_open
from harness.backbones.vit import FrozenViT
from harness.planning.variants import parse
from methods.vpt import VPTDeep

IMAGES = torch.randn(6, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def timms(vit: VisionTransformer, rate: float) -> VisionTransformer:
    """The same weights as timm builds them with `drop_path_rate`."""
    depth = len(vit.blocks)
    again = copy.deepcopy(vit)
    for block, of_block in zip(again.blocks, torch.linspace(0, rate, depth).tolist(), strict=True):
        if of_block > 0:
            block.drop_path1 = DropPath(of_block)  # type: ignore[assignment]
            block.drop_path2 = DropPath(of_block)  # type: ignore[assignment]
    return again.train()


def features(vit: FrozenViT) -> Tensor:
    torch.manual_seed(3)
    return vit.pool(vit.run(vit.embed(IMAGES), vit.read())[-1])


def test_rates_are_timms():
    small: Any = {
        "img_size": 16,
        "patch_size": 4,
        "embed_dim": 24,
        "num_heads": 2,
        "num_classes": 0,
    }
    theirs = VisionTransformer(**small, depth=5, drop_path_rate=0.3)
    ours = FrozenViT(VisionTransformer(**small, depth=5))
    ours.drop_paths(0.3)
    for there, here in zip(theirs.blocks, ours.vit.blocks, strict=True):
        for name in ("drop_path1", "drop_path2"):
            assert getattr(getattr(there, name), "drop_prob", 0.0) == getattr(
                getattr(here, name), "drop_prob", 0.0
            )
    assert type(ours.vit.blocks[0].drop_path1) is nn.Identity


def test_training_is_timms_own_loop_with_the_same_draws(vit: VisionTransformer):
    ours = FrozenViT(copy.deepcopy(vit), "avg" if vit.global_pool == "avg" else "cls")
    plain = features(ours.eval())
    ours.drop_paths(0.5)
    theirs = timms(vit, 0.5)
    assert torch.equal(features(ours.eval()), plain)  # training alone
    torch.manual_seed(3)
    expected = theirs.forward_head(theirs.forward_features(IMAGES), pre_logits=True)
    ours.train()
    torch.testing.assert_close(features(ours), expected, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(expected, plain)
    assert all(is_open(block) for block in ours.vit.blocks)  # still computed in parts


def test_a_methods_copy_alone_has_it_and_a_closed_block_too(plain: VisionTransformer):
    """Prompts and a block that a method has closed, against timm's loop over concatenated rows."""
    backbone = FrozenViT(plain)
    (deep,) = parse("vpt-deep")
    method = deep.build(backbone, {"prompts": 2, "dropout": 0.0}, drop_path=0.5).train().double()
    assert isinstance(method, VPTDeep)
    assert not any(isinstance(module, DropPath) for module in backbone.modules())
    theirs = timms(plain, 0.5)

    def expected() -> Tensor:
        tokens = theirs._pos_embed(theirs.patch_embed(IMAGES))
        for block, prompts in zip(theirs.blocks, method.prompts, strict=True):
            joined = torch.cat([tokens, prompts.expand(len(tokens), -1, -1)], dim=1)
            tokens = block(joined)[:, : tokens.shape[1]]
        return tokens[:, :1]

    for _ in range(2):
        torch.manual_seed(3)
        (ours,) = method(IMAGES, method.vit.read())
        torch.manual_seed(3)
        torch.testing.assert_close(ours, expected(), rtol=1e-10, atol=1e-10)
        method.vit.vit.blocks[2].register_forward_hook(lambda *_: None)
        assert not is_open(method.vit.vit.blocks[2])
    method.eval()
    torch.testing.assert_close(
        method(IMAGES, method.vit.read())[0],
        (theirs.eval(), expected())[1],
        rtol=1e-10,
        atol=1e-10,
    )


def test_a_method_is_built_without_memory_too(plain: VisionTransformer):
    """As a checkpoint's method is."""
    (deep,) = parse("vpt-deep")
    with torch.device("meta"):
        for rate in (0.0, 0.5):
            method = deep.build(FrozenViT(plain), {"prompts": 2}, drop_path=rate)
            paths = [block.drop_path1 for block in method.vit.vit.blocks]
            assert [type(path) is DropPath for path in paths] == [False, *[rate > 0] * 2]
