"""SA2VP: both streams against loops over images, rows and heads, and the facts of its sheet."""

import oracle
import pytest
import torch
import torch.nn.functional as F
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from whole_runs import trained

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from harness.training.heads import LinearHead
from methods.sa2vp import SA2VP

__all__ = ["seg"]
IMAGES = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 2, 1])


def deep(depth: int = 5, **more) -> VisionTransformer:
    """A ViT with a block in which prompts are renewed."""
    torch.manual_seed(0)
    small = dict(img_size=16, patch_size=4, embed_dim=24, depth=depth, num_heads=2, num_classes=0)
    vit = VisionTransformer(**{**small, **more}).double().eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vit


def make(vit: VisionTransformer, pooling: str = "cls", **arguments) -> SA2VP:
    """In training, without dropout, and with values that are no longer near zero."""
    torch.manual_seed(0)
    settings = {"width": 3, "strength": 0.7, "dropout": 0.0, **arguments}
    method = SA2VP(FrozenViT(vit, pooling), **settings).double().train()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return method


def crossed(
    method: SA2VP, index: int, asking: Tensor, other: Tensor, dropped: bool = False
) -> Tensor:
    """X_l by loops over images, rows and heads; `dropped`: with nothing of its attention."""
    block, vit = method.vit.vit.blocks[index], method.vit
    attn, (_, across) = block.attn, vit.grid
    weight, bias = attn.qkv.weight.chunk(3), attn.qkv.bias.chunk(3)  # type: ignore[union-attr,operator]
    outs = []
    for one, seen in zip(asking, other, strict=True):
        q, k, v = (
            block.norm1(rows) @ weight[part].T + bias[part]  # type: ignore[operator]
            for part, rows in enumerate((one, seen, seen))
        )
        mixed = torch.zeros_like(one)
        for row in range(len(one)):
            near = list(range(len(seen)))
            if row >= vit.prefix:
                down, right = divmod(row - vit.prefix, across)
                near = [
                    vit.prefix + y * across + x
                    for y in range(down - 1, down + 2)
                    for x in range(right - 1, right + 2)
                    if 0 <= y < vit.grid[0] and 0 <= x < across
                ]
            for head in range(attn.num_heads):  # type: ignore[union-attr,arg-type]
                span = slice(head * 12, (head + 1) * 12)
                scores = k[near, span] @ q[row, span] / 12**0.5
                mixed[row, span] = scores.softmax(0) @ v[near, span]
        out = block.ls1(attn.proj(mixed))  # type: ignore[operator,union-attr]
        outs.append(one if dropped else one + out)
    norm, down, _, _, up, _ = method.adapters[index]  # type: ignore[misc]
    return up(F.gelu(down(norm(torch.stack(outs)))))


