"""ConvNeXts and ResNets: features are timm's own and torchvision's, methods of pixels, weights and
maps run, and those of tokens are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from families import features
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from harness import backbones
from harness.backbones import families
from harness.backbones.carried import Uncarried, lacking
from harness.backbones.cnn import FrozenCNN, FrozenConvNeXt, FrozenResNet
from harness.backbones.frozen import FrozenBackbone, Read
from harness.backbones.layouts import fill
from harness.errors import BadInput
from harness.planning.registry import registered
from harness.planning.variants import one
from harness.training.heads import LinearHead, Model
from harness.training.kinds import kind_of
from harness.training.method import trained_values
from harness.training.step import loss_of

BASIC: Any = BasicBlock  # timm says: an instance
BOTTLENECK: Any = Bottleneck
NEXT: dict[str, Any] = {"depths": (1, 1, 2, 1), "dims": (8, 8, 16, 24), "num_classes": 0}
RES: dict[str, Any] = {"layers": (1, 2, 1, 1), "channels": (8, 8, 16, 16), "num_classes": 0}
TINY: dict[str, Callable[[], Any]] = {
    "convnext": lambda: ConvNeXt(**NEXT, ls_init_value=0.5),
    "convnext v2": lambda: ConvNeXt(**NEXT, use_grn=True, ls_init_value=None, conv_mlp=True),
    "norm first": lambda: ConvNeXt(**NEXT, head_norm_first=True, stem_type="overlap"),
    "resnet": lambda: ResNet(BOTTLENECK, **RES),
    "resnet-d": lambda: ResNet(BASIC, **RES, stem_type="deep", avg_down=True),
    "se-resnext": lambda: ResNet(
        BOTTLENECK, **RES, cardinality=2, base_width=64, block_args={"attn_layer": "se"}
    ),
}
RUN = {
    *("linear", "full", "bitfit", "ln-tuning", "partial-k", "ssf", "conv-adapter"),
    *("pixel-prompt", "lor-vp"),
}


def timm_model(name: str) -> Any:
    """With all weights and running statistics drawn."""
    torch.manual_seed(0)
    net = TINY[name]().eval()
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.randn_like(tensor))
                if key.endswith("var"):
                    tensor.abs_()
    return net


def tiny(name: str) -> FrozenBackbone:
    frozen = families.frozen(timm_model(name))
    frozen.name = name
    return frozen


def images(count: int = 2, side: int = 64) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(side))


@pytest.mark.parametrize("name", TINY)
def test_features_are_timms_at_two_sides(name: str):
    net = tiny(name)
    assert (net.image_size, net.grid) == (224, (7, 7))
    for side in (64, 96):
        sized = net.at(side + 7)  # rounded down to whole strides
        expected = net.vit.forward_head(net.vit.forward_features(images(2, side)), pre_logits=True)
        assert torch.equal(features(sized, images(2, side)), expected)
        assert (sized.image_size, sized.grid) == (side, (side // 32, side // 32))
        assert next(sized.parameters()) is next(net.parameters())
    with pytest.raises(BadInput, match="a stride of 32 pixels can't take images that are smaller"):
        net.at(31)


@pytest.mark.parametrize("name", TINY)
def test_what_a_head_reads_of_each_stage_is_timms(name: str):
    net = tiny(name).at(64)
    theirs = net.vit.forward_intermediates(images(), intermediates_only=True)[-4:]
    assert len(net.widths) == net.depth == len(net.blocks) == 5
    ends = (0, 2, 3, 4) if net.family == "resnet" else (0, 1, 3, 4)  # of stages
    ours = net.run(net.embed(images()), Read(ends, "image"))
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other.flatten(2).transpose(1, 2))
    with pytest.raises(ValueError, match="no CLS token to read"):
        net.run(net.embed(images()), Read((4,), "cls"))


def test_a_resnet_is_torchvisions_with_its_file(tmp_path: Path):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18().eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    counted = {key: value for key, value in theirs.state_dict().items() if "num_batches" not in key}
    torch.save({"state_dict": counted}, tmp_path / "old.pth")
    torch.save(
        {f"module.encoder_q.{key}": value for key, value in theirs.state_dict().items()},
        tmp_path / "new.pth",
    )
    old, new = (backbones.load(f"resnet18@64={tmp_path / file}") for file in ("old.pth", "new.pth"))
    assert old.sha256 == new.sha256
    theirs.fc = nn.Identity()  # type: ignore[assignment]
    given = images(2, 64)
    assert float((features(old.vit, given) - theirs(given)).detach().abs().max()) < 1e-4
    assert (old.size, old.pooling, old.vit.grid) == (64, "avg", (2, 2))
    with pytest.raises(BadInput, match="has a stride of 32 pixels, which 80 is no multiple of"):
        backbones.load(f"resnet18@80={tmp_path / 'old.pth'}")


def test_a_convnexts_own_file_is_read(tmp_path: Path):
    """Under the names of its authors' code (facebookresearch/ConvNeXt)."""
    net = timm_model("convnext")
    own: dict[str, Tensor] = {"head.weight": torch.ones(5, 24), "head.bias": torch.ones(5)}
    for key, value in net.state_dict().items():
        key = key.replace("stem.", "downsample_layers.0.").replace(".blocks.", ".")
        key = key.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        if ".downsample." in key:
            stage, _, rest = key.removeprefix("stages.").partition(".downsample.")
            key = f"downsample_layers.{stage}.{rest}"
        own[key.removeprefix("head.")] = value
    torch.save({"model": own}, tmp_path / "own.pth")
    other = TINY["convnext"]()
    fill(other, "convnext", tmp_path / "own.pth")
    for key, value in net.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


