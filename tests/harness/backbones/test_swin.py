"""Swin Transformers with prompts against loops over windows, and against timm's own forward."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import swin_oracle
import timm
import torch
from swin_oracle import Swin
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn

from harness.backbones.frozen import Read
from harness.backbones.swin import FrozenSwin
from harness.errors import BadInput
from harness.planning.variants import one as variant
from harness.training.heads import LinearHead, Model
from harness.training.kinds import kind_of
from harness.training.method import Method, trained_values
from harness.training.prompts import new_prompts
from harness.training.step import loss_of
from methods.e2vpt import E2VPT
from methods.selective import BitFit, PartialK
from methods.vpt import VPT, VPTDeep

VERSIONS = {"1": SwinTransformer, "2": SwinTransformerV2}


def swin(version: str = "1", side: int = 32, window: int = 4) -> Swin:
    """Two stages of two blocks, the second of each shifted where there is more than one window."""
    torch.manual_seed(0)
    vit = VERSIONS[version](
        img_size=side,
        patch_size=4,
        embed_dim=24,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=window,
        num_classes=0,
        mlp_ratio=2.0,
    )
    vit = vit.double().eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vit


def images(count: int, side: int = 32) -> Tensor:
    return torch.randn(
        count, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )


def pooled(method: Method, images: Tensor) -> Tensor:
    return method.pool(method(images, method.vit.read())[-1])


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("side", "other"), [(32, 64), (36, 52)])
def test_features_are_timms(version: str, side: int, other: int):
    """36 pixels are a grid of 9, which windows of 4 don't divide, nor merging of two."""
    vit = swin(version, side)
    frozen = FrozenSwin(vit)
    for at in (side, other):
        sized = frozen.at(at)
        (tokens,) = sized.run(sized.embed(images(2, at)), sized.read())
        assert tokens.shape == (2, sized.image_tokens, 48)
        close(sized.pool(tokens), vit_features(sized.vit, images(2, at)))


def vit_features(vit: Any, images: Tensor) -> Tensor:
    return vit.forward_head(vit.forward_features(images), pre_logits=True)


@pytest.mark.parametrize(
    ("version", "side", "window"),
    [("1", 32, 4), ("1", 36, 4), ("1", 32, 3), ("2", 32, 4), ("2", 28, 3)],
)
@pytest.mark.parametrize("kind", ["none", "shallow", "deep"])
def test_any_form_equals_the_loops(version: str, side: int, window: int, kind: str):
    """Whole and filled windows, one in the last stage or four; gradients of prompts too."""
    vit = swin(version, side, window)
    pixels = images(2, side)
    if kind == "none":
        close(pooled(Method(FrozenSwin(vit)), pixels), swin_oracle.features(vit, pixels))
        return
    method: Any = (VPT if kind == "shallow" else VPTDeep)(FrozenSwin(vit), 3, 0.0).double()
    prompts: list[Tensor] = list(method.prompts) if kind == "deep" else [method.prompts]
    for one in prompts:
        nn.init.normal_(one)
    ours = pooled(method, pixels)
    theirs = swin_oracle.features(
        vit,
        pixels,
        shallow=prompts[0] if kind == "shallow" else None,
        deep=prompts if kind == "deep" else None,
    )
    close(ours, theirs)
    weights = torch.randn_like(ours)
    for mine, other in zip(
        torch.autograd.grad((ours * weights).sum(), prompts),
        torch.autograd.grad((theirs * weights).sum(), prompts),
        strict=True,
    ):
        close(mine, other)
        assert mine.abs().max() > 1e-6


def test_keys_and_values_join_in_every_window():
    vit = swin()
    method = E2VPT(FrozenSwin(vit), 2, 3, dropout=0.0).double()
    prompts, kv = list(method.prompts), [(own, own) for own in list(method.kv or ())]
    close(pooled(method, images(2)), swin_oracle.features(vit, images(2), deep=prompts, kv=kv))
    second = FrozenSwin(swin("2"))
    with pytest.raises(ValueError, match="of V2 none of keys and values"):
        second.block(0, second.embed(images(1)), kv=(kv[0][0], kv[0][0]))