def slow(method: SA2VP, dropped: bool = False) -> tuple[Tensor, Tensor]:
    """Both streams after the last block, all rows; `dropped`: with zeros for the first prompts and
    for what attention adds."""
    vit, s = method.vit.vit, method.strength
    image = vit.norm_pre(vit._pos_embed(vit.patch_embed(IMAGES)))
    positions = vit.pos_embed
    lead = torch.zeros(1, image.shape[1] - positions.shape[1], 24, dtype=torch.float64)
    prompts = vit.norm_pre(
        method.up[0](method.maps[0]) + torch.cat([lead, positions], dim=1)
    ).expand(3, -1, -1)
    prompts = torch.zeros_like(prompts) if dropped else prompts
    for index, block in enumerate(vit.blocks):
        new_image, _ = oracle.block(block, image)
        new_prompts, _ = oracle.block(block, prompts)
        if index % 4 == 0:
            new_prompts = new_prompts + s * crossed(method, index, prompts, image, dropped)
            if index > 0:
                fresh, _ = oracle.block(block, method.up[index // 4](method.maps[index // 4])[None])
                new_prompts = new_prompts + method.weights[index // 4 - 1] * fresh
        else:
            new_image = new_image + s * crossed(method, index, image, prompts, dropped)
        image, prompts = new_image, new_prompts
    return image, prompts


@pytest.mark.parametrize(
    ("pooling", "more"),
    [
        ("cls", {}),
        ("avg", {"global_pool": "avg"}),
        ("cls", {"reg_tokens": 3, "no_embed_class": True, "init_values": 0.1}),
        ("cls", {"pre_norm": True}),
        ("avg", {"global_pool": "avg", "class_token": False}),
    ],
    ids=["cls", "avg", "registers", "pre-norm", "without-cls"],
)
def test_it_equals_the_slow_form_in_values_and_gradients(pooling: str, more: dict):
    method = make(deep(**more), pooling)
    head = LinearHead(method, 4).double()
    (tokens,) = method(IMAGES, head.read)
    ours = F.cross_entropy(head([tokens]), LABELS)
    extra = method.penalty(LABELS, head)
    assert extra is not None
    image, prompts = slow(method)
    first = method.vit.prefix
    rows = slice(0, 1) if pooling == "cls" else slice(first, None)
    torch.testing.assert_close(tokens, image[:, rows], rtol=1e-9, atol=1e-9)
    one, other = (F.cross_entropy(head([x[:, rows]]), LABELS) for x in (image, prompts))
    theirs = 0.8 * one + 0.2 * other
    torch.testing.assert_close(ours + extra, theirs, rtol=1e-9, atol=1e-9)
    leaves = [p for p in method.parameters() if p.requires_grad]
    for mine, slowly in zip(
        torch.autograd.grad(ours + extra, leaves), torch.autograd.grad(theirs, leaves), strict=True
    ):
        torch.testing.assert_close(mine, slowly, rtol=1e-9, atol=1e-9)
        assert mine.abs().max() > 1e-12


@pytest.mark.parametrize(("width", "expected"), [(8, 202_200), (16, 372_912), (32, 714_336)])
def test_parameter_counts_on_vit_b16(width: int, expected: int):
    with torch.device("meta"):
        method = SA2VP(FrozenViT(VisionTransformer(num_classes=0)), width=width)
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == expected


def test_without_strength_it_is_the_frozen_model():
    vit = deep()
    method = make(vit, strength=0.0)
    (tokens,) = method(IMAGES, method.vit.read())
    expected = FrozenViT(vit).run(method.vit.embed(IMAGES), method.vit.read())[0]
    torch.testing.assert_close(tokens, expected, rtol=1e-9, atol=1e-9)


def test_prompts_dont_know_the_image_before_the_first_block_mixes_it_in(
    monkeypatch: pytest.MonkeyPatch,
):
    method = make(deep())
    seen: list[Tensor] = []
    project = method.vit.project

    def watched(index: int, rows: Tensor, parts: str) -> list[Tensor]:
        seen.append(rows)
        return project(index, rows, parts)  # type: ignore[arg-type]

    monkeypatch.setattr(method.vit, "project", watched)
    method(IMAGES, method.vit.read())
    prompts, image, _, later = seen[:4]  # of block 1 the image asks first
    assert torch.equal(prompts, prompts[:1].expand(3, -1, -1))
    assert not torch.allclose(image, image[:1])
    assert not torch.allclose(later, later[:1])


def test_the_loss_weighs_image_and_prompts_and_reaches_the_first_map_at_once():
    method = make(deep())
    head = LinearHead(method, 4).double()
    (tokens,) = method(IMAGES, head.read)
    _, prompts = method._streams  # type: ignore[misc]
    first, second = (F.cross_entropy(head([one]), LABELS) for one in (tokens, prompts))
    extra = method.penalty(LABELS, head)
    torch.testing.assert_close(first + extra, 0.8 * first + 0.2 * second)
    assert method.logged()["loss_of_prompts"].item() == pytest.approx(second.item())
    (gradient,) = torch.autograd.grad(second, [method.maps])
    assert (gradient[0].abs().amax(1) > 0).all()  # all places
    assert method.penalty(LABELS, head) is None  # once a batch
    method.eval()(IMAGES, head.read)
    assert method.penalty(LABELS, head) is None


def test_dropout_is_on_prompts_attention_and_bottleneck_alone():
    method = make(deep(), dropout=0.5)
    (one,), (other,) = (method(IMAGES, method.vit.read()) for _ in range(2))
    assert not torch.allclose(one, other)
    assert [m.p for m in method.adapters.modules() if isinstance(m, nn.Dropout)] == [0.5] * 5
    assert method.dropout.p == 0.5
    everything = make(deep())
    everything.dropout.p = 1.0
    (tokens,) = everything(IMAGES, everything.vit.read())
    image, _ = slow(everything, dropped=True)
    torch.testing.assert_close(tokens, image[:, :1], rtol=1e-9, atol=1e-9)
    (one,), (other,) = (method.eval()(IMAGES, method.vit.read()) for _ in range(2))
    assert torch.equal(one, other)


def test_segmentation_reads_the_images_stream_of_every_block():
    method = make(deep())
    first, last = method(IMAGES, Read((1, 4), "image"))
    image, _ = slow(method)
    torch.testing.assert_close(last, image[:, 1:], rtol=1e-9, atol=1e-9)
    assert first.shape == last.shape
    assert method.penalty(torch.zeros(3, 16, 16, dtype=torch.long), nn.Identity()) is None


def test_a_final_run_and_its_checkpoint(tiny):
    outcome, model, again = trained(tiny, "sa2vp(width=4)", strength=0.5)
    assert outcome.score is not None
    assert outcome.curves is not None
    assert len(outcome.curves["loss_of_prompts"]) == 2
    side = model.method.vit.image_size
    images = torch.randn(2, 3, side, side)
    assert torch.equal(model(images), again(images))
    assert not torch.equal(model(images), model(images.flip(3)))


def test_the_protocol_s_drop_path_is_on_both_streams():
    """Where it drops every image, a block adds only what its adapter does: here nothing."""
    method = make(deep(), strength=0.0)
    for block in method.vit.vit.blocks:
        block.drop_path1, block.drop_path2 = nn.Dropout(1.0), nn.Dropout(1.0)
    (image,) = method(IMAGES, Read((4,), "image"))
    torch.testing.assert_close(image, method.vit.embed(IMAGES)[:, method.vit.prefix :])
    assert method._streams is not None
    prompts, fresh = method.start(), method.up[1](method.maps[1:2])
    for out in method._streams[1]:
        expected = prompts + method.weights[0] * fresh
        torch.testing.assert_close(out, expected[0, method.vit.prefix :])


def test_segmentation_trains(seg):
    outcome, _, _ = trained(seg, "sa2vp(width=4)", "halves", strength=0.5)
    assert outcome.score is not None
    assert outcome.curves is not None
    assert "loss_of_prompts" not in outcome.curves
