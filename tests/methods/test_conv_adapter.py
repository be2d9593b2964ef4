"""conv-adapter: counts, and its convolutions neighbour by neighbour, beside timm's own forward."""

from typing import Any

import pytest
import torch
from families import features
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from harness import backbones
from harness.backbones import families
from harness.backbones.carried import Uncarried
from harness.backbones.frozen import FrozenBackbone
from harness.planning.variants import one
from harness.testing import check_method
from harness.training.method import trained_values

BASIC: Any = BasicBlock
BOTTLENECK: Any = Bottleneck
PLACES = {
    "convnext": ("stages.1.blocks.0.conv_dw", "stages.2.downsample.1"),
    "resnet": ("layer2.1.conv2", "layer3.0.conv2"),
    "resnet-18": ("layer2.1.conv1", "layer3.0.conv1"),
}
"""Some of the convolutions that an adapter stands beside; with strides of 1 and of 2."""


def tiny(name: str) -> FrozenBackbone:
    torch.manual_seed(0)
    nets: dict[str, Any] = {
        "convnext": lambda: ConvNeXt(
            depths=(1, 1, 1, 1), dims=(8, 16, 16, 24), num_classes=0, ls_init_value=0.5
        ),
        "resnet": lambda: ResNet(BOTTLENECK, (1, 2, 1, 1), channels=(8,) * 4, num_classes=0),
        "resnet-18": lambda: ResNet(BASIC, (1, 2, 1, 1), channels=(8,) * 4, num_classes=0),
    }
    net = nets[name]().double()
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor += 0.1 * torch.rand_like(tensor)
    return families.frozen(net).at(64)


def added(x: Tensor, beside: Any) -> Tensor:
    """s * W_p act(W_d x), by sums over neighbours."""
    own: nn.Conv2d = beside.down
    (size, _), (stride, _), (pad, _) = own.kernel_size, own.stride, own.padding  # type: ignore[misc]
    wide = nn.functional.pad(x, (pad, pad, pad, pad))
    side = (wide.shape[-1] - size) // stride + 1
    each = x.shape[1] // own.out_channels
    hidden = []
    for channel in range(own.out_channels):
        total = own.bias[channel]  # type: ignore[index]
        for neighbour in range(each):
            for row in range(size):
                for column in range(size):
                    seen = wide[
                        :,
                        channel * each + neighbour,
                        row : row + stride * side : stride,
                        column : column + stride * side : stride,
                    ]
                    total = total + own.weight[channel, neighbour, row, column] * seen
        hidden.append(beside.act(total))
    mixed = torch.einsum("oc,bchw->bohw", beside.up.weight[:, :, 0, 0], torch.stack(hidden, 1))
    return beside.scale * (mixed + beside.up.bias[:, None, None])


@pytest.mark.parametrize("name", PLACES)
def test_it_adds_what_the_sums_over_neighbours_give(name: str):
    vit, images = tiny(name), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    own = one("conv-adapter").build(vit, {"reduction": 4}).double().eval()
    adapters = {
        key.removeprefix("vit.vit."): module
        for key, module in own.named_modules()
        if type(module).__name__ == "Beside"
    }
    assert set(PLACES[name]) <= set(adapters)
    with torch.no_grad():
        for parameter in own.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
        plain = tiny(name)
        for key, beside in adapters.items():
            conv, seen = plain.vit.get_submodule(key), {}
            conv.register_forward_pre_hook(lambda module, given, seen=seen: seen.update(x=given[0]))
            # a bottleneck's stands beside the norm and the ReLU too
            after = key.replace("conv2", "act2") if name == "resnet" else key
            plain.vit.get_submodule(after).register_forward_hook(
                lambda module, given, out, seen=seen, beside=beside: out + added(seen["x"], beside)
            )
        ours = own.pool(own(images, own.vit.read())[-1])
        assert torch.allclose(ours, features(plain, images), rtol=1e-9, atol=1e-9)
        assert not torch.allclose(ours, features(vit, images), rtol=1e-3)


@pytest.mark.usefixtures("unchecked")
def test_counts():
    """Of each place: the kernel for each channel, 1 x 1 from an eighth of them, biases, scales."""
    with torch.device("meta"):
        resnet, convnext, light = (
            backbones.architecture(name)
            for name in ("resnet50.a1_in1k", "convnext_base.fb_in22k", "resnet18.a1_in1k")
        )

    def place(taken: int, given: int, kernel: int) -> int:
        hidden = taken // 8
        return taken * kernel**2 + hidden + hidden * given + 2 * given

    stages = ((64, 3), (128, 4), (256, 6), (512, 3))
    expected = sum(blocks * place(width, width, 3) for width, blocks in stages)
    assert trained_values(one("conv-adapter").build(resnet, {})) == (expected, 0)
    dims = ((128, 3), (256, 3), (512, 27), (1024, 3))
    expected = sum(blocks * place(width, width, 7) for width, blocks in dims)
    expected += sum(place(width, 2 * width, 2) for width in (128, 256, 512))
    assert trained_values(one("conv-adapter").build(convnext, {})) == (expected, 0)
    norms = 2 * (sum(width * blocks for width, blocks in dims) + 1024)
    assert trained_values(one("conv-adapter").build(convnext, {"norms": True}))[0] == (
        expected + norms
    )
    expected = 2 * sum(place(width, width, 3) for width in (64, 128, 256, 512))
    # the first block of a stage is given the stage's before
    expected += sum(place(w, 2 * w, 3) - place(2 * w, 2 * w, 3) for w in (64, 128, 256))
    assert trained_values(one("conv-adapter").build(light, {})) == (expected, 0)


def test_first_values():
    torch.manual_seed(1)
    for name, of in (("convnext_tiny", 0.02), ("resnet50", None)):
        own = one("conv-adapter").build(backbones.architecture(name), {})
        for module in own.modules():
            if type(module).__name__ != "Beside":
                continue
            beside: Any = module
            assert not beside.down.bias.any()
            assert not beside.up.bias.any()
            assert (beside.scale == 1).all()
            if beside.up.weight.numel() > 10_000:
                std = of or (2 / beside.up.out_channels) ** 0.5
                assert float(beside.up.weight.detach().std()) == pytest.approx(std, rel=0.05)


def test_it_passes_the_checks_and_is_for_convnets_alone():
    report = check_method("conv-adapter")
    assert report.ok, report
    with pytest.raises(
        Uncarried, match="conv-adapter needs residual blocks of convolutions, which"
    ):
        one("conv-adapter").build(backbones.load("mini_vit").vit, {})
    with pytest.raises(ValueError, match="reduction=16 makes no equal groups of 8 channels"):
        one("conv-adapter").build(tiny("resnet"), {"reduction": 16})