@pytest.mark.parametrize(
    ("asked", "given", "said"),
    [
        ("convnext", "resnet", "it lacks stem.0.weight, stem.0.bias"),
        ("resnet", "convnext", "it lacks conv1.weight, bn1.weight"),
        ("convnext", "convnext v2", "it lacks stages.0.blocks.0.gamma"),
        ("resnet", "resnet-d", "it lacks conv1.weight"),
        ("resnet", None, "it holds no ConvNet that is known"),
    ],
)
def test_another_ones_file_is_refused_in_one_line(
    asked: str, given: str | None, said: str, tmp_path: Path
):
    state = {"patch_embed.proj.weight": torch.ones(8, 3, 4, 4)}
    torch.save(timm_model(given).state_dict() if given else state, tmp_path / "weights.pth")
    with pytest.raises(BadInput) as caught:
        fill(TINY[asked](), asked, tmp_path / "weights.pth")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_methods_of_tokens_are_refused_by_name_and_the_others_run():
    carried = tiny("resnet").carries
    runs = {
        name
        for name, entry in registered().items()
        if not lacking(entry.load().needs, "resnet", carried)
    }
    assert runs == RUN
    for name, lacks in (("vpt", "tokens that prompts"), ("lora", "blocks with the linear maps")):
        with pytest.raises(Uncarried, match=f"^{name} needs {lacks}.*, which resnet doesn't have"):
            one(name).build(tiny("resnet"), {})
    net = tiny("convnext").at(64)
    with pytest.raises(Uncarried, match="convnext is a ConvNet: it takes no prompts"):
        net.run(net.embed(images()), net.read(), [torch.zeros(1, 8)] * net.depth)


@pytest.mark.parametrize("backbone", ["convnext v2", "se-resnext"])
@pytest.mark.parametrize("name", sorted(RUN))
def test_what_a_method_trains_gets_a_gradient(name: str, backbone: str):
    net, given = tiny(backbone).at(64), images()
    before = features(net, given)
    statistics = {key: value.clone() for key, value in net.named_buffers()}
    own = one(name).build(net, {})
    model = Model(own, LinearHead(own, 3)).train()
    step = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(2):  # what starts at zero has its gradient in the second
        step.zero_grad()
        nn.functional.cross_entropy(model(given), torch.tensor([0, 1])).backward()
        step.step()
    trained = {key: p for key, p in own.named_parameters() if p.requires_grad}
    assert {key for key, p in trained.items() if p.grad is None} == set()
    assert bool(trained) == (name != "linear")
    tuned = {key: value for key, value in own.vit.named_buffers() if key in statistics}
    assert all(torch.equal(value, statistics[key]) for key, value in tuned.items())
    assert torch.equal(features(net, given), before)


@pytest.mark.parametrize("name", ["linear", "ln-tuning"])
def test_segmentation_reads_the_last_stage(name: str):
    own = one(name).build(tiny("convnext").at(64), {})
    kind = kind_of("segmentation")
    model = Model(own, kind.new_head(own, 3, "kaiming_normal")).double().train()
    loss_of(kind, model, images().double(), torch.zeros(2, 64, 64).long()).backward()
    missed = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert all("vit.head.norm" in key for key in missed)  # it is behind the pooling
    assert model.eval()(images().double()).shape == (2, 3, 64, 64)


