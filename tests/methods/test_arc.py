"""ARC: its equation by hand, and maps that all blocks share."""

import copy
from typing import Any

import oracle
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from tuned import IMAGES, check_equal_to_form, features, randomise

from harness.backbones.vit import FrozenViT
from harness.training.method import trained_values
from methods.arc import ARC


def make(vit: VisionTransformer, **arguments: Any) -> ARC:
    torch.manual_seed(0)
    pooling = "cls" if vit.global_pool == "token" else "avg"
    own = FrozenViT(copy.deepcopy(vit), pooling)
    method = ARC(own, **{"bottleneck": 5, **arguments}).double().eval()
    randomise(method, 0.2)
    return method


@pytest.mark.parametrize(("mlp", "expected"), [(True, 96_432), (False, 48_216)])
def test_parameter_counts_on_vit_b16(mlp: bool, expected: int):
    with torch.device("meta"):
        method = ARC(FrozenViT(VisionTransformer(num_classes=0)), mlp=mlp)
    assert trained_values(method) == (expected, 0)


class ByHand(torch.nn.Module):
    """The norm of a block, then its adapter with the maps written out."""

    def __init__(self, norm: Any, own: Any):
        super().__init__()
        self.norm, self.own = norm, own

    def forward(self, rows: Tensor) -> Tensor:
        normed = self.norm(rows)
        out = normed + self.own.bias
        for k in range(5):
            column = self.own.shared[:, k]
            out = out + self.own.scale[k] * (normed @ column)[..., None] * column
        return out


@pytest.mark.parametrize("mlp", [True, False])
def test_features_and_gradients_equal_the_equation(plain: VisionTransformer, mlp: bool):
    method = make(plain, mlp=mlp)
    tokens: Any = plain._pos_embed(plain.patch_embed(IMAGES))
    block: Any
    tuned: Any = method.vit.vit.blocks
    for block, own in zip(plain.blocks, tuned, strict=True):
        block.norm1 = ByHand(block.norm1, own.norm1)
        if mlp:
            block.norm2 = ByHand(block.norm2, own.norm2)
        tokens, _ = oracle.block(block, tokens)
    theirs: Any = plain.norm(tokens[:, 0])
    check_equal_to_form(method, features(method), theirs)


def test_starts_at_the_backbone_where_attention_alone_is_adapted(vit: VisionTransformer):
    pooling = "cls" if vit.global_pool == "token" else "avg"
    starts = [
        features(ARC(FrozenViT(copy.deepcopy(vit), pooling), mlp=mlp).double().eval())
        for mlp in (False, True)
    ]
    torch.testing.assert_close(starts[0], vit(IMAGES), rtol=1e-9, atol=1e-9)
    assert (starts[1] - starts[0]).abs().max() > 1e-3


@pytest.mark.parametrize("mlp", [True, False])
def test_merged_it_is_a_plain_vit_of_equal_features(vit: VisionTransformer, mlp: bool):
    method = make(vit, mlp=mlp)
    with torch.no_grad():
        before = features(method)
        if vit.blocks[0].attn.qkv.bias is None:  # type: ignore[union-attr]
            with pytest.raises(ValueError, match="arc can't be merged into a projection without"):
                method.merge()
            return
        method.merge()
    vit.load_state_dict(method.vit.vit.state_dict())
    torch.testing.assert_close(vit(IMAGES), before, rtol=1e-9, atol=1e-9)


def test_all_blocks_share_the_maps_and_nothing_else(plain: VisionTransformer):
    method = make(plain)
    blocks: Any = method.vit.vit.blocks
    for block in blocks:
        assert block.norm1.shared is method.attention
        assert block.norm2.shared is method.mlp
    own = {id(p) for b in blocks for n in (b.norm1, b.norm2) for p in (n.scale, n.bias)}
    assert len(own) == 4 * len(blocks)


def test_dropout_acts_on_hidden_values_in_training(plain: VisionTransformer):
    method = make(plain, dropout=0.9).train()
    assert (features(method) - features(method)).abs().max() > 0
    torch.testing.assert_close(features(make(plain, dropout=0.9)), features(make(plain)))
