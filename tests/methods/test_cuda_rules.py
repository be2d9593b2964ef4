"""Every method by CUDA's rules, without a GPU: forward on fake tensors of one under its autocast,
forward and backward on the CPU with its casts; and which of them make a GPU wait.

`test_cuda.py` says the same of a real one.
"""

from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch
from cuda_rules import GPU, CastAsOnCuda, Waiting, on_fake_gpu
from families import tiny
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException
from torch.nn import functional as F
from vit_methods import WAITING

from harness.backbones import families
from harness.backbones.carried import lacking
from harness.backbones.frozen import FrozenBackbone
from harness.planning.registry import registered
from harness.planning.variants import one
from harness.training.classification import Classification
from harness.training.heads import LinearHead, Model
from harness.training.kinds import kind_of
from harness.training.step import loss_of

NAMES = [name for name, entry in registered().items() if entry.value.startswith("methods.")]
VITS = ("plain", "dinov3", "beit v2", "siglip")
ON_ALL = {"full", "lora", "vpt-deep"}
"""Methods whose forward on fake tensors, which takes long, is checked on every family; that of the
others on the first that carries them."""
ARGUMENTS = {"oft": "oft(rank=4)"}
"""Of methods whose own block doesn't divide a small width."""
KIND = Classification()


@pytest.fixture(scope="module")
def members() -> dict[str, FrozenBackbone]:
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 4, "window_size": 4, "num_classes": 0}
    swin = SwinTransformer(**sizes, embed_dim=32, depths=(2, 1), num_heads=(2, 4))  # type: ignore[arg-type]
    nets = {
        "swin": swin,
        "convnext": ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 16, 24), num_classes=0),  # type: ignore[arg-type]
        "resnet": ResNet(BasicBlock, (1, 1, 1, 1), num_classes=0, channels=(8, 8, 16, 16)),  # type: ignore[arg-type]
    }
    found = {family: tiny(family, embed_dim=48) for family in VITS}
    for family, net in nets.items():
        found[family] = families.frozen(net.eval())
        found[family].name = family
    return found


def carried(name: str, members: dict[str, FrozenBackbone]) -> Iterator[tuple[str, Model]]:
    variant = one(ARGUMENTS.get(name, f"{name}()"))
    for family, vit in members.items():
        if lacking(variant.method.needs, family, vit.carries):
            continue
        if family == "siglip" and name not in ON_ALL:  # a plain ViT otherwise
            continue
        method = variant.build(vit, variant.arguments)
        yield family, Model(method, LinearHead(method, 3)).train()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_right_by_cudas_casts_and_waits_for_nothing_else(
    name: str, members: dict[str, FrozenBackbone]
):
    waits, seen = set[str](), 0
    for family, model in carried(name, members):
        side = members[family].image_size
        images, labels = torch.randn(2, 3, side, side), torch.tensor([0, 1])
        with CastAsOnCuda(), torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(KIND, model, images, labels)
            if not seen:
                logits = model.eval()(images)
                assert logits.dtype == torch.float32
        with Waiting(fake=False) as backward:
            loss.backward()
        waits |= backward.found
        assert loss.isfinite()
        for key, own in model.named_parameters():
            assert own.grad is None or own.grad.isfinite().all(), f"{family}: {key}"
            assert own.grad is None or own.grad.dtype == own.dtype == torch.float32
        if not seen or name in ON_ALL:
            waits |= forward_on_fake_gpu(model.train(), side)
        seen += 1
    assert seen
    assert waits == WAITING.get(name, set())


def forward_on_fake_gpu(model: Model, side: int) -> set[str]:
    """What it waits for in a step that isn't the first."""
    model.zero_grad()
    model.method.logged()
    with on_fake_gpu(model) as waiting:
        images = torch.empty(2, 3, side, side, device=GPU)
        labels = torch.zeros(2, dtype=torch.long, device=GPU)
        loss = loss_of(KIND, model, images, labels)
        if waiting.found:
            waiting.found.clear()
            loss = loss_of(KIND, model, images, labels)
        assert (loss.device.type, loss.dtype) == ("cuda", torch.float32)
        return set(waiting.found)


