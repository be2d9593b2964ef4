"""iVPT: as a whole against a slow form with concatenated prompts, and its parts one by one against
the equations in its docstring."""

from typing import Any

import oracle
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from harness.backbones.vit import FrozenViT
from harness.training.method import Method
from methods.ivpt import IVPT
from methods.vpt import VPT, VPTDeep

IMAGES = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(plain: VisionTransformer, **arguments) -> IVPT:
    torch.manual_seed(0)
    return IVPT(FrozenViT(plain), **{"prompts": 5, "k": 3, "dropout": 0.0, **arguments}).double()


def tokens_of(method: Method, images: torch.Tensor = IMAGES) -> torch.Tensor:
    (tokens,) = method(images, method.vit.read())
    return tokens


@pytest.mark.parametrize(("prompts", "expected"), [(10, 177_850), (50, 573_330), (100, 1_117_180)])
def test_parameter_counts_on_vit_b16(prompts: int, expected: int):
    with torch.device("meta"):
        method = IVPT(FrozenViT(VisionTransformer(num_classes=0)), prompts=prompts)
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == expected


def with_all_its_parts(vit: VisionTransformer, **arguments) -> IVPT:
    """In training, with vectors that are no longer zero."""
    torch.manual_seed(0)
    pooling = "cls" if vit.global_pool == "token" else "avg"
    method = IVPT(FrozenViT(vit, pooling), **{"prompts": 5, "k": 3, **arguments}).double().train()
    if hasattr(method, "reinforcements"):
        method.reinforcements.data.normal_(std=0.5)
    return method


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"dropout": 0.0},
        {"dropout": 0.5},
        {"k": "all"},
        {"da": False},
        {"cdc": False, "da": False},
        {"ar": False},
    ],
    ids=str,
)
def test_it_equals_the_slow_form_in_values_and_gradients(vit: VisionTransformer, arguments: dict):
    if vit.cls_token is None and arguments.get("ar", True) and arguments.get("k") != "all":
        pytest.skip("AR reads CLS attention")
    method = with_all_its_parts(vit, **arguments)
    rate = arguments.get("dropout", 0.1)

    def drop(prompts: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(prompts.expand(4, -1, -1), rate) if rate else prompts

    def link(index: int, shared: torch.Tensor) -> torch.Tensor:
        if not method.da:
            return shared
        own: Any = method.aggregations[index - 1]
        return torch.einsum("jk,...kd->...jd", own.weight, shared) + own.bias[:, None]

    torch.manual_seed(3)
    tokens = tokens_of(method)
    torch.manual_seed(3)
    vectors = method.reinforcements if method.ar else None
    expected = oracle.ivpt(
        vit, IMAGES, method.prompts, drop, link if method.cdc else None, vectors, method.k == "all"
    )
    rows = expected[:, :1] if method.vit.pooling == "cls" else expected[:, vit.num_prefix_tokens :]
    torch.testing.assert_close(tokens, rows, rtol=1e-9, atol=1e-9)
    weights, trained = torch.randn_like(rows), [p for p in method.parameters() if p.requires_grad]
    ours, theirs = (torch.autograd.grad((made * weights).sum(), trained) for made in (tokens, rows))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_the_link_drops_the_previous_prompts_anew(
    plain: VisionTransformer, monkeypatch: pytest.MonkeyPatch
):
    """With prompts whose values tell where they come from: 1 in block 0, 10 in block 1, 100 in
    block 2, and half of all dropped."""
    method = with_all_its_parts(plain, prompts=400, da=False, ar=False, dropout=0.5)
    method.prompts.data = (
        torch.tensor([1.0, 10.0, 100.0]).double()[:, None, None].expand(3, 400, 24).clone()
    )
    seen = {}

    def block(
        index: int, tokens: torch.Tensor, prompts: torch.Tensor, rows: slice = slice(None)
    ) -> torch.Tensor:
        seen[index] = prompts / 2  # kept ones are scaled by 1 / (1 - rate)
        return tokens[:, rows]

    monkeypatch.setattr(method.vit, "block", block)
    tokens_of(method)
    assert set(seen[0].unique().tolist()) == {0, 1}
    assert set(seen[1].unique().tolist()) == {0, 1, 10, 11}
    # two draws of P_0's mask: they agree as often as coins do
    own, linked = seen[0] > 0, seen[1] % 10 > 0
    assert own.shape == (4, 400, 24)
    assert (own == linked).double().mean().item() == pytest.approx(0.5, abs=0.02)
    assert ((seen[1] >= 10) == (seen[2] % 100 >= 10)).double().mean().item() == pytest.approx(
        0.5, abs=0.02
    )
    assert not torch.equal(own[0], own[1])  # a mask a sample


def test_prompt_dropout_is_that_of_the_released_commands_by_default(plain: VisionTransformer):
    for method, rate in ((VPT, 0.0), (VPTDeep, 0.1), (IVPT, 0.1)):
        built = method(FrozenViT(plain), prompts=200).double()
        assert built.dropout.rate == rate
        dropped = built.dropout(torch.ones(200, 24), 50)
        assert (dropped == 0).double().mean().item() == pytest.approx(rate, abs=0.01)
        assert torch.equal(built.eval().dropout(torch.ones(200, 24), 50), torch.ones(200, 24))


def test_with_all_tokens_it_has_a_vector_a_place_and_reads_no_attention(
    plain: VisionTransformer, monkeypatch: pytest.MonkeyPatch
):
    method = make(plain, k="all")
    assert method.reinforcements.shape == (2, 16, 24)
    monkeypatch.setattr(method.vit, "block_and_saliency", None)
    method.reinforcements.data = (
        torch.arange(16.0, dtype=torch.float64)[None, :, None].expand(2, 16, 24).clone()
    )
    added = method.reinforce(
        1, torch.zeros(2, 17, 24, dtype=torch.float64), method.prompts[1], None
    )[:, :, 0]
    assert torch.equal(added, torch.tensor([0.0, *range(16)], dtype=torch.float64).expand(2, 17))
    tokens_of(method)
    with torch.device("meta"):
        large = FrozenViT(
            VisionTransformer(patch_size=16, embed_dim=1024, depth=24, num_heads=16, num_classes=0)
        ).at(512)
        assert IVPT(large, k="all").reinforcements.numel() == 24_117_248


@pytest.mark.parametrize("k", [0, -1, 2.0, True, "most"])
@pytest.mark.usefixtures("unchecked")
def test_k_is_a_number_of_tokens_or_all(plain: VisionTransformer, k: object):
    with pytest.raises(ValueError, match="k is a number of image tokens, from 1 on, or all"):
        make(plain, k=k)


def test_all_toggles_off_is_vpt_deep_exactly(plain: VisionTransformer):
    method = make(plain, cdc=False, da=False, ar=False)
    torch.manual_seed(0)
    deep = VPTDeep(FrozenViT(plain), prompts=5, dropout=0.0).double()
    assert torch.equal(method.prompts, deep.prompts)
    assert torch.equal(tokens_of(method), tokens_of(deep))
    assert [name for name, p in method.named_parameters() if p.requires_grad] == ["prompts"]


def test_cdc_and_da_make_the_prompts_that_the_equation_says(plain: VisionTransformer):
    method = make(plain, ar=False)
    mixed = [method.prompts[0]]
    for index in (1, 2):
        link: Any = method.aggregations[index - 1]
        mixed.append(
            method.prompts[index] + link.weight @ method.prompts[index - 1] + link.bias[:, None]
        )
    deep = VPTDeep(FrozenViT(plain), prompts=5, dropout=0.0).double()
    deep.prompts.data = torch.stack(mixed).detach()
    torch.testing.assert_close(tokens_of(method), tokens_of(deep), rtol=1e-9, atol=1e-9)


def test_cdc_alone_adds_the_previous_blocks_prompts(plain: VisionTransformer):
    method = make(plain, da=False, ar=False)
    deep = VPTDeep(FrozenViT(plain), prompts=5, dropout=0.0).double()
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


def test_ar_adds_to_the_most_salient_tokens_in_order_with_ties_by_position(
    plain: VisionTransformer,
):
    method = make(plain)
    method.reinforcements.data = (
        torch.arange(1.0, 4.0, dtype=torch.float64)[None, :, None].expand(2, 3, 24).clone()
    )
    saliency = torch.zeros(2, 16, dtype=torch.float64)
    saliency[0, 7], saliency[0, 2] = 0.9, 0.5
    saliency[1, [3, 9]] = 0.7
    added = method.reinforce(
        1, torch.zeros(2, 17, 24, dtype=torch.float64), method.prompts[1], saliency
    )[:, :, 0]
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
        {"k": "all"},
        {"k": "all", "ar_vector": "prompt"},
        {"da": "gate", "cdc_source": "output"},
    ],
    ids=str,
)
def test_every_reading_trains_all_its_parameters(plain: VisionTransformer, arguments: dict):
    method = make(plain, dropout=0.1, **arguments).train()
    tokens_of(method).square().sum().backward()
    unused = [
        name
        for name, p in method.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    assert unused == []


def test_da_without_cdc_is_refused(plain: VisionTransformer):
    with pytest.raises(ValueError, match="without CDC"):
        make(plain, cdc=False)


def test_ar_needs_a_cls_token_and_enough_image_tokens(plain: VisionTransformer):
    without = VisionTransformer(
        img_size=16,
        patch_size=4,
        embed_dim=24,
        depth=2,
        num_heads=2,
        num_classes=0,
        class_token=False,
        global_pool="avg",
    )
    with pytest.raises(ValueError, match="no CLS token"):
        IVPT(FrozenViT(without, "avg"), prompts=2)
    with pytest.raises(ValueError, match="16 image tokens"):
        make(plain, k=17)