def test_each_image_has_its_own_dropout():
    vit = swin()
    method = VPTDeep(FrozenSwin(vit), 3, 0.5).double().train()
    torch.manual_seed(2)
    ours = pooled(method, images(3))
    torch.manual_seed(2)
    dropped = [nn.functional.dropout(one.expand(3, -1, -1), 0.5) for one in method.prompts]
    close(ours, swin_oracle.features(vit, images(3), deep=dropped))


def test_what_travels_depends_on_its_own_image_alone():
    """In VPT's code it depends on the others of the batch too."""
    method = VPT(FrozenSwin(swin()), 3).double()
    together = pooled(method, images(3))
    for index in range(3):
        close(pooled(method, images(3)[index : index + 1]), together[index : index + 1])


@pytest.mark.parametrize("version", VERSIONS)
def test_prompts_that_join_may_travel_and_be_fresh_at_once(version: str):
    """Rows behind the image, and prompts beside them, at a block where a stage begins."""
    frozen = FrozenSwin(swin(version))
    tokens = frozen.embed(images(2))
    rows, fresh = torch.randn(2, 2, 24).double(), torch.randn(3, 48).double()
    tokens = frozen.block(1, frozen.block(0, torch.cat([tokens, rows], 1)))
    out = frozen.block(2, tokens, fresh)
    assert out.shape == (2, 16 + 2, 48)
    close(frozen.block(2, tokens, fresh.expand(2, -1, -1), slice(0, 16)), out[:, :16])
    hooked = FrozenSwin(copy.deepcopy(frozen.vit))
    hooked.blocks[2].norm2.register_forward_hook(lambda *_: None)
    close(hooked.block(2, tokens, fresh), out)


def test_a_head_may_read_the_images_rows_of_blocks_of_several_widths():
    frozen = FrozenSwin(swin())
    method = VPTDeep(frozen, 2, 0.0).double()
    first, last = method(images(2), Read((1, 3), "image"))
    assert (first.shape, last.shape) == ((2, 64, 24), (2, 16, 48))
    (whole,) = method(images(2), frozen.read())
    close(whole[:, :16], last)
    with pytest.raises(ValueError, match="no CLS"):
        method(images(1), Read((3,), "cls"))


def around(block: Any, name: str, wrap: Callable[[nn.Module], nn.Module]) -> None:
    parent, _, last = name.rpartition(".")
    inside = block.get_submodule(parent)
    setattr(inside, last, wrap(getattr(inside, last)))


class EachToken(nn.Module):
    each_token = True

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).sin()


class Unsaid(EachToken):
    each_token = False


PARTS = ("norm1", "attn.qkv", "attn.proj", "attn.softmax", "attn.proj_drop", "norm2", "mlp.fc1")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_was_put_in_is_called(version: str, part: str):
    """The same part, told to act on each token or not: the one is computed in parts, the other with
    prompts in every window; with prompts that travel and fresh ones, and without."""
    frozen = FrozenSwin(swin(version))
    tokens, prompts = frozen.embed(images(2)), torch.randn(3, 24).double()
    with_rows = torch.cat([tokens, torch.randn(2, 2, 24).double()], 1)
    for rows, own in ((tokens, prompts), (with_rows, prompts), (with_rows, None), (tokens, None)):
        found = [frozen.block(1, rows, own)]
        for wrap in (EachToken, Unsaid, hooked):
            changed = FrozenSwin(copy.deepcopy(frozen.vit))
            around(changed.blocks[1], part, wrap)
            found.append(changed.block(1, rows, own))
        plain, each, unsaid, by_hook = found
        close(each, unsaid)
        close(by_hook, unsaid)
        assert (each - plain).abs().max() > 1e-3


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda _, __, out: out.sin())
    return module


@pytest.mark.parametrize("version", VERSIONS)
def test_a_block_without_prompts_is_timms_whatever_was_changed(version: str):
    frozen = FrozenSwin(swin(version))
    block = frozen.blocks[1]
    block.attn.register_forward_hook(lambda _, __, out: out.cos())
    block.mlp = Unsaid(block.mlp)
    (tokens,) = frozen.run(frozen.embed(images(2)), frozen.read())
    close(frozen.pool(tokens), vit_features(frozen.vit, images(2)))