@pytest.mark.usefixtures("unchecked")
def test_segmentations_scores_are_float32(members: dict[str, FrozenBackbone]):
    kind = kind_of("segmentation")
    method = one("vpt-deep()").build(members["plain"], {})
    model = Model(method, kind.new_head(method, 3, "kaiming_normal")).train()
    made = list[torch.dtype]()  # before they are enlarged, which autocast does in float32 anyway
    for module in model.head.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, given, out: made.append(out.dtype))
    with on_fake_gpu(model) as waiting:
        images = torch.empty(2, 3, 32, 32, device=GPU)
        scores = model(images)
        loss = kind.loss(scores, kind.targets(2, 32, GPU))
        assert {one.dtype for one in (*scores, loss)} == {torch.float32}
        assert model.eval()(images).dtype == torch.float32
    assert {*made} == {torch.float32}
    assert not waiting.found


class Faulty(nn.Module):
    """What a method might do wrong."""

    def __init__(self, fault: str):
        super().__init__()
        self.fault, self.weight = fault, nn.Parameter(torch.ones(3, 3))
        self.kept = [torch.ones(3)]

    def forward(self, x: Tensor) -> Tensor:
        out = x @ self.weight
        match self.fault:
            case "types":
                return out.scatter(0, torch.zeros(1, 3, dtype=torch.long, device=x.device), x)
            case "device":
                return out + self.kept[0]
            case "number":
                return out * float(out.detach().sum())
            case "mask":
                return out[out > 0]
            case "copy":
                return out + torch.ones(3).to(x.device)
            case _:
                return out.softmax(1)


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        ("number", {"_local_scalar_dense"}),
        ("mask", {"index of a mask"}),
        ("copy", {"a copy from cpu to cuda"}),
        ("none", set()),
    ],
)
def test_what_waits_is_found(fault: str, waits: set[str]):
    model = Faulty(fault)
    with on_fake_gpu(model) as waiting, suppress(DynamicOutputShapeException):
        model(torch.empty(3, 3, device=GPU))
    assert waiting.found == waits
    assert not torch.is_autocast_enabled("cuda")


def test_tensors_of_two_devices_or_types_are_found():
    here = torch.randn(3, 3)
    with CastAsOnCuda(), torch.autocast("cpu", torch.bfloat16):
        Faulty("device")(here)
        with pytest.raises(RuntimeError, match="dtype"):
            Faulty("types")(here)
    for fault, said in (("types", "dtype"), ("device", "device")):
        model = Faulty(fault)
        with on_fake_gpu(model), pytest.raises(RuntimeError, match=said):
            model(torch.empty(3, 3, device=GPU))


def test_the_casts_on_the_cpu_are_cudas():
    """Of each operation that is cast, the type of what comes out, on both."""
    for call in (
        lambda x, w: x @ w,
        lambda x, w: (x @ w).softmax(1),
        lambda x, w: (x @ w).sum(),
        lambda x, w: (x @ w) ** 2,
        lambda x, w: F.layer_norm(x @ w, (3,)),
        lambda x, w: F.normalize(x @ w),
        lambda x, w: F.cosine_similarity(x @ w, x),
        lambda x, w: (x @ w).exp(),
        lambda x, w: (x @ w).norm(),
        lambda x, w: (x @ w).logsumexp(1),
        lambda x, w: (x @ w).mean(),
        lambda x, w: F.gelu(x @ w),
        lambda x, w: torch.cat([x, x @ w]),
        lambda x, w: torch.einsum("ij,jk->ik", x, w),
        lambda x, w: torch.addcmul(x, x @ w, x),
        lambda x, w: torch.mv(x, w[0]),
        lambda x, w: F.scaled_dot_product_attention(x[None], w[None], w[None]),
    ):
        x, model = torch.randn(3, 3), Faulty("")
        model.forward = lambda x, own=model, call=call: call(x, own.weight)  # type: ignore[method-assign]
        with CastAsOnCuda(), torch.autocast("cpu", torch.bfloat16):
            here = model(x).dtype
        with on_fake_gpu(model):
            assert model(torch.empty(3, 3, device=GPU)).dtype == here
