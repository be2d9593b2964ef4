"""NOAH: its subnets as published, and the equations of a block by hand."""

import copy
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from tuned import IMAGES, check_equal_to_form, features, randomise

from harness.backbones.vit import FrozenViT
from harness.errors import BadInput
from harness.planning.variants import parse
from harness.tasks.cards import load_suites
from harness.training.method import trained_values
from methods.noah import NOAH
from methods.noah_subnets import SUBNETS


def make(vit: VisionTransformer, **arguments: Any) -> NOAH:
    torch.manual_seed(0)
    method = NOAH(FrozenViT(copy.deepcopy(vit)), **arguments).double().eval()
    randomise(method, 0.2)
    return method


def test_a_subnet_for_each_task_of_vtab_of_ones_fives_and_tens():
    assert set(SUBNETS) == set(load_suites()["vtab"].tasks)
    for parts in SUBNETS.values():
        assert len(parts) == 3
        for part in parts:
            assert len(part.split()) == 12
            assert set(part.split()) <= {"1", "5", "10"}


def test_parameter_counts_on_vit_b16():
    counts = {}
    with torch.device("meta"):
        vit = VisionTransformer(num_classes=0)
        for task in SUBNETS:
            counts[task] = trained_values(NOAH(FrozenViT(copy.deepcopy(vit)), subnet=task))[0]
    assert (counts["cifar100"], counts["svhn"], counts["dtd"]) == (320_330, 431_686, 287_298)
    mean = sum(counts.values()) / 19
    assert mean == pytest.approx(360_134, abs=0.5)
    # released: with the prompts before the first block, which never act, and their positions
    first = sum(int(prompts.split()[0]) for prompts, _, _ in SUBNETS.values()) / 19
    assert (mean + 768 * (100 + first)) / 1e6 == pytest.approx(0.44, abs=0.005)


@pytest.mark.parametrize("subnet", ["cifar100", "svhn"])
def test_features_and_gradients_equal_the_equations(plain: VisionTransformer, subnet: str):
    """Prompts concatenated, outputs dropped; head by head. Of three blocks the numbers are those of
    blocks 0, 4 and 8 of 12."""
    method = make(plain, subnet=subnet)
    numbers = [[int(part.split()[at]) for part in SUBNETS[subnet]] for at in (0, 4, 8)]
    tokens: Any = plain._pos_embed(plain.patch_embed(IMAGES))
    block: Any
    tuned: Any = method.vit.vit.blocks
    for index, block in enumerate(plain.blocks):
        own, prompts = tuned[index], method.prompts[index]
        low, adapter = own.attn.qkv, own.mlp
        found = [len(prompts), low.down.out_features, adapter.down.out_features]
        assert found == numbers[index]
        x = torch.cat([tokens, prompts.expand(3, -1, -1)], 1)
        normed = block.norm1(x)
        update = low.up.weight @ low.down.weight
        qkv = normed @ (block.attn.qkv.weight + update).T + block.attn.qkv.bias
        q, k, v = qkv.chunk(3, dim=2)
        mixed = torch.zeros_like(x)
        for head in range(2):
            span = slice(12 * head, 12 * head + 12)
            logits = q[..., span] @ k[..., span].mT / 12**0.5
            mixed[..., span] = logits.softmax(-1) @ v[..., span]
        x = (x + block.attn.proj(mixed))[:, :17]
        out = block.mlp(block.norm2(x))
        hidden = out @ adapter.down.weight.T + adapter.down.bias
        hidden = hidden / (1 + torch.exp(-1.702 * hidden))
        tokens = x + out + hidden @ adapter.up.weight.T + adapter.up.bias
    theirs: Any = plain.norm(tokens[:, 0])
    check_equal_to_form(method, features(method), theirs, least=1e-9)


def test_a_deeper_backbone_has_each_blocks_numbers_again():
    with torch.device("meta"):
        vit = VisionTransformer(num_classes=0, depth=24, embed_dim=64, num_heads=2)
        method = NOAH(FrozenViT(vit))
    prompts = [int(one) for one in SUBNETS["cifar100"][0].split()]
    assert [len(own) for own in method.prompts] == [one for one in prompts for _ in range(2)]


def test_training_starts_where_the_released_model_does():
    """Standard deviations as measured in the released model of width 768, commit e9c55f3."""
    torch.manual_seed(0)
    method = NOAH(FrozenViT(VisionTransformer(num_classes=0, depth=2)))
    block: Any
    for prompts, block in zip(method.prompts, method.vit.vit.blocks, strict=True):
        assert prompts.std().item() == pytest.approx(0.00509, rel=0.05)
        assert prompts.abs().max().item() == pytest.approx(0.00879, rel=0.01)
        for linear in (block.attn.qkv.down, block.attn.qkv.up, block.mlp.down, block.mlp.up):
            assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert linear.weight.abs().max() > 0.05  # normal, not uniform
        assert not block.mlp.down.bias.any()
        assert not block.mlp.up.bias.any()


def test_dropout_is_in_all_three_parts(plain: VisionTransformer):
    method = make(plain, dropout=0.5)
    parts: list[Any] = [method.dropout]
    for block in method.vit.vit.blocks:
        parts += [block.attn.qkv.dropout, block.mlp.dropout]  # type: ignore[union-attr]
    assert {part.rate if part is method.dropout else part.p for part in parts} == {0.5}
    still = features(method)
    torch.testing.assert_close(still, features(make(plain, dropout=0.0)))
    for part in parts[:3]:
        part.train()
        assert (features(method) - still).abs().max() > 1e-3
        part.eval()


def test_a_task_without_a_subnet_is_refused_by_name():
    assert [one.label for one in parse("noah(subnet=dtd)")] == ["noah(subnet=dtd)"]
    with pytest.raises(BadInput, match="noah's subnet is one of cifar100, caltech101, dtd"):
        parse("noah(subnet=cub)")


def test_projection_without_bias(plain: VisionTransformer):
    plain.blocks[0].attn.qkv = nn.Linear(24, 72, bias=False).double()  # type: ignore[union-attr]
    assert features(make(plain)).isfinite().all()
