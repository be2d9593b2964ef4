"""Products with frozen weights by oneDNN: held to float64, and to torch's own wherever they aren't
for it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from harness.backbones import products
from harness.backbones.frozen import FrozenBackbone
from harness.backbones.products import FEWEST, fed, linear, mapped
from harness.backbones.swin import FrozenSwin
from harness.backbones.vit import FrozenViT
from harness.training.classification import Classification
from harness.training.flops import step_flops
from harness.training.heads import LinearHead, Model
from methods.adaptformer import AdaptFormer
from methods.ivpt import IVPT
from methods.vpt import VPT, VPTDeep

onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"),
    reason="this torch has no oneDNN",
)
Calls = list[tuple[int, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Of oneDNN, by the rows' shape, on a processor that is said to gain by it."""
    seen: Calls = []
    product = products._product

    def counted(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(tuple(rows.shape))
        return product(rows, weight, bias)

    monkeypatch.setattr(products, "_product", counted)
    monkeypatch.setattr(products, "leaves_avx512_unused", lambda: True)
    return seen


def rows_of(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


ROWS = {
    "images": rows_of(4, 37, 24),
    "some of each": rows_of(4, 90, 24)[:, 3:50],
    "heads beside": rows_of(4, 24, 30).transpose(1, 2),
    "the same for all": rows_of(1, 40, 24).expand(5, -1, -1),
    "a matrix": rows_of(FEWEST, 24),
}


@onednn
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("span", [slice(None), slice(12, 36)])
def test_values_and_gradients_are_those_of_float64(
    rows: Tensor, biased: bool, span: slice, calls: Calls
):
    weight = rows_of(36, 24)[span]
    bias = rows_of(36)[span] if biased else None
    rows = rows.detach().requires_grad_()
    out = linear(rows, weight, bias)
    upstream = rows_of(1, *out.shape)[0]
    (gradient,) = torch.autograd.grad(out, rows, upstream)
    expected = F.linear(rows.double(), weight.double(), None if bias is None else bias.double())
    torch.testing.assert_close(out, expected.float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        gradient, (upstream.double() @ weight.double()).float(), rtol=1e-5, atol=1e-5
    )
    assert len(calls) == 2, "forward and backward"
    with torch.no_grad():
        assert torch.equal(linear(rows, weight, bias), out)


@onednn
def test_a_gradient_that_is_the_same_everywhere(calls: Calls):
    rows, weight = rows_of(4, 37, 24).requires_grad_(), rows_of(36, 24)
    linear(rows, weight).sum().backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
    assert rows.grad is not None
    torch.testing.assert_close(rows.grad, weight.sum(0).expand(4, 37, 24), rtol=1e-5, atol=1e-5)
    assert len(calls) == 2


@onednn
def test_second_derivatives(calls: Calls):
    """Of the sum of (W x)^3 along a direction: 6 (W x) (W u) W, in float64."""
    rows, weight, along = rows_of(FEWEST, 24).requires_grad_(), rows_of(36, 24), rows_of(1, 24)[0]
    (first,) = torch.autograd.grad((linear(rows, weight) ** 3).sum(), rows, create_graph=True)
    (second,) = torch.autograd.grad((first @ along).sum(), rows)
    x, w = rows.detach().double(), weight.double()
    expected = 6 * (x @ w.T) * (w @ along.double()) @ w
    torch.testing.assert_close(second, expected.float(), rtol=1e-4, atol=1e-3)
    assert calls


def trained(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()


@pytest.mark.parametrize(
    ("rows", "weight", "bias"),
    [
        (rows_of(FEWEST, 24), trained(rows_of(36, 24)), None),
        (rows_of(FEWEST, 24), rows_of(36, 24), trained(rows_of(36))),
        (rows_of(FEWEST, 24).double(), rows_of(36, 24).double(), None),
        (rows_of(FEWEST, 24).bfloat16(), rows_of(36, 24).bfloat16(), None),
        (rows_of(FEWEST - 1, 24), rows_of(36, 24), None),
        (rows_of(0, 24), rows_of(36, 24), None),
    ],
    ids=["trained weight", "trained bias", "float64", "bfloat16", "few rows", "no rows"],
)
def test_others_are_torchs(rows: Tensor, weight: Tensor, bias: Tensor | None, calls: Calls):
    assert torch.equal(linear(rows, weight, bias), F.linear(rows, weight, bias))
    assert not calls


def test_autocast_is_torchs(calls: Calls):
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(rows_of(FEWEST, 24), rows_of(36, 24)).dtype == torch.bfloat16
    assert not calls


@onednn
def test_operations_that_are_counted_are_torchs(calls: Calls):
    with FlopCounterMode(display=False) as counter:
        linear(rows_of(FEWEST, 24).requires_grad_(), rows_of(36, 24)).sum().backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
    assert counter.get_total_flops() == 2 * 2 * FEWEST * 24 * 36
    assert not calls
    linear(rows_of(FEWEST, 24), rows_of(36, 24))
    assert calls, "no longer after it"


def test_transformed_operations_are_torchs(calls: Calls):
    rows, weight = rows_of(3, FEWEST, 24), rows_of(36, 24)

    def total(rows: Tensor) -> Tensor:
        return linear(rows, weight).sum()

    by_rows = torch.func.vmap(torch.func.grad(total))(rows)
    torch.testing.assert_close(by_rows, weight.sum(0).expand_as(rows))
    assert not calls


def vit() -> FrozenBackbone:
    torch.manual_seed(0)
    made = VisionTransformer(
        img_size=48, patch_size=8, embed_dim=24, depth=3, num_heads=2, num_classes=0
    )
    return FrozenViT(made)


def swin() -> FrozenBackbone:
    torch.manual_seed(0)
    made = SwinTransformer(
        img_size=32, patch_size=2, embed_dim=12, depths=(1, 1), num_heads=(2, 2), window_size=4,
        num_classes=0,
    )  # fmt: skip
    return FrozenSwin(made, "avg+prompts")


@onednn
@pytest.mark.parametrize(
    ("backbone", "method"),
    [(vit, VPT), (vit, VPTDeep), (vit, IVPT), (vit, AdaptFormer), (swin, VPTDeep)],
)
def test_models_in_float32_are_those_of_float64(
    backbone: Callable[[], FrozenBackbone], method: Any, calls: Calls
):
    one = backbone()
    torch.manual_seed(1)
    model = Model(made := method(one), LinearHead(made, 5)).eval()  # no dropout
    exact = copy.deepcopy(model).double()
    images = rows_of(4, 3, one.image_size, one.image_size)
    weights = rows_of(4, 5)

    def gradients(model: nn.Module, images: Tensor) -> list[Tensor]:
        tensors = [p for p in model.parameters() if p.requires_grad]
        return list(torch.autograd.grad((model(images) * weights.to(images)).sum(), tensors))

    got, used = gradients(model, images), len(calls)
    for ours, theirs in zip(got, gradients(exact, images.double()), strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-4, atol=1e-5)
    assert used > 0
    assert len(calls) == used, "float64 is torch's"


@onednn
def test_all_maps_of_a_block_are_for_it(calls: Calls):
    """Forward: queries apart from keys and values, as prompts join, then three maps; the last block
    computes CLS, too few rows. Backward: all but the first block's projections, whose tokens are
    fixed."""
    one = vit()
    model = Model(method := VPTDeep(one, prompts=2, dropout=0.0), LinearHead(method, 5))
    model(images := rows_of(4, 3, 48, 48))
    assert len(calls) == 2 * 5 + 1, calls
    calls.clear()
    model(images).sum().backward()
    backward = len(calls) - 11
    assert backward == 3 + 5 + 1, backward


def test_parts_that_a_method_has_put_in_are_called(calls: Calls):
    class Doubled(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return 2 * rows

    one: Any = vit()
    mlp, rows = one.blocks[0].mlp, rows_of(4, 37, 24)
    plain = fed(mlp, rows)
    torch.testing.assert_close(plain, mlp(rows))
    hook = mlp.fc2.register_forward_hook(lambda module, given, out: out + 1)
    torch.testing.assert_close(fed(mlp, rows), plain + 1)
    hook.remove()
    mlp.act = Doubled()
    torch.testing.assert_close(fed(mlp, rows), mlp(rows))
    mlp.fc1 = nn.Sequential(mlp.fc1, Doubled())
    torch.testing.assert_close(fed(mlp, rows), mlp(rows))
    torch.testing.assert_close(mapped(Doubled(), rows), 2 * rows)
    mlp.forward = lambda rows: -rows
    assert torch.equal(fed(mlp, rows), -rows)


@onednn
def test_operations_of_a_step_are_counted_in_full(monkeypatch: pytest.MonkeyPatch):
    counted: list[int] = []
    for gains in (False, True):
        monkeypatch.setattr(products, "leaves_avx512_unused", lambda gains=gains: gains)
        model = Model(method := VPTDeep(vit(), prompts=2), LinearHead(method, 5))
        counted.append(step_flops(Classification(), model, 48, 16, torch.device("cpu")))
    assert counted[0] == counted[1] > 0


@pytest.mark.parametrize(
    ("vendor", "capability", "expected"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("AuthenticAMD", "AVX2", False),
        ("GenuineIntel", "AVX512", False),
        ("", "DEFAULT", False),
    ],
)
def test_processors(vendor: str, capability: str, expected: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(products, "processor", {"vendor_id": vendor}.get)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", object(), raising=False)
    assert products.leaves_avx512_unused.__wrapped__() is expected