@pytest.mark.usefixtures("unchecked")
def test_norms_and_biases_that_train_are_counted():
    """ResNet-50 has 53 batch norms with 26,560 channels together; ConvNeXt-B's norms are 36 in
    blocks, the stem's, three between stages and the last one."""
    with torch.device("meta"):
        resnet, convnext = (
            backbones.architecture(name) for name in ("resnet50.a1_in1k", "convnext_base.fb_in22k")
        )
    assert trained_values(one("ln-tuning").build(resnet, {})) == (2 * 26_560, 0)
    assert trained_values(one("bitfit").build(resnet, {})) == (26_560, 0)
    blocks = 3 * 128 + 3 * 256 + 27 * 512 + 3 * 1024
    norms = blocks + 128 + (128 + 256 + 512) + 1024
    assert trained_values(one("ln-tuning").build(convnext, {})) == (2 * norms, 0)
    last = one("partial-k").build(convnext, {"norm": True})
    names = {key for key, p in last.named_parameters() if p.requires_grad}
    assert {"vit.vit.head.norm.weight", "vit.vit.stages.3.blocks.2.gamma"} <= names
    assert all("stages.3.blocks.2." in key or "head.norm" in key for key in names)


@pytest.mark.parametrize("name", TINY)
def test_ssf_scales_and_shifts_each_map(name: str):
    """Held to the same maps changed by hooks, and to what `merge` leaves."""
    net, given = tiny(name).at(64).double(), images().double()
    own = one("ssf").build(net, {})
    values = dict(own.named_parameters())
    scales = {
        key.removeprefix("vit.vit.").removesuffix(".beta"): (values[key[:-4] + "gamma"], beta)
        for key, beta in values.items()
        if key.endswith(".beta")
    }
    plain = tiny(name).at(64).double()
    expected = {
        key
        for key, module in plain.vit.named_modules()
        if isinstance(module, nn.Linear | nn.LayerNorm | nn.Conv2d | nn.BatchNorm2d)
    }
    assert expected == set(scales)
    for key in expected:
        gamma, beta = scales[key]
        plain.vit.get_submodule(key).register_forward_hook(
            lambda module, given, out, gamma=gamma, beta=beta: _scaled(module, out, gamma, beta)
        )
    ours = own.pool(own(given, own.vit.read())[-1])
    assert torch.allclose(ours, features(plain, given), rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        own.merge()
    assert torch.allclose(features(own.vit, given), ours, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(features(net, given), ours, rtol=1e-3)


def _scaled(module: nn.Module, out: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    places = (1, 1) if type(module).__name__.endswith("2d") else ()
    return out * gamma.view(-1, *places) + beta.view(-1, *places)


def test_drop_path_is_timms_rate_in_each_block_and_only_in_training():
    for name in ("convnext", "resnet"):
        net = tiny(name).at(64)
        net.drop_paths(0.4)
        rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in net.blocks]
        assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
        still = features(net.eval(), images())
        assert torch.equal(still, features(tiny(name).at(64), images()))
        torch.manual_seed(1)
        assert not torch.equal(features(net.train(), images()), still)


def test_a_change_of_what_is_not_called_is_refused():
    for name, place in (("convnext", "stages.1.blocks"), ("resnet", "layer2"), ("resnet", "")):
        net = tiny(name).at(64)
        net.vit.get_submodule(place).register_forward_hook(lambda module, given, out: None)
        with pytest.raises(ValueError, match="isn't called"):
            net.embed(images())
    net = tiny("convnext").at(64)
    net.vit.stages[1] = nn.Identity()
    with pytest.raises((ValueError, AttributeError)):
        net.embed(images())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "family", "depth"),
    [
        ("convnext_base.fb_in22k", "convnext", 36),
        ("convnextv2_base.fcmae", "convnext", 36),
        ("convnext_base.clip_laion2b", "convnext", 36),
        ("convnext_small.dinov3_lvd1689m", "convnext", 36),
        ("resnet50.tv_in1k", "resnet", 16),
        ("resnext50_32x4d.fb_swsl_ig1b_ft_in1k", "resnet", 16),
    ],
)
def test_the_convnets_that_people_tune_are_covered(name: str, family: str, depth: int):
    with torch.device("meta"):
        net = backbones.architecture(name)
    assert isinstance(net, FrozenCNN)
    assert (net.family, net.depth, net.dim) == (family, depth, net.vit.num_features)


@pytest.mark.usefixtures("unchecked")
def test_other_convnets_are_refused_by_name():
    with torch.device("meta"):
        with pytest.raises(BadInput, match="'max' is not covered"):
            FrozenResNet(ResNet(BOTTLENECK, **RES, global_pool="max"))
        with pytest.raises(BadInput, match="an MLP behind its pooling is not covered"):
            FrozenConvNeXt(ConvNeXt(**NEXT, head_hidden_size=9))
        with pytest.raises(BadInput, match="a backbone with EfficientNet is not covered"):
            FrozenResNet(timm.create_model("efficientnet_b0"))
