"""However a method changes a block, what comes out is what timm's own loop makes of it, or a line
that refuses it."""

import copy
import types
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn.utils import parametrize

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from harness.errors import BadInput
from harness.training.prompts import new_prompts
from methods.ivpt import IVPT
from methods.vpt import VPTDeep

IMAGES = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
DIM = 24
Rows = Literal["cls", "image", "image+prompts"]


class Around(nn.Module):
    """What LoRA and adapters are made of: a module and a small map beside it."""

    def __init__(self, inner: nn.Module, width: int, out: int | None = None):
        super().__init__()
        self.inner = inner
        self.down, self.up = nn.Linear(width, 2, bias=False), nn.Linear(2, out or width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.up(self.down(x))


class AroundEachToken(Around):
    each_token = True


class Mixing(Around):
    """Looks at all tokens: whoever hands it some of them alone changes what it gives."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.up(self.down(x - x.mean(1, keepdim=True)).cumsum(1))


class AroundAttention(Around):
    """As people write it: no mask, no flag."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * 0.5 + self.up(self.down(x))


class LinearWithMore(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.mean(-1, keepdim=True)


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


class NormOfAll(nn.Module):
    """Over tokens and width."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True)


class OwnDrop(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.inner(x), 0.3, self.training)


class OwnBlock(nn.Module):
    def __init__(self, block: nn.Module):
        super().__init__()
        self.block, self.adapter = block, nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + self.adapter(x).tanh()


class BlockOfItsOwnClass(Block):
    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return x + self.mlp(self.norm1(x))


def wrapped_qkv(block: Any) -> None:
    block.attn.qkv = Around(block.attn.qkv, DIM, 3 * DIM)


def wrapped_qkv_that_says_each_token(block: Any) -> None:
    block.attn.qkv = AroundEachToken(block.attn.qkv, DIM, 3 * DIM)


def qkv_of_a_subclass(block: Any) -> None:
    other = LinearWithMore(DIM, 3 * DIM)
    other.load_state_dict(block.attn.qkv.state_dict())
    block.attn.qkv = other


def parametrised_qkv(block: Any) -> None:
    parametrize.register_parametrization(block.attn.qkv, "weight", Doubled())


def hooked_qkv(block: Any) -> None:
    block.attn.qkv.register_forward_hook(lambda _, args, out: out + args[0].mean(-1, keepdim=True))


def pre_hooked_norm(block: Any) -> None:
    block.norm1.register_forward_pre_hook(
        lambda _, args: (args[0] * 1.5 - args[0].mean(1, keepdim=True),)
    )


def wrapped_attention(block: Any) -> None:
    block.attn = AroundAttention(block.attn, DIM)


def attention_with_another_forward(block: Any) -> None:
    def forward(self: Attention, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.proj(F.relu(self.qkv(x)[..., :DIM]) + x.mean(1, keepdim=True))

    block.attn.forward = types.MethodType(forward, block.attn)


def hooked_attention(block: Any) -> None:
    block.attn.register_forward_hook(lambda _, args, out: out + args[0])


def attention_with_a_gate(block: Any) -> None:
    block.attn.gate = nn.Linear(DIM, DIM)


def wrapped_projection(block: Any) -> None:
    block.attn.proj = Mixing(block.attn.proj, DIM)


def mlp_that_mixes(block: Any) -> None:
    block.mlp = Mixing(block.mlp, DIM)


def mlp_that_says_each_token(block: Any) -> None:
    block.mlp = AroundEachToken(block.mlp, DIM)


def wrapped_fc1(block: Any) -> None:
    block.mlp.fc1 = Around(block.mlp.fc1, DIM, 4 * DIM)


def another_norm(block: Any) -> None:
    block.norm2 = NormOfAll()


def norm_of_torch(block: Any) -> None:
    block.norm1 = nn.LayerNorm(DIM)
    nn.init.normal_(block.norm1.weight)


def another_scale(block: Any) -> None:
    block.ls1 = Mixing(nn.Identity(), DIM)


def another_drop_path(block: Any) -> None:
    block.drop_path1 = Around(nn.Identity(), DIM)


def hooked_block(block: Any) -> None:
    block.register_forward_hook(lambda _, args, out: out + args[0].mean(1, keepdim=True))


def block_with_another_forward(block: Any) -> None:
    block.forward = types.MethodType(lambda self, x, *_, **__: x + self.attn(self.norm2(x)), block)


def block_of_another_class(block: Any) -> None:
    block.__class__ = BlockOfItsOwnClass


def unfrozen_norms(block: Any) -> None:
    block.norm1.requires_grad_(True)
    block.norm2.requires_grad_(True)


def overwritten_weights(block: Any) -> None:
    with torch.no_grad():
        block.mlp.fc2.weight.mul_(-1.0)


WAYS: list[Callable[[Any], None]] = [
    *(
        wrapped_qkv,
        wrapped_qkv_that_says_each_token,
        qkv_of_a_subclass,
        parametrised_qkv,
        hooked_qkv,
        pre_hooked_norm,
        wrapped_attention,
    ),
    *(
        attention_with_another_forward,
        hooked_attention,
        attention_with_a_gate,
        wrapped_projection,
        mlp_that_mixes,
    ),
    *(
        mlp_that_says_each_token,
        wrapped_fc1,
        another_norm,
        norm_of_torch,
        another_scale,
        another_drop_path,
        hooked_block,
    ),
    *(block_with_another_forward, block_of_another_class, unfrozen_norms, overwritten_weights),
]


def changed(plain: VisionTransformer, way: Callable[[Any], None]) -> FrozenViT:
    vit = FrozenViT(copy.deepcopy(plain))
    torch.manual_seed(5)
    for block in vit.vit.blocks:
        way(block)
    return vit.double()


def replaced(plain: VisionTransformer) -> FrozenViT:
    vit = FrozenViT(copy.deepcopy(plain))
    torch.manual_seed(5)
    for index, block in enumerate(vit.vit.blocks):
        vit.vit.blocks[index] = OwnBlock(block)
    return vit.double()


def timms_loop(vit: FrozenViT, prompts: Tensor | None) -> Tensor:
    """All rows after the last block: each block called as timm's forward calls it, prompts behind
    the tokens and dropped after it."""
    tokens = vit.vit.norm_pre(vit.vit._pos_embed(vit.vit.patch_embed(IMAGES)))
    count = tokens.shape[1]
    for index, block in enumerate(vit.vit.blocks):
        if prompts is not None:
            tokens = torch.cat([tokens, prompts[index].expand(len(tokens), -1, -1)], dim=1)
        # timm hands it arguments that it doesn't take
        if type(block) is Block and isinstance(block.attn, AroundAttention):
            tokens = tokens + block.attn(block.norm1(tokens))
            tokens = tokens + block.mlp(block.norm2(tokens))
        else:
            tokens = block(tokens)
        tokens = tokens[:, :count]
    return tokens


def compare(vit: FrozenViT, rows: Rows, with_prompts: bool, seed: int | None = None) -> None:
    """Rows that a head reads, and the gradients of all that is trained, ours against timm's."""
    prompts = new_prompts(vit, vit.depth, 3) if with_prompts else None
    if prompts is not None:
        prompts.data = prompts.data.double()
    trained = [
        tensor
        for tensor in (*vit.parameters(), *([prompts] if prompts is not None else []))
        if tensor.requires_grad
    ]
    assert vit.depth == 3
    if seed is not None:
        torch.manual_seed(seed)
    (ours,) = vit.run(
        vit.embed(IMAGES), Read((2,), rows), None if prompts is None else list(prompts)
    )
    if seed is not None:
        torch.manual_seed(seed)
    expected = timms_loop(vit, prompts)
    expected = expected[:, :1] if rows == "cls" else expected[:, 1:]
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
    if trained:
        weights = torch.randn_like(ours)
        of_ours = torch.autograd.grad((ours * weights).sum(), trained, allow_unused=True)
        of_theirs = torch.autograd.grad((expected * weights).sum(), trained, allow_unused=True)
        for one, other in zip(of_ours, of_theirs, strict=True):
            zero = torch.zeros(())
            torch.testing.assert_close(
                zero if one is None else one, zero if other is None else other, rtol=1e-9, atol=1e-9
            )


@pytest.mark.parametrize("with_prompts", [False, True])
@pytest.mark.parametrize("rows", ["cls", "image"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_changed_part_gives_what_timms_loop_gives(
    plain: VisionTransformer, way: Callable[[Any], None], rows: Rows, with_prompts: bool
):
    vit = changed(plain, way)
    before = FrozenViT(copy.deepcopy(plain))
    compare(vit, rows, with_prompts)
    read = Read((2,), rows)
    if way is not unfrozen_norms:  # which starts at the backbone
        assert not torch.allclose(
            vit.run(vit.embed(IMAGES), read)[0], before.run(before.embed(IMAGES), read)[0]
        )


@pytest.mark.parametrize("with_prompts", [False, True])
@pytest.mark.parametrize("rows", ["cls", "image"])
def test_a_replaced_block_gives_what_timms_loop_gives(
    plain: VisionTransformer, rows: Rows, with_prompts: bool
):
    compare(replaced(plain), rows, with_prompts)


def test_blocks_may_be_left_out(plain: VisionTransformer):
    vit = FrozenViT(copy.deepcopy(plain))
    vit.vit.blocks = vit.vit.blocks[:2]
    (ours,) = vit.run(vit.embed(IMAGES), vit.read())
    torch.testing.assert_close(ours, timms_loop(vit, None)[:, :1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "way",
    [wrapped_qkv_that_says_each_token, mlp_that_says_each_token, unfrozen_norms, parametrised_qkv],
)
def test_what_acts_on_each_token_is_given_only_the_rows_that_are_read(
    plain: VisionTransformer, way: Callable[[Any], None]
):
    vit, seen = changed(plain, way), []
    vit.vit.blocks[2].mlp.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[1]))  # type: ignore[union-attr]
    vit.run(vit.embed(IMAGES), vit.read())
    assert seen == [17]  # a hook sees all rows
    vit, seen = changed(plain, way), []
    part: Any = vit.vit.blocks[2]
    part.norm2 = type(
        "Spy",
        (nn.Module,),
        {"each_token": True, "forward": lambda _, x: seen.append(x.shape[1]) or x},
    )()
    vit.run(vit.embed(IMAGES), vit.read())
    assert seen == [1]


def test_drop_path_of_a_methods_own_acts_while_it_trains(plain: VisionTransformer):
    from timm.layers.drop import DropPath

    vit = FrozenViT(copy.deepcopy(plain))
    for block in vit.vit.blocks:
        block.drop_path1, block.drop_path2 = DropPath(0.5), DropPath(0.5)
    vit.train()
    compare(vit, "cls", True, seed=3)
    twice = [vit.run(vit.embed(IMAGES), vit.read())[0] for _ in range(2)]
    assert not torch.equal(*twice)
    vit.eval()
    assert torch.equal(*[vit.run(vit.embed(IMAGES), vit.read())[0] for _ in range(2)])


@pytest.mark.parametrize("place", ["mlp", "qkv", "block", "attn_drop"])
def test_dropout_of_a_methods_own_acts_while_it_trains_and_the_backbones_never(place: str):
    torch.manual_seed(0)
    vit = FrozenViT(
        VisionTransformer(
            img_size=16,
            patch_size=4,
            embed_dim=24,
            depth=3,
            num_heads=2,
            num_classes=0,
            drop_rate=0.5,
            drop_path_rate=0.5,
            proj_drop_rate=0.5,
        ).double()
    )
    once, again = (vit.train().run(vit.embed(IMAGES), vit.read())[0] for _ in range(2))
    assert torch.equal(once, again)
    block: Any
    for index, block in enumerate(vit.vit.blocks):
        if place == "mlp":
            block.mlp = OwnDrop(block.mlp)
        elif place == "qkv":
            block.attn.qkv = OwnDrop(block.attn.qkv)
        elif place == "attn_drop":
            block.attn.attn_drop = nn.Dropout(0.3)  # type: ignore[union-attr]
        else:
            vit.vit.blocks[index] = OwnDrop(block)
    once, again = (vit.train().run(vit.embed(IMAGES), vit.read())[0] for _ in range(2))
    assert not torch.equal(once, again)
    kept = vit.eval().run(vit.embed(IMAGES), vit.read())[0]
    assert torch.equal(kept, vit.run(vit.embed(IMAGES), vit.read())[0])
    backbones = [
        module for module in vit.vit.modules() if isinstance(module, nn.Dropout) and module.p == 0.5
    ]
    assert backbones
    assert not any(module.training for module in vit.train().vit.modules() if module in backbones)


def overwritten_forward(vit: Any) -> None:
    vit.vit.forward_features = lambda images: images


def hooked_vit(vit: Any) -> None:
    vit.vit.register_forward_hook(lambda *_: None)


def hooked_frozen_vit(vit: Any) -> None:
    vit.register_forward_pre_hook(lambda *_: None)


def hooked_list_of_blocks(vit: Any) -> None:
    vit.vit.blocks.register_forward_hook(lambda *_: None)


def last_norm_of_all(vit: Any) -> None:
    vit.vit.norm = NormOfAll()


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (overwritten_forward, "vit.forward_features was changed or hooked, but isn't called"),
        (hooked_vit, "vit was changed or hooked"),
        (hooked_frozen_vit, "FrozenViT was changed or hooked"),
        (hooked_list_of_blocks, "vit.blocks was changed or hooked"),
        (last_norm_of_all, "vit.norm was changed to NormOfAll.*each_token"),
    ],
)
def test_what_would_be_ignored_is_refused(
    plain: VisionTransformer, way: Callable[[Any], None], said: str
):
    vit = FrozenViT(copy.deepcopy(plain))
    vit.check()
    way(vit)
    with pytest.raises(ValueError, match=said):
        vit.embed(IMAGES)


def test_a_block_that_gives_other_tokens_is_refused(plain: VisionTransformer):
    vit = FrozenViT(copy.deepcopy(plain))
    vit.vit.blocks[1] = type("Pruning", (nn.Module,), {"forward": lambda _, x: x[:, ::2]})()
    with pytest.raises(
        ValueError,
        match=(
            r"block 1 was changed \(now Pruning\): it takes \(4, 17, 24\) and must give that back,"
            r" not \(4, 9, 24\)"
        ),
    ):
        vit.run(vit.embed(IMAGES), vit.read())


def test_attention_of_a_changed_block_cannot_be_read(plain: VisionTransformer):
    method = IVPT(changed(plain, wrapped_attention), prompts=2).double()
    with pytest.raises(
        ValueError,
        match=r"block 0 was changed \(its attn is AroundAttention\): how much CLS attends",
    ):
        method(IMAGES, method.vit.read())
    plain_again = IVPT(changed(plain, mlp_that_says_each_token), prompts=2).double()
    plain_again(IMAGES, plain_again.vit.read())


def test_a_class_changed_for_all_methods_is_refused(
    plain: VisionTransformer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Attention, "forward", lambda self, x, **_: x)
    with pytest.raises(
        BadInput,
        match=(
            r"Attention.forward was replaced in this process, for all methods.*block.attn.forward"
        ),
    ):
        FrozenViT(copy.deepcopy(plain))


def test_prompts_reach_a_changed_block_as_they_reach_timms(plain: VisionTransformer):
    """Not only as equal numbers: without its prompts, a changed block gives something else."""
    method = VPTDeep(changed(plain, wrapped_attention), prompts=3, dropout=0.0).double()
    (before,) = method(IMAGES, method.vit.read())
    with torch.no_grad():
        method.prompts.mul_(3)
    (after,) = method(IMAGES, method.vit.read())
    assert not torch.allclose(before, after)


def test_a_wrapped_projection_is_called_once_for_all_rows(plain: VisionTransformer):
    """It gives queries, keys and values at once; asked for parts, it would be paid for twice."""
    vit, rows = FrozenViT(copy.deepcopy(plain)), []

    class Counting(AroundEachToken):
        def forward(self, x: Tensor) -> Tensor:
            rows.append(x.shape[0] * x.shape[1])
            return super().forward(x)

    block: Any = vit.vit.blocks[0]
    block.attn.qkv = Counting(block.attn.qkv, DIM, 3 * DIM).double()
    vit.block(0, vit.embed(IMAGES), torch.randn(5, DIM, dtype=torch.float64))
    assert rows == [4 * 17, 5]