@pytest.mark.parametrize("name", ["attn", ""])
def test_a_block_or_an_attention_that_was_changed_takes_no_prompts(name: str):
    frozen = FrozenSwin(swin())
    frozen.blocks[1].get_submodule(name).register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match=r"block 1 was changed .*hooked.*: prompts can't be given"):
        pooled(VPTDeep(frozen, 2).double(), images(1))
    with pytest.raises(ValueError, match=r"block 1 was changed .*hooked.*: prompts can't be given"):
        pooled(VPT(frozen, 2).double(), images(1))


def test_a_change_of_what_is_not_called_is_refused():
    for change in ("", "layers", "layers.0", "layers.1.blocks"):
        frozen = FrozenSwin(swin())
        frozen.vit.get_submodule(change).register_forward_hook(lambda *_: None)
        with pytest.raises(ValueError, match="isn't called"):
            frozen.embed(images(1))
    frozen = FrozenSwin(swin())
    frozen.vit.layers[1].forward = lambda x: x
    with pytest.raises(ValueError, match=r"vit\.layers\.1 is .* with a forward of its own"):
        frozen.embed(images(1))
    frozen = FrozenSwin(swin())
    frozen.vit.norm = Unsaid(frozen.vit.norm)
    with pytest.raises(ValueError, match=r"vit\.norm was changed to Unsaid"):
        frozen.embed(images(1))
    frozen = FrozenSwin(swin())
    frozen.blocks[0].forward = lambda x: x[:, :1]
    with pytest.raises(ValueError, match="must give that back, not"):
        pooled(Method(frozen), images(1))


def test_merging_is_called_for_what_travels_too():
    frozen = FrozenSwin(swin())
    frozen.vit.layers[1].downsample.reduction.register_forward_hook(lambda _, __, out: 2 * out)
    method = VPT(frozen, 2).double()
    ours = pooled(method, images(1))
    vit = copy.deepcopy(frozen.vit)
    vit.layers[1].downsample.reduction._forward_hooks.clear()
    vit.layers[1].downsample.reduction.weight *= 2
    close(ours, swin_oracle.features(vit, images(1), shallow=method.prompts))


def test_another_side_shares_the_weights():
    frozen = FrozenSwin(swin())
    other = frozen.at(66)
    assert (other.image_size, other.grid, other.grids[0]) == (64, (8, 8), (16, 16))
    assert other.blocks[0].window_size == (8, 8)  # as timm: its share of the image
    assert other.blocks[0].mlp.fc1.weight is frozen.blocks[0].mlp.fc1.weight
    assert frozen.at(32) is frozen
    with pytest.raises(BadInput, match="patches of 4 pixels"):
        frozen.at(3)


def test_the_backbone_is_frozen_and_only_what_is_put_in_drops():
    frozen = FrozenSwin(swin())
    model = Model(VPTDeep(frozen, 2), LinearHead(Method(frozen), 3)).double().train()
    assert not any(module.training for module in frozen.vit.modules())
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        *(f"method.prompts.{index}" for index in range(4)),
        "head.linear.weight",
        "head.linear.bias",
    }
    frozen.drop_paths(0.9)
    model.train()
    assert [block.drop_path1.__class__.__name__ for block in frozen.blocks] == [
        "Identity",
        *("DropPath",) * 3,
    ]
    assert not torch.equal(model(images(4)), model(images(4)))
    model.eval()
    assert torch.equal(model(images(4)), model(images(4)))


def test_prompts_are_as_wide_as_their_stage_and_drawn_as_vpt_draws_them():
    frozen = FrozenSwin(swin())
    assert new_prompts(frozen, 5).shape == (5, 24)
    drawn = new_prompts(frozen, 4, 50)
    assert [one.shape for one in drawn] == [(50, 24), (50, 24), (50, 48), (50, 48)]
    bound = (6 / (3 * 4 * 4 + 24)) ** 0.5
    for one in drawn:
        assert 0.9 * bound < one.abs().max() < bound
    with pytest.raises(ValueError, match="differ in width"):
        new_prompts(frozen, 3, 2)


