"""bi-adaptformer and bi-lora: counts, bytes, maps of two values and their gradients."""

from statistics import NormalDist
from typing import Any

import pytest
import torch
from bottlenecks import IMAGES, count, made, relu
from in_process import outcomes
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from harness.engine.jobs import FinalJob
from harness.engine.trainer import Trainer
from harness.inference import checkpoint, checkpoint_files, tuned_model
from harness.planning.plan import plan
from harness.training.heads import LinearHead, Model
from methods.binary import BiAdaptFormer, BiLoRA
from methods.binary_parts import OneBit

CODE = NormalDist().inv_cdf(0.75)


def coded(weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The weights that act, value by value; and what the gradient is taken by."""
    values = [value.item() for value in weight.detach().flatten()]
    mean = sum(values) / len(values)
    std = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
    signs = torch.tensor([1.0 if value > mean else -1.0 for value in values]).to(weight)
    return mean + std * CODE * signs.view(weight.shape), signs, weight.new_tensor(mean), std  # type: ignore[return-value]


def slow(vit: VisionTransformer, method: Any) -> Tensor:
    """CLS behind the last block."""
    x = vit._pos_embed(vit.patch_embed(IMAGES))
    block: Any
    for index, block in enumerate(vit.blocks):
        z = block.norm1(x)
        if isinstance(method, BiLoRA):
            qkv = method.vit.vit.blocks[index].attn.qkv
            added = []
            for net in (qkv.query, qkv.value):
                down, up = coded(net.down.weight)[0], coded(net.up.weight)[0]
                added.append(net.scale * up @ down)
            weight = qkv.qkv.weight + torch.cat([added[0], 0 * added[0], added[1]])
            q, k, v = (z @ weight.T + qkv.qkv.bias).unflatten(2, (3, 2, 12)).permute(2, 0, 3, 1, 4)
            mixed = (q @ k.transpose(2, 3) / 12**0.5).softmax(-1) @ v
            x = x + block.attn.proj(mixed.transpose(1, 2).flatten(2))
            x = x + block.mlp(block.norm2(x))
        else:
            x, net = x + block.attn(z), method.nets[index]
            hidden = relu(x @ coded(net.down.weight)[0].T)
            beside = net.scale * hidden @ coded(net.up.weight)[0].T
            x = x + block.mlp(block.norm2(x)) + beside
    return x[:, :1]


def test_parameter_counts_on_vit_b16():
    assert count("bi-adaptformer") == 2 * 12 * 768 * 32
    assert count("bi-lora") == 4 * 12 * 768 * 32


@pytest.mark.parametrize(
    ("method", "maps", "printed"), [(BiAdaptFormer, 24, 212.9), (BiLoRA, 48, 285.1)]
)
def test_a_checkpoint_has_as_many_bytes_as_printed(method: Any, maps: int, printed: float):
    """The paper prints KB a task, with a head: a linear probe's are 140.8."""
    built = method(FrozenViT(VisionTransformer(num_classes=0)))
    kept = checkpoint.contents(Model(built, LinearHead(built, 100)))
    head = sum(tensor.nbytes for name, tensor in kept.items() if name.startswith("head."))
    size = sum(tensor.nbytes for tensor in kept.values()) - head
    assert head == 769 * 100 * 4
    assert size == maps * (768 * 32 // 8 + 8)
    assert size / 1024 + 140.8 == pytest.approx(printed, abs=0.1)


@pytest.mark.parametrize("name", ["bi-adaptformer(bottleneck=3)", "bi-lora(rank=3)"])
def test_maps_of_two_values_act(plain: VisionTransformer, name: str):
    method = made(plain, name.replace(")", ",scale=0.5)")).eval()
    (found,) = method(IMAGES, Read((2,), "cls"))
    torch.testing.assert_close(found, slow(plain, method), rtol=1e-9, atol=1e-9)


def test_the_gradient_is_that_of_the_normed_weights_for_their_signs():
    """d/dw of (code + w_n) std + mean with code fixed, by the quotient rule."""
    torch.manual_seed(0)
    part = OneBit(torch.randn(4, 5, dtype=torch.float64) + 0.3)
    given = torch.randn(4, 5, dtype=torch.float64)
    (found,) = torch.autograd.grad((part.coded() * given).sum(), part.weight)
    weight, count = part.weight.detach(), 20
    mean, std = weight.mean(), weight.std()
    values, *_ = coded(part.weight)
    torch.testing.assert_close(part.coded(), values, rtol=1e-12, atol=1e-12)
    code, off = (values - mean) / std, weight - mean
    of_std = off / ((count - 1) * std)
    total, inner = given.sum(), (given * off).sum()
    through = std / (std + 1e-5) * (given - total / count)
    through = through - inner * std / (std + 1e-5) ** 2 * of_std
    expected = through + (given * code).sum() * of_std + total / count
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_odd_sizes_are_packed_and_others_refused():
    torch.manual_seed(0)
    part = OneBit(torch.randn(3, 5))
    kept = part.packed()
    assert kept["bits"].shape == (2,)
    fresh = OneBit(torch.randn(3, 5))
    assert torch.equal(fresh.unpacked(**kept), part.coded())
    for bits in (None, kept["bits"][:1], kept["bits"].float()):
        with pytest.raises(ValueError, match="other bits"):
            fresh.unpacked(bits, kept["values"])
    with pytest.raises(ValueError, match="other values"):
        fresh.unpacked(kept["bits"], None)


@pytest.mark.parametrize("name", ["bi-adaptformer", "bi-lora"])
def test_a_final_run_and_its_checkpoint(tiny, name: str):
    keep = checkpoint_files.Keep(tiny.folder / "kept")
    found = plan(tiny.request(name))
    (cell,) = found.cells
    trainer = Trainer(found, threads=1, raises=True, keep=keep)
    point = {"base_lr": 0.004, "weight_decay": 0.0, "scale": 1.0}
    _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), point))
    assert outcome.score is not None
    (file,) = keep.folder.iterdir()
    base = found.backbones[cell.backbone]
    loaded = tuned_model.rebuilt("a test", cell.variant, base, *checkpoint.read(file))
    images = torch.rand(2, 3, base.vit.image_size, base.vit.image_size)
    assert isinstance(trainer.model, Model)
    assert torch.equal(loaded(images), trainer.model.eval()(images))
    again = loaded.save(tiny.folder / "again.safetensors")
    twice = tuned_model.rebuilt("a test", cell.variant, base, *checkpoint.read(again))
    assert torch.equal(twice(images), loaded(images))


def test_bi_lora_merges(plain: VisionTransformer):
    method = made(plain, "bi-lora(rank=3,scale=0.5)").eval()
    (before,) = method(IMAGES, Read((2,), "cls"))
    with torch.no_grad():
        method.merge()
    tokens: Any = method.vit.vit.forward_features(IMAGES)
    torch.testing.assert_close(tokens[:, :1], plain.norm(before), rtol=1e-9, atol=1e-9)
