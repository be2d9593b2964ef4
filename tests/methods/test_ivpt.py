"""iVPT: its parts one by one, against the equations in its docstring."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from methods.ivpt import IVPT
from methods.vit import FrozenViT
from methods.vpt import VPTDeep

IMAGES = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(plain: VisionTransformer, **arguments) -> IVPT:
    torch.manual_seed(0)
    return IVPT(FrozenViT(plain), **{"prompts": 5, "k": 3, **arguments}).double()


def tokens_of(method: torch.nn.Module, images: torch.Tensor = IMAGES) -> torch.Tensor:
    (tokens,) = method(images, method.vit.read())
    return tokens


@pytest.mark.parametrize(("prompts", "expected"), [(10, 177_850), (50, 573_330), (100, 1_117_180)])
def test_parameter_counts_on_vit_b16(prompts: int, expected: int):
    with torch.device("meta"):
        method = IVPT(FrozenViT(VisionTransformer(num_classes=0)), prompts=prompts)
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == expected


def test_all_toggles_off_is_vpt_deep_exactly(plain: VisionTransformer):
    method = make(plain, cdc=False, da=False, ar=False)
    torch.manual_seed(0)
    deep = VPTDeep(FrozenViT(plain), prompts=5).double()
    assert torch.equal(method.prompts, deep.prompts)
    assert torch.equal(tokens_of(method), tokens_of(deep))
    assert [name for name, p in method.named_parameters() if p.requires_grad] == ["prompts"]


def test_cdc_and_da_make_the_prompts_that_the_equation_says(plain: VisionTransformer):
    method = make(plain, ar=False)
    mixed = [method.prompts[0]]
    for index in (1, 2):
        link = method.aggregations[index - 1]
        mixed.append(method.prompts[index] + link.weight @ method.prompts[index - 1] + link.bias[:, None])
    deep = VPTDeep(FrozenViT(plain), prompts=5).double()
    deep.prompts.data = torch.stack(mixed).detach()
    torch.testing.assert_close(tokens_of(method), tokens_of(deep), rtol=1e-9, atol=1e-9)


def test_cdc_alone_adds_the_previous_blocks_prompts(plain: VisionTransformer):
    method = make(plain, da=False, ar=False)
    deep = VPTDeep(FrozenViT(plain), prompts=5).double()
    p = method.prompts.detach()
    deep.prompts.data = torch.stack([p[0], p[1] + p[0], p[2] + p[1]])
    torch.testing.assert_close(tokens_of(method), tokens_of(deep), rtol=1e-9, atol=1e-9)
    recursive = make(plain, da=False, ar=False, cdc_source="recursive")
    deep.prompts.data = torch.stack([p[0], p[1] + p[0], p[2] + p[1] + p[0]])
    torch.testing.assert_close(tokens_of(recursive), tokens_of(deep), rtol=1e-9, atol=1e-9)


def test_ar_starts_as_cdc_and_da(plain: VisionTransformer):
    with_ar, without = make(plain), make(plain, ar=False)
    assert torch.equal(with_ar.reinforcements, torch.zeros(2, 3, 24, dtype=torch.float64))
    torch.testing.assert_close(tokens_of(with_ar), tokens_of(without), rtol=1e-12, atol=1e-12)


def test_ar_adds_to_the_most_salient_tokens_in_order_with_ties_by_position(plain: VisionTransformer):
    method = make(plain)
    method.reinforcements.data = torch.arange(1.0, 4.0, dtype=torch.float64)[None, :, None].expand(2, 3, 24).clone()
    saliency = torch.zeros(2, 16, dtype=torch.float64)
    saliency[0, 7], saliency[0, 2] = 0.9, 0.5
    saliency[1, [3, 9]] = 0.7
    added = method.reinforce(1, torch.zeros(2, 17, 24, dtype=torch.float64), method.prompts[1], saliency)[:, :, 0]
    expected = torch.zeros(2, 17, dtype=torch.float64)
    expected[0, [1 + 7, 1 + 2, 1 + 0]] = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    expected[1, [1 + 3, 1 + 9, 1 + 0]] = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert torch.equal(added, expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"cdc_source": "output"},
        {"cdc_source": "recursive"},
        {"da": "gate"},
        {"ar_vector": "prompt"},
        {"da": "gate", "cdc_source": "output"},
    ],
    ids=str,
)
def test_every_reading_trains_all_its_parameters(plain: VisionTransformer, arguments: dict):
    method = make(plain, dropout=0.1, **arguments).train()
    tokens_of(method).square().sum().backward()
    unused = [name for name, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)]
    assert unused == []


def test_da_without_cdc_is_refused(plain: VisionTransformer):
    with pytest.raises(ValueError, match="without CDC"):
        make(plain, cdc=False)


def test_ar_needs_a_cls_token_and_enough_image_tokens(plain: VisionTransformer):
    without = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=2, num_classes=0, class_token=False, global_pool="avg"
    )
    with pytest.raises(ValueError, match="no CLS token"):
        IVPT(FrozenViT(without, "avg"), prompts=2)
    with pytest.raises(ValueError, match="16 image tokens"):
        make(plain, k=17)