def test_vpt_trains_as_many_values_on_swin_b_as_vpts_code():
    """601,600 with 50 prompts a block, and 6,400 shallow: counted in KMnP/vpt, commit 4410440."""
    with torch.device("meta"):
        vit: Any = timm.create_model("swin_base_patch4_window7_224", num_classes=0)
        frozen = FrozenSwin(vit)
        assert trained_values(VPTDeep(frozen, 50)) == (601_600, 0)
        assert trained_values(VPT(frozen, 50)) == (6_400, 0)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("partial-k(blocks=3,norm=true)", "1"),
        ("vpt(dropout=0.1)", "1"),
        ("bitfit", "2"),
        ("vpt-deep", "2"),
    ],
)
def test_what_a_method_trains_gets_a_gradient(name: str, version: str):
    torch.manual_seed(3)
    own = variant(name).build(FrozenSwin(swin(version)), {})
    model = Model(own, LinearHead(own, 3)).double().train()
    for _ in range(2):  # what starts at zero has its gradient in the second
        model.zero_grad()
        (model(images(2)) * torch.randn(2, 3)).sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
    trained = {name: p for name, p in own.named_parameters() if p.requires_grad}
    assert {key for key, p in trained.items() if p.grad is None or not p.grad.any()} == set()
    assert trained


@pytest.mark.parametrize("name", ["linear", "vpt", "vpt-deep"])
def test_segmentation_reads_the_last_stage(name: str):
    own = variant(name).build(FrozenSwin(swin()), {})
    kind = kind_of("segmentation")
    model = Model(own, head := kind.new_head(own, 3, "kaiming_normal")).double().train()
    assert head.read == Read((2, 3), "image")
    loss_of(kind, model, images(2), torch.zeros(2, 32, 32).long()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert model.eval()(images(2)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("ivpt", "blocks of one width"),
        ("difffit", "the blocks of a plain"),
        ("vqt", "blocks of one width"),
    ],
)
def test_what_needs_one_column_is_refused_by_name(name: str, lacks: str):
    with pytest.raises(BadInput, match=f"{name} needs {lacks}.*, which the backbone doesn't have"):
        variant(name).build(FrozenSwin(swin()), {})


def test_vpts_code_trains_biases_tables_and_what_merges_between_the_last_blocks():
    """KMnP/vpt trains what has "bias" in its name; and `downsample` in partial-4, in partial-2
    not."""
    bias = {
        name for name, p in BitFit(FrozenSwin(swin())).vit.named_parameters() if p.requires_grad
    }
    assert {name for name in bias if not name.endswith(".bias")} == {
        f"vit.layers.{stage}.blocks.{block}.attn.relative_position_bias_table"
        for stage in range(2)
        for block in range(2)
    }
    for blocks, merging in ((2, False), (3, True)):
        vit = PartialK(FrozenSwin(swin()), blocks, norm=True).vit
        last = {name for name, p in vit.named_parameters() if p.requires_grad}
        assert any("downsample" in name for name in last) == merging
        assert {name.split(".blocks.")[-1][0] for name in last if ".blocks." in name} == {"0", "1"}
        assert "vit.norm.weight" in last


@pytest.mark.parametrize(
    "name",
    [
        "swin_base_patch4_window7_224",
        "swin_large_patch4_window12_384",
        "swin_s3_tiny_224",
        "swinv2_base_window12to24_192to384",
    ],
)
def test_the_swins_that_people_tune_are_covered(name: str):
    with torch.device("meta"):
        vit: Any = timm.create_model(name, num_classes=0)
        frozen = FrozenSwin(vit)
    assert frozen.widths[-1] == frozen.dim == frozen.vit.num_features


@pytest.mark.usefixtures("unchecked")
def test_what_is_not_such_a_swin_is_refused_by_name():
    model: Any
    with torch.device("meta"):
        for name in ("swinv2_cr_tiny_224", "convnext_atto"):
            model = timm.create_model(name)
            with pytest.raises(BadInput, match=f"{type(model).__name__} is not covered"):
                FrozenSwin(model)
        model = timm.create_model("swin_tiny_patch4_window7_224", dynamic_img_size=True)
        with pytest.raises(BadInput, match="images of any size is not covered"):
            FrozenSwin(model)
        model = timm.create_model("swin_tiny_patch4_window7_224", global_pool="max")
        with pytest.raises(BadInput, match="pools by 'max' is not covered"):
            FrozenSwin(model)
