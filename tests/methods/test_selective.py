"""bitfit, ln-tuning, difffit, attn-tuning, mlp-tuning, partial-k: which tensors train, and
DiffFit's equation."""

import copy
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from tuned import IMAGES, features

from harness.backbones.vit import FrozenViT
from harness.errors import BadInput
from harness.planning import protocols
from harness.planning.variants import parse
from harness.training.method import Method, trained_values
from methods.selective import (
    AttnTuning,
    BitFit,
    DiffFit,
    LNTuning,
    MLPTuning,
    PartialK,
)

EACH = (BitFit, LNTuning, DiffFit, AttnTuning, MLPTuning, PartialK)


def own(vit: VisionTransformer) -> FrozenViT:
    return FrozenViT(copy.deepcopy(vit), "cls" if vit.global_pool == "token" else "avg")


def trained(method: Method) -> dict[str, Tensor]:
    return {
        name.removeprefix("vit.vit."): p for name, p in method.named_parameters() if p.requires_grad
    }


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        (BitFit, {}, 102_912),
        (LNTuning, {}, 38_400),
        (DiffFit, {}, 140_544),
        (AttnTuning, {}, 28_348_416),
        (MLPTuning, {}, 56_669_184),
        (PartialK, {}, 7_087_872),
        (PartialK, {"norm": True}, 7_087_872 + 2 * 768),
        (PartialK, {"blocks": 2}, 2 * 7_087_872),
        (PartialK, {"blocks": 12}, 12 * 7_087_872),
    ],
)
def test_parameter_counts_on_vit_b16(method: type[Method], arguments: dict, expected: int):
    with torch.device("meta"):
        built = method(FrozenViT(VisionTransformer(num_classes=0)), **arguments)
    assert trained_values(built) == (expected, 0)


def test_what_trains(vit: VisionTransformer):
    """Found by the kind of the module that it is in, in every architecture."""
    kinds: dict[type[Method], Any] = {
        BitFit: lambda module, name, place: name == "bias",
        LNTuning: lambda module, name, place: isinstance(module, nn.LayerNorm),
        AttnTuning: lambda module, name, place: isinstance(module, nn.Linear) and ".attn." in place,
        MLPTuning: lambda module, name, place: isinstance(module, nn.Linear) and ".mlp." in place,
        PartialK: lambda module, name, place: place.startswith("blocks.2."),
    }
    for kind, trains in kinds.items():
        expected = {
            f"{place}.{name}"
            for place, module in vit.named_modules()
            for name, _ in module.named_parameters(recurse=False)
            if trains(module, name, place)
        }
        assert expected
        assert trained(kind(own(vit))).keys() == expected


def test_partial_k_reaches_no_lower_than_its_blocks(plain: VisionTransformer):
    names = trained(PartialK(FrozenViT(plain), blocks=2, norm=True))
    places = {name.rpartition(".")[0].split(".attn")[0].split(".mlp")[0] for name in names}
    assert places == {f"blocks.{k}{end}" for k in (1, 2) for end in ("", ".norm1", ".norm2")} | {
        "norm"
    }


@pytest.mark.parametrize("method", EACH)
def test_training_starts_at_the_backbone_and_reaches_all_that_trains(
    vit: VisionTransformer, method: type[Method]
):
    built = method(own(vit)).double()
    torch.testing.assert_close(features(built), vit(IMAGES), rtol=1e-12, atol=1e-12)
    with torch.no_grad():  # layer scales near 0 leave gradients near 0
        for parameter in built.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    (features(built) * torch.randn(3, 24).double()).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in trained(built).values())


def test_difffit_scales_what_attention_and_mlp_add(plain: VisionTransformer):
    """By hand, with copies of what trains that are leaves of their own."""
    torch.manual_seed(0)
    method = DiffFit(FrozenViT(plain)).double()
    with torch.no_grad():
        for parameter in trained(method).values():
            parameter.add_(0.3 * torch.randn_like(parameter))
    ours = features(method)
    weights = torch.randn_like(ours)
    mine = torch.autograd.grad((ours * weights).sum(), list(trained(method).values()))
    tokens = plain._pos_embed(plain.patch_embed(IMAGES))
    block: Any
    for block in plain.blocks:
        first, second = block.ls1[1].gamma, block.ls2[1].gamma
        normed, mixed = block.norm1(tokens), torch.zeros_like(tokens)
        q, k, v = block.attn.qkv(normed).chunk(3, dim=2)
        for head in range(2):
            span = slice(12 * head, 12 * head + 12)
            logits = q[..., span] @ k[..., span].mT / 12**0.5
            mixed[..., span] = logits.softmax(-1) @ v[..., span]
        tokens = tokens + block.attn.proj(mixed) * first
        hidden = nn.functional.gelu(block.mlp.fc1(block.norm2(tokens)))
        tokens = tokens + block.mlp.fc2(hidden) * second
    theirs = plain.norm(tokens[:, 0])
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    expected = torch.autograd.grad((theirs * weights).sum(), list(trained(method).values()))
    torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", EACH)
def test_merged_it_is_a_plain_vit_of_equal_features(vit: VisionTransformer, method: type[Method]):
    built = method(own(vit)).double()
    with torch.no_grad():
        for parameter in trained(built).values():
            parameter.add_(0.2 * torch.randn_like(parameter))
        before = features(built)
        built.merge()
        torch.testing.assert_close(vit_of(built)(IMAGES), before, rtol=1e-9, atol=1e-9)
    vit.load_state_dict(vit_of(built).state_dict())
    torch.testing.assert_close(vit(IMAGES), before, rtol=1e-9, atol=1e-9)


def vit_of(method: Method) -> VisionTransformer:
    return method.vit.vit


def test_weight_decay_leaves_norms_and_scales_alone():
    for label in ("ln-tuning", "difffit"):
        (variant,) = parse(label)
        own = protocols.load("vpt").for_cell(
            variant, "vtab", "vit_base_patch16_224.orig_in21k", "train+val"
        )
        assert (own.optimizer, own.no_decay, own.batch_size) == ("adamw", "vectors", 64)


def test_partial_k_is_tuned_as_vpt_does():
    (variant,) = parse("partial-k(norm=true)")
    own = protocols.load("vpt").for_cell(
        variant, "vtab", "vit_base_patch16_224.orig_in21k", "train+val"
    )
    assert (own.batch_size, own.warmup_epochs, own.no_decay) == (384, 5, "biases")


@pytest.mark.usefixtures("unchecked")
def test_blocks_are_some_of_the_backbones(plain: VisionTransformer):
    for blocks in (0, 4):
        with pytest.raises(ValueError, match=f"blocks={blocks}, and the backbone has 1 to 3"):
            PartialK(FrozenViT(plain), blocks=blocks)


def test_the_former_name_of_bitfit_says_the_present_one():
    with pytest.raises(BadInput, match=r"the method 'bias' is called bitfit now\."):
        parse("linear,bias")
