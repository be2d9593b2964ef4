"""full, bitfit, lora, ssf: parameter counts on ViT-B/16 and each paper's equation, on a
small ViT in float64."""

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from tuned import check_equal_to_weights, features, own, randomise, trainable

from harness.backbones.vit import FrozenViT
from harness.planning import protocols
from harness.planning.variant import Variant
from harness.planning.variants import parse
from harness.training.classification import ClassificationRecipe
from harness.training.heads import LinearHead, Model
from harness.training.method import Method
from harness.training.recipe import new_optimizer
from methods.full import Full
from methods.linear import Linear
from methods.lora import LoRA
from methods.selective import BitFit
from methods.ssf import SSF


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        (Full, {}, 85_798_656),
        (BitFit, {}, 12 * (2304 + 4 * 768 + 3072) + 2 * 768),
        (LoRA, {"rank": 8}, 294_912),
        (LoRA, {"rank": 8, "targets": "qkv"}, 294_912),
        (SSF, {}, 205_824),
    ],
)
def test_parameter_counts_on_vit_b16(method: type[Method], arguments: dict, expected: int):
    with torch.device("meta"):
        built = method(FrozenViT(VisionTransformer(num_classes=0)), **arguments)
    assert sum(p.numel() for p in trainable(built).values()) == expected


@pytest.mark.parametrize("method", [Full, BitFit, LoRA, SSF])
def test_every_tuned_tensor_gets_a_gradient_and_the_given_backbone_none(
    plain: VisionTransformer, method: type[Method]
):
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    built = Variant(method, "", {}, "").build(FrozenViT(plain), {}).double()
    randomise(built)
    features(built).square().sum().backward()
    without = [
        name for name, p in trainable(built).items() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert without == []
    assert all(p.grad is None for p in plain.parameters())
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())


@pytest.mark.parametrize("method", [Full, BitFit, LoRA])
def test_training_starts_at_the_backbone(plain: VisionTransformer, method: type[Method]):
    torch.testing.assert_close(
        features(method(own(plain)).double()),
        features(Linear(FrozenViT(plain))),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("targets", ["qv", "qkv"])
def test_lora_is_a_low_rank_update_of_the_projections(plain: VisionTransformer, targets: str):
    method = LoRA(own(plain), rank=2, alpha=6.0, targets=targets).double()  # type: ignore[arg-type]
    randomise(method)
    weights = {}
    for index, block in enumerate(method.vit.vit.blocks):
        beside: Any = block.attn.qkv  # type: ignore[union-attr]
        updates = [3 * up @ down for up, down in zip(beside.up, beside.down, strict=True)]
        if targets == "qv":
            updates.insert(1, torch.zeros(24, 24))
        weights[f"blocks.{index}.attn.qkv.weight"] = beside.qkv.weight + torch.cat(updates)
    check_equal_to_weights(plain, method, weights)


def test_lora_drops_what_goes_into_its_maps(plain: VisionTransformer):
    method = LoRA(own(plain), dropout=0.5).double().train()
    assert torch.equal(features(method), features(method))  # B is zero
    randomise(method)
    assert not torch.equal(features(method), features(method))
    assert torch.equal(features(method.eval()), features(method))


def test_weight_decay_spares_ssfs_scales_and_shifts(plain: VisionTransformer):
    """All that it trains is 1-d; decay would pull its scales to 0."""
    (variant,) = parse("ssf")
    protocol = protocols.load("vpt").for_cell(
        variant, "vtab", "vit_base_patch16_224.orig_in21k", "train+val"
    )
    recipe = ClassificationRecipe(
        optimizer="adamw",
        base_lr=1.0,
        weight_decay=0.1,
        batch_size=64,
        epochs=1,
        warmup_epochs=0,
        no_decay=protocol.no_decay,
    )
    method = SSF(own(plain))
    model = Model(method, LinearHead(method, 3))
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    new_optimizer(model, recipe).step()
    moved = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and not torch.equal(p, before[name])
    ]
    assert moved == ["head.linear.weight"]


def test_ssf_is_a_scale_and_a_shift_of_all_weights(plain: VisionTransformer):
    method = SSF(own(plain)).double()
    randomise(method)
    weights = {}
    for name, tensor in plain.named_parameters():
        operation, _, last = name.rpartition(".")
        if last not in ("weight", "bias"):
            continue
        scaled: Any = method.vit.vit.get_submodule(operation)
        gamma = scaled.gamma.view(-1, *[1] * (tensor.ndim - 1))
        weights[name] = gamma * tensor + (scaled.beta if last == "bias" else 0)
    check_equal_to_weights(plain, method, weights)


def test_bitfit_tunes_biases_alone(plain: VisionTransformer):
    assert all(name.endswith(".bias") for name in trainable(BitFit(own(plain))))
