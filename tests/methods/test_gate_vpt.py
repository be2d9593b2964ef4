"""GateVPT: against an explicit softmax over concatenated prompts, and what its gates and
temperatures are at their ends."""

import oracle
import pytest
import torch
from architectures import build
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.frozen import Pooling
from harness.backbones.vit import FrozenViT
from harness.planning.plan import plan
from harness.training.heads import LinearHead, Model
from methods.gate_vpt import GateVPT
from methods.vpt import VPT, VPTDeep

IMAGES = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(
    vit: VisionTransformer, pooling: Pooling = "cls", moved: bool = False, **arguments
) -> GateVPT:
    """`moved`: with gates half open and temperatures other than 1."""
    torch.manual_seed(0)
    method = GateVPT(FrozenViT(vit, pooling), **{"prompts": 5, "dropout": 0.0, **arguments})
    method = method.double()
    if moved:
        for own in (method.gates, method.temperatures):
            if own is not None:
                own.data = torch.rand_like(own) + 0.5
    return method


def tokens_of(method: torch.nn.Module, images: Tensor = IMAGES) -> Tensor:
    (tokens,) = method(images, method.vit.read())
    return tokens


def slow(method: GateVPT, vit: VisionTransformer) -> Tensor:
    """Tokens and prompt rows behind the last block, head by head."""
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(IMAGES)))
    rows = torch.cat([tokens, method.prompts.expand(4, -1, -1)], dim=1)
    count = tokens.shape[1]
    for index, block in enumerate(vit.blocks):
        tau = 1.0 if method.temperatures is None else method.temperatures[index]
        out, _ = oracle.block(block, rows, temperature=tau)
        if method.gates is not None and index < len(vit.blocks) - 1:
            gate = 1 / (1 + (-method.gates[index]).exp())
            mixed = [gate * new + (1 - gate) * old for new, old in zip(out, rows, strict=True)]
            out = torch.cat([out[:, :count], torch.stack(mixed)[:, count:]], dim=1)
        rows = out
    return rows


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({}, 76_823), ({"gate": False}, 76_812), ({"temperature": False}, 76_811)],
)
def test_parameter_counts_on_vit_b16(arguments: dict, expected: int):
    with torch.device("meta"):
        method = GateVPT(FrozenViT(VisionTransformer(num_classes=0)), **arguments)
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize(
    ("backbone", "arguments"),
    [
        ("plain", {}),
        ("plain", {"gate": False}),
        ("plain", {"temperature": False}),
        ("registers", {}),
        ("average-without-cls", {}),
        ("qk-norm", {}),
        ("huge", {}),
    ],
    ids=str,
)
def test_it_equals_the_slow_form_in_values_and_gradients(backbone: str, arguments: dict):
    vit = build(backbone)
    pooling = "cls" if vit.global_pool == "token" else "avg"
    method = make(vit, pooling, moved=True, **arguments).train()
    expected = slow(method, vit)
    rows = expected[:, :1] if pooling == "cls" else expected[:, vit.num_prefix_tokens : -5]
    agree(method, tokens_of(method), rows)


def agree(method: GateVPT, ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(theirs)
    trained = [p for p in method.parameters() if p.requires_grad]
    for one, other in zip(
        torch.autograd.grad((ours * weights).sum(), trained),
        torch.autograd.grad((theirs * weights).sum(), trained),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_mae_is_pooled_as_released_the_norm_behind_the_mean(plain: VisionTransformer):
    method = make(plain, "vpt-mae", moved=True).train()
    model = Model(method, LinearHead(method, 3)).double()
    features = oracle.with_own_norm(plain, slow(method, plain))
    agree(method, model(IMAGES), model.head.linear(features))
    rows = slow(method, plain)
    assert torch.equal(make(plain).pool(rows), method.vit.vit.norm(rows)[:, 0])


def test_open_gates_are_vpt_shallow_and_closed_ones_the_same_prompts_everywhere(
    plain: VisionTransformer,
):
    method = make(plain, temperature=False)
    shallow = VPT(FrozenViT(plain), prompts=5).double()
    deep = VPTDeep(FrozenViT(plain), prompts=5, dropout=0.0).double()
    shallow.prompts.data = method.prompts.data
    deep.prompts.data = method.prompts.data.expand(3, -1, -1)
    made = []
    for gate, other in ((1000.0, shallow), (-1000.0, deep)):
        method.gates.data.fill_(gate)
        made.append(tokens_of(method))
        torch.testing.assert_close(made[-1], tokens_of(other), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(*made)


def test_a_temperature_of_1_is_none(plain: VisionTransformer):
    with_one, without = make(plain), make(plain, temperature=False)
    assert torch.equal(tokens_of(with_one), tokens_of(without))
    with_one.temperatures.data[1] = 2
    assert not torch.allclose(tokens_of(with_one), tokens_of(without))


def test_all_toggles_off_is_vpt_shallow_to_the_bit(plain: VisionTransformer):
    torch.manual_seed(0)
    shallow = VPT(FrozenViT(plain), prompts=5).double()
    assert torch.equal(tokens_of(make(plain, gate=False, temperature=False)), tokens_of(shallow))


def test_gates_start_closed_and_the_last_block_has_none(plain: VisionTransformer):
    method = make(plain, gate_init=7)
    assert method.gates.tolist() == [-7, -7]
    assert method.temperatures.tolist() == [1, 1, 1]
    tokens_of(method.train()).square().sum().backward()
    assert all(p.grad.abs().min() > 0 for p in (method.gates, method.temperatures))
    (value,) = method.logged().values()
    assert value.item() == pytest.approx(1 / (1 + 2.718281828**7))


def test_temperatures_are_put_back_in_training_and_left_alone_in_evaluation(
    plain: VisionTransformer,
):
    method, bounded = make(plain), make(plain)
    outside = torch.tensor([20.0, -3.0, 2.0], dtype=torch.float64)
    method.temperatures.data = outside.clone()
    bounded.temperatures.data = torch.tensor([10.0, 0.01, 2.0], dtype=torch.float64)
    assert torch.equal(tokens_of(method.eval()), tokens_of(bounded.eval()))
    assert torch.equal(method.temperatures, outside)
    made = tokens_of(method.train())
    assert torch.equal(method.temperatures, bounded.temperatures)
    assert torch.equal(made, tokens_of(bounded.train()))
    made.square().sum().backward()
    assert method.temperatures.grad[0] != 0  # at its bound, and free to leave it


def test_weight_decay_is_zero_as_released(tiny):
    (cell,) = plan(tiny.request("gate-vpt")).cells
    assert cell.space["weight_decay"].choices == (0.0,)
