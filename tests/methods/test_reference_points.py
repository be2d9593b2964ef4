"""full, bitfit, lora, ssf: parameter counts on ViT-B/16 and each paper's equation, on a
small ViT in float64."""

import copy

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones.vit import FrozenViT
from harness.planning import protocols
from harness.planning.variants import Variant, parse
from harness.training.classification import ClassificationRecipe
from harness.training.heads import LinearHead, Model
from harness.training.method import Method
from harness.training.recipe import new_optimizer
from methods.full import Full
from methods.linear import Linear
from methods.lora import LoRA
from methods.selective import BitFit
from methods.ssf import SSF

IMAGES = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def own(vit: VisionTransformer) -> FrozenViT:
    """A method's backbone is a copy of its own."""
    return FrozenViT(copy.deepcopy(vit))


def features(method: Method) -> Tensor:
    (tokens,) = method(IMAGES, method.vit.read())
    return method.vit.pool(tokens)


def trainable(method: Method) -> dict[str, Tensor]:
    return {name: p for name, p in method.named_parameters() if p.requires_grad}


def randomise(method: Method) -> None:
    with torch.no_grad():
        for parameter in trainable(method).values():
            parameter.add_(0.3 * torch.randn_like(parameter))


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        (Full, {}, 85_798_656),
        (BitFit, {}, 12 * (2304 + 4 * 768 + 3072) + 2 * 768),
        (LoRA, {"rank": 8}, 12 * 2 * 2 * 768 * 8),
        (SSF, {}, 2 * (12 * (2304 + 4 * 768 + 3072) + 2 * 768)),
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


def test_lora_adds_low_rank_updates_to_query_and_value(plain: VisionTransformer):
    method = LoRA(own(plain), rank=2, alpha=6.0).double()
    randomise(method)
    expected = plain
    for tuned, block in zip(method.vit.vit.blocks, expected.blocks, strict=True):
        update = tuned.attn.qkv.parametrizations.weight[0]  # type: ignore[union-attr,index]
        with torch.no_grad():
            block.attn.qkv.weight[:24] += 3 * update.up[0] @ update.down[0]  # type: ignore[union-attr,index]
            block.attn.qkv.weight[48:] += 3 * update.up[1] @ update.down[1]  # type: ignore[union-attr,index]
    torch.testing.assert_close(features(method), expected(IMAGES), rtol=1e-9, atol=1e-9)


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


def test_ssf_scales_and_shifts_what_every_operation_gives(plain: VisionTransformer):
    method = SSF(own(plain)).double()
    randomise(method)
    for name, module in method.vit.vit.named_modules():
        if not name.endswith(("qkv", "proj", "fc1", "fc2", "norm1", "norm2", "norm")) or isinstance(
            module, nn.Identity
        ):
            continue
        scale, shift = module.parametrizations.weight[0].gamma, module.parametrizations.bias[1].beta  # type: ignore[union-attr,index]
        if name == "patch_embed.proj":
            scale, shift = scale[:, None, None], shift[:, None, None]  # type: ignore[index]
        plain.get_submodule(name).register_forward_hook(
            lambda _, __, out, scale=scale, shift=shift: scale * out + shift
        )
    torch.testing.assert_close(features(method), plain(IMAGES), rtol=1e-9, atol=1e-9)


def test_bitfit_tunes_biases_alone(plain: VisionTransformer):
    assert all(name.endswith(".bias") for name in trainable(BitFit(own(plain))))
